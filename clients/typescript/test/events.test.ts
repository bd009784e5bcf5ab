// Without Kafka; the story reads from one.
import { EventReader } from "@openorder/client/events";
import assert from "node:assert/strict";
import { test } from "node:test";

const options = {
    brokers: ["127.0.0.1:1"],
    group: "test",
    topics: ["order.lifecycle.v1"],
    kafka: { retries: 0 },
    maxBackoffMs: 50,
};

test("Kafka that is out of reach is tried again, for as long as the caller allows", async () => {
    let outages = 0;
    const reader = new EventReader({ ...options, maxOutageMs: 1_000, onOutage: () => outages++ });
    const begun = performance.now();
    await assert.rejects(
        reader.run(() => undefined),
        (error: Error & { code?: string }) => error.code?.startsWith("PLT_KFK_") ?? false,
    );
    const tookMs = performance.now() - begun;
    assert.ok(tookMs >= 1_000 && tookMs < 10_000, `${tookMs} ms`);
    assert.ok(outages >= 3, `${outages} outages`);
});

test("a reader is closed while Kafka is out of reach, by its signal and by itself", async () => {
    await new EventReader({ ...options, signal: AbortSignal.timeout(200) }).run(() => undefined);
    const reader = new EventReader({ ...options, onOutage: () => reader.close() });
    for await (const _ of reader) assert.fail();
    for await (const _ of new EventReader({ ...options, signal: AbortSignal.abort() })) assert.fail();
});

test("a reader is read by one at a time", async () => {
    const reader = new EventReader(options);
    const running = reader.run(() => undefined);
    await assert.rejects(
        reader.run(() => undefined),
        TypeError,
    );
    reader.close();
    await running;
});

test("settings of the Kafka client that are none are refused", async () => {
    await assert.rejects(
        new EventReader({ ...options, brokers: [] as string[], group: "not a group" }).run(() => undefined),
    );
});
