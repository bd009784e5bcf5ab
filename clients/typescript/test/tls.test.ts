import type { ConnectRouter } from "@connectrpc/connect";
import { Code, OpenOrderError } from "@openorder/client";
import { type ConnectOptions, connect } from "@openorder/client/node";
import { OrderService } from "@openorder/client/order/v1";
import assert from "node:assert/strict";
import { execFileSync } from "node:child_process";
import { mkdtempSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, test } from "node:test";
import { serve } from "./server.js";

const folder = mkdtempSync(join(tmpdir(), "openorder-tls-"));
after(() => rmSync(folder, { recursive: true }));

/** A certificate and its key, from an authority or, without one, an authority's own. */
function certificate(name: string, from?: string, alternative?: string) {
    const file = (what: string) => join(folder, `${what}`);
    const arguments_ = [
        "req",
        "-x509",
        "-newkey",
        "ec",
        "-pkeyopt",
        "ec_paramgen_curve:prime256v1",
        "-nodes",
        "-days",
        "1",
    ];
    arguments_.push("-subj", `/CN=${name}`, "-keyout", file(`${name}.key`), "-out", file(`${name}.pem`));
    if (from)
        arguments_.push(
            "-CA",
            file(`${from}.pem`),
            "-CAkey",
            file(`${from}.key`),
            "-addext",
            "basicConstraints=critical,CA:FALSE",
        );
    if (alternative) arguments_.push("-addext", `subjectAltName=${alternative}`);
    execFileSync("openssl", arguments_, { stdio: "pipe" });
    return { key: readFileSync(file(`${name}.key`)), cert: readFileSync(file(`${name}.pem`)) };
}

const ca = certificate("authority").cert;
const server = certificate("server", "authority", "IP:127.0.0.1");
const named = certificate("named", "authority", "DNS:gateway.example");
const caller = certificate("caller", "authority");

const routes = (router: ConnectRouter) =>
    router.service(OrderService, {
        getOrder: (_, { requestHeader }) => ({ order: { orderId: requestHeader.get("authorization") ?? "none" } }),
    });

/** What the server was sent as the header `authorization`. */
async function authorization(address: string, options: ConnectOptions): Promise<string | undefined> {
    const openorder = connect(address, { timeoutMs: 2_000, retry: { maxAttempts: 3, maxBackoffMs: 5 }, ...options });
    try {
        return (await openorder.orders.getOrder({ orderId: "1" })).order?.orderId;
    } finally {
        openorder.close();
    }
}

const hasCode =
    (...codes: Code[]) =>
    (error: unknown) =>
        error instanceof OpenOrderError && codes.includes(error.code);

test("TLS with an authority of one's own, and a credential over it", async (t) => {
    const { address } = await serve(t, routes, server);
    assert.equal(await authorization(address, { tls: { ca }, credential: "secret" }), "Bearer secret");
});

test("a server of another authority is not believed, and not asked again", async (t) => {
    const { address } = await serve(t, routes, server);
    await assert.rejects(authorization(address, { tls: true }), hasCode(Code.Internal));
});

test("a server of another name is not believed, unless it is the name that was asked for", async (t) => {
    const { address } = await serve(t, routes, named);
    await assert.rejects(authorization(address, { tls: { ca } }), hasCode(Code.Internal));
    assert.equal(await authorization(address, { tls: { ca, servername: "gateway.example" } }), "none");
});

test("a client certificate is shown", async (t) => {
    const { address } = await serve(t, routes, { ...server, ca, requestCert: true, rejectUnauthorized: true });
    assert.equal(await authorization(address, { tls: { ca, ...caller } }), "none");
    await assert.rejects(authorization(address, { tls: { ca } }), OpenOrderError);
});

test("a credential is asked for with each call", async (t) => {
    const { address } = await serve(t, routes);
    let given = 0;
    const openorder = connect(address, { credential: async () => `secret-${++given}` });
    t.after(() => openorder.close());
    for (const expected of ["Bearer secret-1", "Bearer secret-2"]) {
        assert.equal((await openorder.orders.getOrder({})).order?.orderId, expected);
    }
});

test("a credential that cannot be had, or not in time, ends the call", async (t) => {
    const { address } = await serve(t, routes);
    const refuses = () => Promise.reject(new Error("no"));
    const hangs = () => new Promise<string>(() => undefined);
    await assert.rejects(authorization(address, { credential: refuses }), hasCode(Code.Unauthenticated));
    await assert.rejects(authorization(address, { credential: hangs, timeoutMs: 200 }), hasCode(Code.DeadlineExceeded));
});

test("without TLS a credential is sent to this machine alone", async (t) => {
    const { address } = await serve(t, routes);
    assert.equal(await authorization(address, { credential: "secret" }), "Bearer secret");
    for (const here of ["localhost:8080", "127.8.9.1:8080", "[::1]:8080"])
        connect(here, { credential: "secret" }).close();
    for (const other of [
        "gateway:8080",
        "10.0.0.1:8080",
        "127.0.0.1.example:8080",
        "localhost.example:80",
        "[::2]:80",
    ]) {
        assert.throws(() => connect(other, { credential: "secret" }), TypeError, other);
        connect(other, { credential: "secret", tls: true }).close();
        connect(other).close();
    }
});

test("an address that is none is refused", () => {
    for (const address of [
        "",
        "http://127.0.0.1:8080",
        "127.0.0.1:8080/",
        "127.0.0.1:8080/v1",
        "user@127.0.0.1:8080",
        "127.0.0.1:x",
    ]) {
        assert.throws(() => connect(address), TypeError, address);
    }
});
