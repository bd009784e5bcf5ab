/** The client of OpenOrder for Node.js: gRPC over HTTP/2. */
import { Code, ConnectError, type Interceptor } from "@connectrpc/connect";
import { createGrpcTransport, Http2SessionManager } from "@connectrpc/connect-node";
import type { SecureContextOptions } from "node:tls";
import { client, type ClientOptions, type OpenOrder } from "./client.js";

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

/** A bearer token, or what gives one for each attempt of each call, such as a cache that renews it. */
export type Credential = string | ((signal: AbortSignal) => string | Promise<string>);

const CLOSED = "the client was closed";

/** How the gateway is reached, and what holds for all calls. */
export interface ConnectOptions extends ClientOptions {
    /** `true`: TLS with the authorities that Node.js knows. Not given: no TLS. */
    readonly tls?: boolean | TlsOptions;
    /** Sent as `authorization: Bearer …`; without TLS to this machine alone. */
    readonly credential?: Credential;
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
    const { tls = false, credential } = options;
    const url = URL.canParse(`http://${address}`) ? new URL(`${tls ? "https" : "http"}://${address}`) : undefined;
    if (url === undefined || url.pathname !== "/" || url.username || url.search || url.hash || address.endsWith("/")) {
        throw new TypeError(`the gateway's address is host:port, not ${JSON.stringify(address)}`);
    }
    if (credential !== undefined && !tls && !isLoopback(url.hostname)) {
        throw new TypeError(`a credential is not sent to ${url.host} without TLS`);
    }
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
        interceptors: [unlessClosed, ...(credential === undefined ? [] : [bearer(credential)])],
    });
    const close = () => {
        closed = true;
        session.abort(new ConnectError(CLOSED, Code.FailedPrecondition));
    };
    return { ...client(transport, options), close };
}

function isLoopback(hostname: string): boolean {
    return hostname === "localhost" || hostname === "[::1]" || /^127(\.\d+){3}$/.test(hostname);
}

/** Whoever gives the token may hang: the deadline of the call ends that, too. */
function bearer(credential: Credential): Interceptor {
    return (next) => async (request) => {
        const token = typeof credential === "string" ? credential : await unlessAborted(credential, request.signal);
        request.header.set("authorization", `Bearer ${token}`);
        return next(request);
    };
}

function unlessAborted(give: (signal: AbortSignal) => string | Promise<string>, signal: AbortSignal): Promise<string> {
    return new Promise((resolve, reject) => {
        const aborted = () => reject(ConnectError.from(signal.reason, Code.Canceled));
        signal.addEventListener("abort", aborted, { once: true });
        if (signal.aborted) aborted();
        Promise.resolve()
            .then(() => give(signal))
            .catch((cause: unknown) => {
                throw new ConnectError(
                    "the credential could not be had",
                    Code.Unauthenticated,
                    undefined,
                    undefined,
                    cause,
                );
            })
            .then(resolve, reject)
            .finally(() => signal.removeEventListener("abort", aborted));
    });
}
