import { create } from "@bufbuild/protobuf";
import { Code, ConnectError } from "@connectrpc/connect";
import { defaultRetryPolicy, isReason, OpenOrderError, type RetryPolicy } from "@openorder/client";
import { type ConnectOptions, connect } from "@openorder/client/node";
import { OperationsService } from "@openorder/client/operations/v1";
import { type CreateOrderRequest, CreateOrderRequestSchema, OrderService } from "@openorder/client/order/v1";
import { BadRequestSchema } from "../dist/gen/google/rpc/error_details_pb.js";
import { waitMs } from "../dist/retry.js";
import assert from "node:assert/strict";
import { test, type TestContext } from "node:test";
import { later, refusal, serve } from "./server.js";

const fast: Partial<RetryPolicy> = { initialBackoffMs: 1, maxBackoffMs: 5 };

interface Attempt {
    request: CreateOrderRequest;
    timeoutMs: number | undefined;
    atMs: number;
}

/** A client, and a server that answers each attempt of CreateOrder with the next of these errors; after them, well. */
async function orders(t: TestContext, errors: (ConnectError | "cut" | "hang")[], options: ConnectOptions = {}) {
    const attempts: Attempt[] = [];
    const server = await serve(t, (router) =>
        router.service(OrderService, {
            createOrder: async (request, context) => {
                attempts.push({ request, timeoutMs: context.timeoutMs(), atMs: performance.now() });
                const error = errors.shift();
                if (error === "cut") server.cut();
                if (error === "cut" || error === "hang") return new Promise(() => undefined);
                if (error) throw error;
                return { order: { orderId: "1" } };
            },
        }),
    );
    const openorder = connect(server.address, { timeoutMs: 2_000, retry: fast, ...options });
    t.after(() => openorder.close());
    return { attempts, openorder, create: openorder.orders.createOrder };
}

async function failure(call: Promise<unknown>): Promise<OpenOrderError> {
    const error = await call.then(
        () => assert.fail("the call succeeded"),
        (error: unknown) => error,
    );
    assert.ok(error instanceof OpenOrderError, String(error));
    return error;
}

const unavailable = () => new ConnectError("away", Code.Unavailable);
const times = (count: number) => Array.from({ length: count }, unavailable);

test("a request gets one id for all its attempts, and the caller's own stays as it was", async (t) => {
    const { attempts, create: call } = await orders(t, times(2));
    const request = create(CreateOrderRequestSchema, { customerId: "anna" });
    await call(request);
    await call(request);
    assert.equal(request.requestId, "");
    const ids = attempts.map(({ request }) => request.requestId);
    assert.match(ids[0]!, /^[0-9a-f-]{36}$/);
    assert.deepEqual([ids[1], ids[2]], [ids[0], ids[0]]);
    assert.notEqual(ids[3], ids[0]);
});

test("a request id of the caller is kept", async (t) => {
    const { attempts, create: call } = await orders(t, times(1));
    await call({ requestId: "mine" });
    assert.deepEqual(
        attempts.map(({ request }) => request.requestId),
        ["mine", "mine"],
    );
});

test("a request id that names another request is not made", async (t) => {
    const seen: string[] = [];
    const server = await serve(t, (router) =>
        router.service(OperationsService, {
            listAuditEntries: ({ requestId }) => (seen.push(requestId), {}),
            cancelReplay: ({ requestId }) => (seen.push(requestId), {}),
        }),
    );
    const openorder = connect(server.address);
    t.after(() => openorder.close());
    await openorder.operations.listAuditEntries({});
    await openorder.operations.cancelReplay({});
    assert.deepEqual(seen, ["", ""]);
});

test("a stream's request gets an id, too", async (t) => {
    const seen: string[] = [];
    const server = await serve(t, (router) =>
        router.service(OperationsService, {
            async *replayEvents({ requestId }) {
                seen.push(requestId);
                yield {};
            },
        }),
    );
    const openorder = connect(server.address);
    t.after(() => openorder.close());
    for await (const _ of openorder.operations.replayEvents({}));
    assert.match(seen[0]!, /^[0-9a-f-]{36}$/);
});

test("what is away is tried again, within the number of attempts", async (t) => {
    const { attempts, create: call } = await orders(t, times(12));
    const error = await failure(call({}));
    assert.equal(error.code, Code.Unavailable);
    assert.equal(attempts.length, 10);
    await call({});
    assert.equal(attempts.length, 13);
});

test("the wait is anything up to a bound that grows, and has an end", (t) => {
    const policy = { ...defaultRetryPolicy, initialBackoffMs: 40, maxBackoffMs: 100 };
    const longest = (error: OpenOrderError) =>
        [1, 2, 3, 9].map((failures) => Math.round(waitMs(error, failures, policy)));
    const random = t.mock.method(Math, "random", () => 0.999_999);
    assert.deepEqual(longest(OpenOrderError.from(unavailable())), [40, 80, 100, 100]);
    assert.deepEqual(longest(OpenOrderError.from(later(2_000))), [2_400, 2_400, 2_400, 2_400]);
    random.mock.mockImplementation(() => 0);
    assert.deepEqual(longest(OpenOrderError.from(unavailable())), [0, 0, 0, 0]);
    assert.deepEqual(longest(OpenOrderError.from(later(2_000))), [2_000, 2_000, 2_000, 2_000]);
});

test("a service that says when to come again is asked then, and not before", async (t) => {
    for (const code of [Code.ResourceExhausted, Code.Unavailable]) {
        const { attempts, create: call } = await orders(t, [later(300, code)]);
        await call({});
        const waited = attempts[1]!.atMs - attempts[0]!.atMs;
        assert.ok(waited >= 299, `${waited} ms`);
    }
});

