/** The client of OpenOrder for Node.js: gRPC over HTTP/2. */
import { Code, ConnectError, type Interceptor } from "@connectrpc/connect";
import { createGrpcTransport, Http2SessionManager } from "@connectrpc/connect-node";
import type { SecureContextOptions } from "node:tls";
import { type ClientOptions, clientFor, type OpenOrder } from "./client.js";
import { isLoopback } from "./loopback.js";

/** Certificates, as texts or bytes in PEM. */
export interface TlsOptions {
    /** Authorities that the gateway's certificate may come from; those that Node.js knows where it is not given. */
    readonly ca?: SecureContextOptions["ca"];
    /** Certificate of the client, with those in between, for a gateway that asks for one. */
    readonly cert?: SecureContextOptions["cert"];
    /** Private key of the client's certificate. */
    readonly key?: SecureContextOptions["key"];
    /** Name in the gateway's certificate, where it is not the host of the address. */
    readonly servername?: string;
}

export type { Credential } from "./session.js";

const CLOSED = "the client was closed";

/** How the gateway is reached, and what holds for all calls. */
export interface ConnectOptions extends ClientOptions {
    /** `true`: TLS with the authorities that Node.js knows. Not given: no TLS. */
    readonly tls?: boolean | TlsOptions;
    /**
     * Sends credentials and passwords without TLS to other machines as well: everybody on the way can read and use them. For
     * networks that encrypt by themselves.
     */
    readonly insecureCredentials?: boolean;
    /** After how much silence a connection with open calls is asked for a sign of life, in milliseconds; 20,000. */
    readonly keepaliveMs?: number;
    /** How long it may take to give one, in milliseconds; 10,000. */
    readonly keepaliveTimeoutMs?: number;
    /** How long a connection without calls stays open, in milliseconds; 240,000, a minute less than the gateway keeps it. */
    readonly idleMs?: number;
}

/** A client that holds a connection. */
export interface ConnectedOpenOrder extends OpenOrder {
    /** Ends the connection and the calls on it; later calls fail with `Code.FailedPrecondition`. */
    close(): void;
}

/**
 * A client of the gateway at `host:port`. The connection opens with the first call, again after it was lost, and does not
 * keep the process alive while no call is open.
 *
 * @throws TypeError for an address that is none, and for a credential that would be sent without TLS to another machine.
 */
export function connect(address: string, options: ConnectOptions = {}): ConnectedOpenOrder {
    const { tls = false, insecureCredentials = false } = options;
    const url = URL.canParse(`http://${address}`) ? new URL(`${tls ? "https" : "http"}://${address}`) : undefined;
    if (url === undefined || url.pathname !== "/" || url.username || url.search || url.hash || address.endsWith("/")) {
        throw new TypeError(`the gateway's address is host:port, not ${JSON.stringify(address)}`);
    }
    const isOpen = !tls && !insecureCredentials && !isLoopback(url.hostname);
    const session = new Http2SessionManager(
        url.origin,
        {
            pingIntervalMs: options.keepaliveMs ?? 20_000,
            pingTimeoutMs: options.keepaliveTimeoutMs ?? 10_000,
            idleConnectionTimeoutMs: options.idleMs ?? 240_000,
        },
        typeof tls === "object" ? tls : {},
    );
    let closed = false;
    const unlessClosed: Interceptor = (next) => (request) => {
        if (closed) throw new ConnectError(CLOSED, Code.FailedPrecondition);
        return next(request);
    };
    const transport = createGrpcTransport({
        baseUrl: url.origin,
        sessionManager: session,
        interceptors: [unlessClosed],
    });
    const close = () => {
        closed = true;
        session.abort(new ConnectError(CLOSED, Code.FailedPrecondition));
    };
    return { ...clientFor(transport, options, isOpen ? url.host : undefined), close };
}

/** A credential: what the environment variable OPENORDER_TOKEN holds, such as an API key; nothing where it is not set. */
export function environmentToken(): string {
    return process.env.OPENORDER_TOKEN?.trim() ?? "";
}
