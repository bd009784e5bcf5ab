// What the story is told to: what STORY_* names.
import { OpenOrderError } from "@openorder/client";
import { type ConnectedOpenOrder, type ConnectOptions, connect } from "@openorder/client/node";
import assert from "node:assert/strict";

/** One of STORY_*. */
export function variable(name: string): string {
    const value = process.env[name];
    assert.ok(value, `${name} is not set: run dev/story typescript`);
    return value;
}

export const gateway = variable("STORY_GATEWAY");

/** In the place of `{run}`. */
export const run = `ts${Date.now().toString(36)}`;

/** Somebody who registers. */
export interface Person {
    email: string;
    password: string;
    display_name: string;
}

/** A client that is closed at the end. */
export function open(after: (end: () => void) => void, options: ConnectOptions = {}): ConnectedOpenOrder {
    // A busy machine takes longer to start a killed gateway again than a call has by default.
    const openorder = connect(gateway, { timeoutMs: 60_000, retry: { maxAttempts: 30 }, ...options });
    after(() => openorder.close());
    return openorder;
}

/** The error of a call that must fail. */
export async function failure(call: Promise<unknown>): Promise<OpenOrderError> {
    const error = await call.then(
        () => assert.fail("the call succeeded"),
        (error: unknown) => error,
    );
    assert.ok(error instanceof OpenOrderError, String(error));
    return error;
}