test("nothing else is tried again", async (t) => {
    const codes = Object.values(Code).filter((code) => typeof code === "number" && code !== Code.Unavailable) as Code[];
    assert.equal(codes.length, 15);
    for (const code of codes) {
        const { attempts, create: call } = await orders(t, [new ConnectError("no", code)]);
        assert.equal((await failure(call({}))).code, code);
        assert.equal(attempts.length, 1, Code[code]);
    }
});

test("a call has one deadline, of which each attempt is told what is left", async (t) => {
    const { attempts, create: call } = await orders(t, [later(300), "hang"]);
    const begun = performance.now();
    const error = await failure(call({}, { timeoutMs: 800 }));
    const tookMs = performance.now() - begun;
    assert.equal(error.code, Code.DeadlineExceeded);
    assert.ok(tookMs >= 799 && tookMs < 3_000, `${tookMs} ms`);
    assert.ok(
        attempts[0]!.timeoutMs! > 600 && attempts[1]!.timeoutMs! <= 500,
        JSON.stringify(attempts.map((a) => a.timeoutMs)),
    );
});

test("a wait that would pass the deadline is not begun", async (t) => {
    const { attempts, create: call } = await orders(t, [later(60_000)]);
    const begun = performance.now();
    const error = await failure(call({}, { timeoutMs: 10_000 }));
    assert.ok(performance.now() - begun < 8_000);
    assert.equal(error.code, Code.ResourceExhausted);
    assert.equal(error.retryDelayMs, 60_000);
    assert.equal(attempts.length, 1);
});

test("a call without a deadline of its own has the client's", async (t) => {
    const { create: call } = await orders(t, ["hang"], { timeoutMs: 300 });
    assert.equal((await failure(call({}))).code, Code.DeadlineExceeded);
});

test("retries come out of a budget of the client, which successes fill again", async (t) => {
    const retry = { ...fast, budgetTokens: 3, budgetTokensPerSuccess: 0.5 };
    const errors = times(5);
    const { attempts, create: call } = await orders(t, errors, { retry });
    await failure(call({}));
    assert.equal(attempts.length, 1 + 3);
    await failure(call({}));
    assert.equal(attempts.length, 1 + 3 + 1, "the budget is empty");
    await call({});
    await call({});
    errors.push(...times(2));
    await failure(call({}));
    assert.equal(attempts.length, 5 + 2 + 2, "two successes gave one retry back");
});

test("a connection that is lost while a call waits is an unavailable service", async (t) => {
    const { attempts, create: call } = await orders(t, ["cut", "cut"]);
    await call({});
    assert.equal(attempts.length, 3);
    const once = await orders(t, ["cut"], { retry: { maxAttempts: 1 } });
    assert.equal((await failure(once.create({}))).code, Code.Unavailable);
});

test("a server that is not there is unavailable", async (t) => {
    const openorder = connect("127.0.0.1:1", { retry: { ...fast, maxAttempts: 3 } });
    t.after(() => openorder.close());
    assert.equal((await failure(openorder.orders.getOrder({}))).code, Code.Unavailable);
});

test("a caller's signal ends a call, and its wait", async (t) => {
    for (const [behaviour, timeoutMs] of [
        ["hang", 2_000],
        [later(60_000), 120_000],
    ] as const) {
        const { attempts, create: call } = await orders(t, [behaviour]);
        const controller = new AbortController();
        const running = failure(call({}, { signal: controller.signal, timeoutMs }));
        setTimeout(() => controller.abort(), 200);
        assert.equal((await running).code, Code.Canceled);
        assert.equal(attempts.length, 1);
    }
});

test("a client that was closed makes no calls", async (t) => {
    const { openorder, create: call } = await orders(t, ["hang"]);
    const running = failure(call({}));
    setTimeout(() => openorder.close(), 100);
    assert.equal((await running).code, Code.FailedPrecondition);
    assert.equal((await failure(call({}))).code, Code.FailedPrecondition);
});

test("an error has the reason, its domain and its metadata", async (t) => {
    const { create: call } = await orders(t, [
        refusal(Code.FailedPrecondition, "PRICE_CHANGED", { total: "20.00 EUR" }),
        refusal(Code.FailedPrecondition, "NEVER_HEARD_OF"),
        new ConnectError("bare", Code.Internal),
    ]);
    const known = await failure(call({}));
    assert.ok(isReason(known, "PRICE_CHANGED"));
    assert.ok(!isReason(known, "OUT_OF_STOCK"));
    assert.deepEqual([known.domain, known.metadata.total], ["openorder", "20.00 EUR"]);
    assert.match(known.message, /refused: PRICE_CHANGED/);
    assert.ok(known.cause instanceof ConnectError);
    assert.equal((await failure(call({}))).reason, "NEVER_HEARD_OF");
    const bare = await failure(call({}));
    assert.deepEqual([bare.reason, bare.domain, bare.violations, bare.retryDelayMs], ["", "", [], undefined]);
    assert.ok(!isReason(new Error("OUT_OF_STOCK"), "OUT_OF_STOCK"));
});

test("an error has the fields that were refused", async (t) => {
    const violation = {
        field: "lines[0].quantity",
        description: "must be at least 1",
        reason: "QUANTITY_OUT_OF_RANGE",
    };
    const { create: call } = await orders(t, [
        new ConnectError("no", Code.InvalidArgument, undefined, [
            { desc: BadRequestSchema, value: { fieldViolations: [violation] } },
        ]),
    ]);
    assert.deepEqual((await failure(call({}))).violations, [violation]);
});
