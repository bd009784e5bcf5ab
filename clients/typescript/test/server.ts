// A gRPC server of the tests' own, over HTTP/2 without TLS or with it.
import type { ConnectRouter } from "@connectrpc/connect";
import { Code, ConnectError } from "@connectrpc/connect";
import { connectNodeAdapter } from "@connectrpc/connect-node";
import { ErrorInfoSchema, RetryInfoSchema } from "../dist/gen/google/rpc/error_details_pb.js";
import { once } from "node:events";
import * as http2 from "node:http2";
import type { AddressInfo } from "node:net";
import type { TestContext } from "node:test";

export interface TestServer {
    address: string;
    /** Cuts all connections. */
    cut(): void;
}

export async function serve(
    t: TestContext,
    routes: (router: ConnectRouter) => void,
    tls?: http2.SecureServerOptions,
): Promise<TestServer> {
    const handler = connectNodeAdapter({ routes });
    const server = tls ? http2.createSecureServer(tls, handler) : http2.createServer(handler);
    const sessions = new Set<http2.ServerHttp2Session>();
    server.on("session", (session: http2.ServerHttp2Session) => {
        sessions.add(session);
        session.on("close", () => sessions.delete(session));
        session.on("error", () => undefined);
    });
    server.on("sessionError", () => undefined);
    server.listen(0, "127.0.0.1");
    await once(server, "listening");
    const cut = () => sessions.forEach((session) => session.destroy());
    t.after(() => {
        server.close();
        cut();
    });
    return { address: `127.0.0.1:${(server.address() as AddressInfo).port}`, cut };
}

/** A refusal as OpenOrder's services make it. */
export function refusal(code: Code, reason: string, metadata: Record<string, string> = {}): ConnectError {
    return new ConnectError(`refused: ${reason}`, code, undefined, [
        { desc: ErrorInfoSchema, value: { reason, domain: "openorder", metadata } },
    ]);
}

/** A refusal that says when to come again. */
export function later(delayMs: number, code = Code.ResourceExhausted): ConnectError {
    const retryDelay = { seconds: BigInt(Math.floor(delayMs / 1000)), nanos: (delayMs % 1000) * 1e6 };
    return new ConnectError("later", code, undefined, [{ desc: RetryInfoSchema, value: { retryDelay } }]);
}
