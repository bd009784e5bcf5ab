/** The client of OpenOrder for browsers: Connect over `fetch`. It needs no Node.js. */
import { Code, ConnectError } from "@connectrpc/connect";
import { createConnectTransport } from "@connectrpc/connect-web";
import { type ClientOptions, clientFor, type OpenOrder } from "./client.js";
import { isLoopback } from "./loopback.js";

/** How the gateway is reached, and what holds for all calls. */
export interface WebOptions extends ClientOptions {
    /**
     * Sends credentials and passwords without TLS to other machines as well: everybody on the way can read and use them. For
     * networks that encrypt by themselves.
     */
    readonly insecureCredentials?: boolean;
}

/**
 * A client of the gateway at a URL, such as `https://shop.example.com`. A page of another site may call where the gateway's
 * setting `gateway.cors_origins` names that site.
 *
 * @throws TypeError for a URL that is none, and for a credential that would be sent without TLS to another machine.
 */
export function connect(baseUrl: string, options: WebOptions = {}): OpenOrder {
    const url = URL.canParse(baseUrl) ? new URL(baseUrl) : undefined;
    if (!url || !/^https?:$/.test(url.protocol) || url.username || url.password || url.search || url.hash) {
        throw new TypeError(`the gateway's URL is like https://shop.example.com, not ${JSON.stringify(baseUrl)}`);
    }
    const isOpen = url.protocol === "http:" && !options.insecureCredentials && !isLoopback(url.hostname);
    const transport = createConnectTransport({ baseUrl: url.href, useBinaryFormat: true, fetch: telling });
    return clientFor(transport, options, isOpen ? url.host : undefined);
}

/**
 * `fetch` that calls a lost connection unavailable: a browser has no other word for it than TypeError. It has the same one
 * for a site that may not call.
 */
const telling: typeof fetch = async (input, init) => {
    const signal = init?.signal;
    let response: Response;
    try {
        // No cookies of the browser's: who calls is said by a token alone.
        response = await fetch(input, { ...init, credentials: "omit", redirect: "error" });
    } catch (cause) {
        throw told(cause, signal);
    }
    if (response.body === null) return response;
    const reader = response.body.getReader();
    const body = new ReadableStream<Uint8Array>({
        async pull(controller) {
            try {
                const { done, value } = await reader.read();
                if (done) controller.close();
                else controller.enqueue(value);
            } catch (cause) {
                controller.error(told(cause, signal));
            }
        },
        cancel: (reason) => reader.cancel(reason),
    });
    const { status, statusText, headers } = response;
    return new Response(body, { status, statusText, headers });
};

function told(cause: unknown, signal: AbortSignal | null | undefined): unknown {
    if (signal?.aborted || !(cause instanceof TypeError)) return cause;
    return new ConnectError(`connection lost: ${cause.message}`, Code.Unavailable, undefined, undefined, cause);
}
