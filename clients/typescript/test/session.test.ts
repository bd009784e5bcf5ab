import { create } from "@bufbuild/protobuf";
import { timestampFromMs } from "@bufbuild/protobuf/wkt";
import { Code, ConnectError } from "@connectrpc/connect";
import { isReason, OpenOrderError, SessionEndedError } from "@openorder/client";
import { type ConnectedOpenOrder, type ConnectOptions, connect, environmentToken } from "@openorder/client/node";
import { SessionSchema } from "@openorder/client/user/v1";
import { ClientSession } from "../dist/session.js";
import assert from "node:assert/strict";
import { test, type TestContext } from "node:test";
import { setTimeout as pause } from "node:timers/promises";
import { inspect } from "node:util";
import { refusal, serve } from "./server.js";
import { password, Shop } from "./shop.js";

async function open(t: TestContext, options: ConnectOptions = {}) {
    const shop = new Shop();
    const { address } = await serve(t, shop.routes);
    const retry = { initialBackoffMs: 1, maxBackoffMs: 5, maxAttempts: 4 };
    const openorder = connect(address, { timeoutMs: 5_000, retry, ...options });
    t.after(() => openorder.close());
    return { shop, openorder };
}

async function signedIn(t: TestContext, options: ConnectOptions = {}) {
    const opened = await open(t, options);
    assert.equal((await opened.openorder.signIn("ada@example.com", password)).userId, "ada");
    return opened;
}

/** The token that a call is made with. */
async function sent(openorder: ConnectedOpenOrder, timeoutMs?: number): Promise<string | undefined> {
    return (await openorder.orders.getOrder({}, timeoutMs === undefined ? {} : { timeoutMs })).order?.orderId;
}

async function failure(call: Promise<unknown>): Promise<OpenOrderError> {
    const error = await call.then(
        () => assert.fail("the call succeeded"),
        (error: unknown) => error,
    );
    assert.ok(error instanceof OpenOrderError, String(error));
    return error;
}

async function all<T>(items: AsyncIterable<T>): Promise<T[]> {
    const found: T[] = [];
    for await (const item of items) found.push(item);
    return found;
}

/** A refresh that waits until it is let go. */
function held(shop: Shop): () => void {
    let release: () => void = () => undefined;
    const released = new Promise<void>((resolve) => {
        release = () => resolve();
    });
    shop.onRefresh = () => released;
    return () => release();
}

const refused = (reason: string) => () => {
    throw refusal(Code.Unauthenticated, reason);
};

test("calls are made as who signed in, until they sign out", async (t) => {
    const { shop, openorder } = await open(t);
    assert.equal(await sent(openorder), "");
    const error = await failure(openorder.signIn("ada@example.com", "a guess"));
    assert.ok(isReason(error, "CREDENTIALS_REFUSED") && !(error instanceof SessionEndedError));
    assert.equal(await sent(openorder), "");
    await openorder.signIn("ada@example.com", password);
    assert.equal(await sent(openorder), "Bearer access-1");
    await openorder.signOut();
    await openorder.signOut();
    assert.equal(await sent(openorder), "");
    assert.deepEqual(shop.signOuts, ["refresh-1"], "once, and without the token");
    assert.deepEqual(shop.refreshes, []);
});

test("a token is renewed when three quarters to nine tenths of its life are over", async (t) => {
    for (const [random, atMs] of [
        [0, 75_000],
        [0.999_999, 90_000],
    ] as const) {
        let now = 0;
        t.mock.method(Math, "random", () => random);
        t.mock.method(performance, "now", () => now);
        let renewed = 0;
        const session = new ClientSession(async () => (renewed++, create(SessionSchema, { accessToken: "b" })));
        const accessTokenExpireTime = timestampFromMs(Date.now() + 100_000);
        session.begin(create(SessionSchema, { accessToken: "a", accessTokenExpireTime }));
        const { signal } = new AbortController();
        now = atMs - 200;
        assert.equal(await session.token(signal), "a");
        assert.equal(renewed, 0);
        now = atMs + 200;
        assert.equal(await session.token(signal), "a", "calls go on with the old one");
        assert.equal(renewed, 1);
        await Promise.resolve();
        await new Promise(setImmediate);
        assert.equal(await session.token(signal), "b");
        assert.equal(renewed, 1);
        t.mock.restoreAll();
    }
});

