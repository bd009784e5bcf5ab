// The client for browsers, over the `fetch` of Node.js; dev/story typescript calls with it from a real browser.
import { Code, type ConnectRouter } from "@connectrpc/connect";
import { connectNodeAdapter } from "@connectrpc/connect-node";
import { isReason, OpenOrderError } from "@openorder/client";
import { OrderService, OrderStatus } from "@openorder/client/order/v1";
import { connect, type WebOptions } from "@openorder/client/web";
import assert from "node:assert/strict";
import { once } from "node:events";
import * as http from "node:http";
import type { AddressInfo } from "node:net";
import { test, type TestContext } from "node:test";
import { later, refusal } from "./server.js";
import { password, Shop } from "./shop.js";

interface WebServer {
    url: string;
    /** The content types of what was asked. */
    types: (string | undefined)[];
    /** Cuts all connections. */
    cut(): void;
}

async function serve(t: TestContext, routes: (router: ConnectRouter) => void): Promise<WebServer> {
    const types: (string | undefined)[] = [];
    const handler = connectNodeAdapter({ routes });
    const server = http.createServer((request, response) => {
        types.push(request.headers["content-type"]);
        handler(request, response);
    });
    server.listen(0, "127.0.0.1");
    await once(server, "listening");
    t.after(() => {
        server.closeAllConnections();
        server.close();
    });
    const url = `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
    return { url, types, cut: () => server.closeAllConnections() };
}

const retry = { initialBackoffMs: 1, maxBackoffMs: 5, maxAttempts: 4 };
const open = (url: string, options: WebOptions = {}) => connect(url, { timeoutMs: 5_000, retry, ...options });

async function failure(call: Promise<unknown>): Promise<OpenOrderError> {
    const error = await call.then(
        () => assert.fail("the call succeeded"),
        (error: unknown) => error,
    );
    assert.ok(error instanceof OpenOrderError, String(error));
    return error;
}

test("it signs in, calls and watches over Connect", async (t) => {
    const shop = new Shop();
    const { url, types } = await serve(t, shop.routes);
    const openorder = open(url);
    await openorder.signIn("ada@example.com", password);
    assert.equal((await openorder.orders.getOrder({})).order?.orderId, "Bearer access-1");
    shop.refuse("TOKEN_EXPIRED");
    assert.equal((await openorder.orders.getOrder({})).order?.orderId, "Bearer access-2");
    const tokens = new Set<string>();
    for await (const { orderId } of openorder.watchOrder("1")) {
        tokens.add(orderId);
        if (orderId === "Bearer access-3") break;
        shop.refuse("TOKEN_REVOKED", 2);
    }
    assert.deepEqual([...tokens], ["Bearer access-2", "Bearer access-3"]);
    assert.deepEqual([...new Set(types)].sort(), ["application/connect+proto", "application/proto"]);
});

test("what a service refuses is not taken for a lost connection", async (t) => {
    const errors = [Code.Aborted, Code.Canceled, Code.FailedPrecondition].map((code) => refusal(code, "NO"));
    let calls = 0;
    const { url } = await serve(t, (router) =>
        router.service(OrderService, {
            getOrder: () => {
                throw errors[calls++]!;
            },
        }),
    );
    for (const { code } of [...errors]) {
        const error = await failure(open(url).orders.getOrder({}));
        assert.deepEqual([error.code, error.reason], [code, "NO"]);
    }
    assert.equal(calls, errors.length, "none of them was sent again");
});

test("what is away is tried again, and a stream that breaks goes on", async (t) => {
    let calls = 0;
    let streams = 0;
    const server = await serve(t, (router) =>
        router.service(OrderService, {
            getOrder: () => {
                if (++calls === 1) throw later(1, Code.Unavailable);
                if (calls === 2) {
                    server.cut();
                    return new Promise<never>(() => undefined);
                }
                return { order: { orderId: "1" } };
            },
            async *watchOrder() {
                streams++;
                yield { order: { version: BigInt(streams), status: OrderStatus.PENDING } };
                if (streams === 3) yield { order: { version: 9n, status: OrderStatus.DELIVERED } };
                else server.cut();
            },
        }),
    );
    const openorder = open(server.url);
    assert.equal((await openorder.orders.getOrder({})).order?.orderId, "1");
    assert.equal(calls, 3);
    const versions: bigint[] = [];
    for await (const { version } of openorder.watchOrder("1")) versions.push(version);
    assert.equal(versions.at(-1), 9n);
    assert.equal(streams, 3);
});

test("a server that is not there is unavailable, and a deadline is kept", async (t) => {
    assert.equal((await failure(open("http://127.0.0.1:1").orders.getOrder({}))).code, Code.Unavailable);
    const { url } = await serve(t, (router) =>
        router.service(OrderService, { getOrder: () => new Promise<never>(() => undefined) }),
    );
    const error = await failure(open(url).orders.getOrder({}, { timeoutMs: 200 }));
    assert.equal(error.code, Code.DeadlineExceeded);
});

test("without TLS, secrets are sent to this machine alone", async () => {
    for (const here of ["http://localhost:8080", "http://127.0.0.1:8080", "http://[::1]:8080", "https://shop.example"]) {
        open(here, { credential: "t" });
    }
    for (const other of ["http://shop.example", "http://10.0.0.1:8080", "http://localhost.example"]) {
        assert.throws(() => open(other, { credential: "t" }), TypeError, other);
        await assert.rejects(open(other).signIn("ada@example.com", password), TypeError);
        open(other, { credential: "t", insecureCredentials: true });
    }
    for (const none of ["", "127.0.0.1:8080", "ftp://shop.example", "https://a:b@shop.example", "https://shop.example?a"]) {
        assert.throws(() => open(none), TypeError, none);
    }
});

test("a refusal has its reason", async (t) => {
    const { url } = await serve(t, (router) =>
        router.service(OrderService, {
            getOrder: () => {
                throw refusal(Code.NotFound, "ORDER_NOT_FOUND", { order_id: "1" });
            },
        }),
    );
    const error = await failure(open(url).orders.getOrder({}));
    assert.ok(isReason(error, "ORDER_NOT_FOUND"));
    assert.equal(error.metadata.order_id, "1");
});
