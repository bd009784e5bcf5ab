import { Code, ConnectError } from "@connectrpc/connect";
import { OpenOrderError } from "@openorder/client";
import { type ConnectOptions, connect } from "@openorder/client/node";
import { type Order, OrderService, OrderStatus } from "@openorder/client/order/v1";
import assert from "node:assert/strict";
import { test, type TestContext } from "node:test";
import { later, refusal, serve } from "./server.js";

const { PENDING, CONFIRMED, PAID, PREPARING, SHIPPED, DELIVERED, CANCELLED } = OrderStatus;
type Step = [bigint, OrderStatus] | ConnectError | "cut" | "hang";

/** A client, and a server whose streams are these, one after the other; the last one again and again. */
async function watching(t: TestContext, streams: Step[][], options: ConnectOptions = {}) {
    const opened: AbortSignal[] = [];
    const server = await serve(t, (router) =>
        router.service(OrderService, {
            async *watchOrder(_, { signal }) {
                const steps = streams[Math.min(opened.length, streams.length - 1)]!;
                opened.push(signal);
                for (const step of steps) {
                    if (step === "cut") server.cut();
                    if (step === "cut" || step === "hang")
                        await new Promise((resolve) => signal.addEventListener("abort", resolve));
                    else if (step instanceof ConnectError) throw step;
                    else if (Array.isArray(step)) yield { order: { version: step[0], status: step[1] } };
                }
            },
        }),
    );
    const openorder = connect(server.address, {
        timeoutMs: 2_000,
        retry: { initialBackoffMs: 1, maxBackoffMs: 5, maxAttempts: 4 },
        ...options,
    });
    t.after(() => openorder.close());
    return { openorder, opened };
}

async function statuses(orders: AsyncIterable<Order>): Promise<OrderStatus[]> {
    const seen: OrderStatus[] = [];
    for await (const { status } of orders) seen.push(status);
    return seen;
}

const away = new ConnectError("away", Code.Unavailable);

test("a stream that breaks goes on, and no order comes twice", async (t) => {
    const { openorder, opened } = await watching(t, [
        [away],
        [[1n, PENDING], [2n, CONFIRMED], "cut"],
        [[2n, CONFIRMED], later(10)],
        [
            [2n, CONFIRMED],
            [1n, PENDING],
            [4n, PREPARING],
        ],
    ]);
    assert.deepEqual(await statuses(openorder.watchOrder("1", PREPARING)), [PENDING, CONFIRMED, PREPARING]);
    assert.equal(opened.length, 4);
});

test("it ends at the status, past it, or at a final one, and the stream with it", async (t) => {
    for (const [until, last] of [
        [PAID, PAID],
        [PAID, PREPARING],
        [SHIPPED, CANCELLED],
        [undefined, DELIVERED],
        [CANCELLED, DELIVERED],
    ] as const) {
        const { openorder, opened } = await watching(t, [[[1n, PENDING], [2n, last], "hang"]]);
        assert.deepEqual(await statuses(openorder.watchOrder("1", until)), [PENDING, last]);
        await new Promise((resolve) =>
            opened[0]!.aborted ? resolve(0) : opened[0]!.addEventListener("abort", resolve),
        );
        assert.equal(opened.length, 1);
    }
});

test("a stream that the caller leaves is ended", async (t) => {
    const { openorder, opened } = await watching(t, [[[1n, PENDING], "hang"]]);
    for await (const _ of openorder.watchOrder("1")) break;
    await new Promise((resolve) => (opened[0]!.aborted ? resolve(0) : opened[0]!.addEventListener("abort", resolve)));
});

test("without progress it gives up after so many streams", async (t) => {
    const { openorder, opened } = await watching(t, [[[1n, PENDING], away]]);
    await assert.rejects(
        statuses(openorder.watchOrder("1")),
        (error) => error instanceof OpenOrderError && error.code === Code.Unavailable,
    );
    assert.equal(opened.length, 4);
});

test("progress counts from the beginning again", async (t) => {
    const streams: Step[][] = Array.from({ length: 9 }, (_, i) => [[BigInt(i + 1), PENDING], away]);
    const { openorder, opened } = await watching(t, [...streams, [[10n, DELIVERED]]]);
    assert.equal((await statuses(openorder.watchOrder("1"))).length, 10);
    assert.equal(opened.length, 10);
});

test("a refusal ends it", async (t) => {
    const { openorder, opened } = await watching(t, [[refusal(Code.NotFound, "ORDER_NOT_FOUND")]]);
    await assert.rejects(
        statuses(openorder.watchOrder("1")),
        (error) => error instanceof OpenOrderError && error.reason === "ORDER_NOT_FOUND",
    );
    assert.equal(opened.length, 1);
});

test("a stream that sends nothing is left", async (t) => {
    const { openorder, opened } = await watching(t, [["hang"], [[1n, DELIVERED]]], { timeoutMs: 200 });
    assert.deepEqual(await statuses(openorder.watchOrder("1")), [DELIVERED]);
    assert.equal(opened.length, 2);
});

test("the caller's signal ends it", async (t) => {
    for (const steps of [["hang"], [[1n, PENDING], "hang"], [later(60_000)]] as Step[][]) {
        const { openorder } = await watching(t, [steps]);
        const orders = openorder.watchOrder("1", undefined, { signal: AbortSignal.timeout(200) });
        await assert.rejects(
            statuses(orders),
            (error) => error instanceof OpenOrderError && error.code === Code.Canceled,
        );
    }
});