test("a token that has ended is waited for by all calls, and renewed once", async (t) => {
    const { shop, openorder } = await open(t);
    shop.lifeMs = 200;
    await openorder.signIn("ada@example.com", password);
    shop.lifeMs = 60_000;
    const release = held(shop);
    await pause(250);
    const calls = Array.from({ length: 20 }, () => sent(openorder));
    await pause(100);
    release();
    assert.deepEqual(await Promise.all(calls), Array<string>(20).fill("Bearer access-2"));
    assert.deepEqual(shop.refreshes, ["refresh-1"], "without an access token");
});

test("where the clocks differ by more than it lives, a token is good until it is refused", async (t) => {
    const { shop, openorder } = await open(t);
    shop.lifeMs = -60_000;
    await openorder.signIn("ada@example.com", password);
    for (let i = 0; i < 3; i++) assert.equal(await sent(openorder), "Bearer access-1");
    assert.deepEqual(shop.refreshes, []);
});

test("a call that is refused for its token is sent once more, with a new one for all", async (t) => {
    for (const reason of ["TOKEN_EXPIRED", "TOKEN_REVOKED"]) {
        const { shop, openorder } = await signedIn(t);
        shop.refuse(reason);
        const tokens = await Promise.all(Array.from({ length: 20 }, () => sent(openorder)));
        assert.deepEqual(tokens, Array<string>(20).fill("Bearer access-2"));
        assert.deepEqual(shop.refreshes, ["refresh-1"]);
    }
});

test("it is not sent a third time", async (t) => {
    const { shop, openorder } = await signedIn(t);
    shop.refuse("TOKEN_EXPIRED", 99);
    const error = await failure(sent(openorder));
    assert.ok(isReason(error, "TOKEN_EXPIRED") && !(error instanceof SessionEndedError));
    assert.deepEqual(shop.orders, ["Bearer access-1", "Bearer access-2"]);
});

test("a session that has ended fails all calls with one error, and asks nobody", async (t) => {
    for (const [call, refresh, reason] of [
        ["TOKEN_REVOKED", "REFRESH_TOKEN_REFUSED", "TOKEN_REVOKED"],
        ["TOKEN_EXPIRED", "REFRESH_TOKEN_REFUSED", "REFRESH_TOKEN_REFUSED"],
        ["TOKEN_EXPIRED", "REFRESH_TOKEN_REUSED", "REFRESH_TOKEN_REUSED"],
    ] as const) {
        const { shop, openorder } = await signedIn(t);
        shop.onRefresh = refused(refresh);
        shop.refuse(call);
        for (let i = 0; i < 3; i++) {
            for (const error of [await failure(sent(openorder)), await failure(all(openorder.watchOrder("1")))]) {
                assert.ok(error instanceof SessionEndedError, error.message);
                assert.ok(isReason(error, reason), error.reason);
                assert.equal(error.code, Code.Unauthenticated);
            }
        }
        assert.equal(shop.orders.length, 1);
        assert.equal(shop.refreshes.length, 1);
        shop.onRefresh = () => undefined;
        await openorder.signIn("ada@example.com", password);
        assert.equal(await sent(openorder), "Bearer access-2");
    }
});

test("a refresh that fails ends nothing, and is not begun again at once", async (t) => {
    const { shop, openorder } = await signedIn(t);
    shop.onRefresh = (attempt) => {
        if (attempt <= 4) throw new ConnectError("away", Code.Unavailable);
    };
    shop.refuse("TOKEN_EXPIRED");
    for (let i = 0; i < 5; i++) {
        const error = await failure(sent(openorder));
        assert.equal(error.code, Code.Unavailable);
        assert.ok(!(error instanceof SessionEndedError));
    }
    assert.equal(shop.refreshes.length, 4, "the attempts of one refresh");
    await pause(1_050);
    assert.equal(await sent(openorder), "Bearer access-2");
    assert.deepEqual([...new Set(shop.refreshes)], ["refresh-1"]);
});

test("a call waits for a token until its deadline; the refresh goes on", async (t) => {
    const { shop, openorder } = await signedIn(t);
    const release = held(shop);
    shop.refuse("TOKEN_EXPIRED");
    const begun = performance.now();
    assert.equal((await failure(sent(openorder, 200))).code, Code.DeadlineExceeded);
    const tookMs = performance.now() - begun;
    assert.ok(tookMs >= 199 && tookMs < 1_500, `${tookMs} ms`);
    const controller = new AbortController();
    const canceled = failure(openorder.orders.getOrder({}, { signal: controller.signal }));
    controller.abort();
    assert.equal((await canceled).code, Code.Canceled);
    release();
    assert.equal(await sent(openorder), "Bearer access-2");
    assert.deepEqual(shop.refreshes, ["refresh-1"]);
});

test("a watch outlives its token", async (t) => {
    const { shop, openorder } = await signedIn(t);
    const tokens: string[] = [];
    for await (const { orderId } of openorder.watchOrder("1")) {
        tokens.push(orderId);
        if (orderId === "Bearer access-2") break;
        if (tokens.length === 2) shop.refuse("TOKEN_REVOKED");
    }
    assert.deepEqual([...new Set(tokens)], ["Bearer access-1", "Bearer access-2"]);
    assert.equal(shop.refreshes.length, 1);
});

test("who signs out while a token is renewed is signed out", async (t) => {
    const { shop, openorder } = await signedIn(t);
    const release = held(shop);
    shop.refuse("TOKEN_EXPIRED");
    const call = failure(sent(openorder));
    while (shop.refreshes.length === 0) await pause(1);
    await openorder.signOut();
    release();
    const error = await call;
    assert.equal(error.code, Code.Unauthenticated);
    assert.ok(!(error instanceof SessionEndedError));
    assert.equal(await sent(openorder), "");
});

test("an API key is sent, as it is given or out of the environment", async (t) => {
    const { openorder } = await open(t, { credential: "oo_id_secret" });
    assert.equal(await sent(openorder), "Bearer oo_id_secret");
    await assert.rejects(openorder.signIn("ada@example.com", password), TypeError);
    const other = (await open(t, { credential: environmentToken })).openorder;
    const before = process.env.OPENORDER_TOKEN;
    t.after(() => (before === undefined ? delete process.env.OPENORDER_TOKEN : (process.env.OPENORDER_TOKEN = before)));
    delete process.env.OPENORDER_TOKEN;
    assert.equal(await sent(other), "");
    process.env.OPENORDER_TOKEN = "oo_id_secret\n";
    assert.equal(await sent(other), "Bearer oo_id_secret");
});

test("a token that was given is not renewed", async (t) => {
    const { shop, openorder } = await open(t, { credential: "access-0" });
    shop.refuse("TOKEN_EXPIRED");
    assert.ok(isReason(await failure(sent(openorder)), "TOKEN_EXPIRED"));
    assert.equal(shop.orders.length + shop.refreshes.length, 1);
});

test("what is no token is refused, and not shown", async (t) => {
    for (const token of ["", "secret\n", "a secret", "sécret"]) {
        assert.throws(() => connect("127.0.0.1:1", { credential: token }), TypeError);
        if (token === "") continue;
        const { shop, openorder } = await open(t, { credential: () => token });
        const error = await failure(sent(openorder));
        assert.equal(error.code, Code.Unauthenticated);
        assert.ok(!inspect(error, { depth: 9 }).includes("cret"), inspect(error));
        assert.deepEqual(shop.orders, []);
    }
});

test("a password is not sent to another machine without TLS, unless it is said so", async () => {
    const open = connect("192.0.2.1:8080");
    await assert.rejects(open.signIn("ada@example.com", password), (error) => {
        assert.ok(error instanceof TypeError && !error.message.includes(password));
        return true;
    });
    open.close();
    assert.throws(() => connect("192.0.2.1:8080", { credential: "t" }), TypeError);
    connect("192.0.2.1:8080", { credential: "t", insecureCredentials: true }).close();
    const said = connect("192.0.2.1:8080", { insecureCredentials: true, timeoutMs: 5 });
    await assert.rejects(said.signIn("ada@example.com", password), OpenOrderError);
    said.close();
});

test("tokens stand in no text", async (t) => {
    const { shop, openorder } = await signedIn(t);
    await sent(openorder);
    shop.onRefresh = refused("REFRESH_TOKEN_REUSED");
    const texts = [inspect(openorder, { depth: 9, showHidden: true })];
    shop.refuse("TOKEN_EXPIRED");
    const error = await failure(sent(openorder));
    texts.push(inspect(error, { depth: 9, showHidden: true }), String(error.stack), JSON.stringify(error));
    for (const text of texts) {
        for (const secret of ["access-", "refresh-", password]) assert.ok(!text.includes(secret), text);
    }
});
