import { clone, create, type DescMessage, type Message, type MessageInitShape } from "@bufbuild/protobuf";
import { Code, ConnectError, type Transport } from "@connectrpc/connect";
import { isTransient, OpenOrderError } from "./errors.js";
import { RetryBudget, type RetryPolicy, sleep, waitMs } from "./retry.js";
import { markStale, type Tokens, unlessAborted } from "./session.js";

/** Requests whose `request_id` names another request, and not the caller's own. */
const NAMES_ANOTHER = [
    "openorder.operations.v1.CancelReplayRequest",
    "openorder.operations.v1.ListAuditEntriesRequest",
];

/** Requests by which a caller signs in: it is nobody before. */
const SIGNS_IN = ["openorder.user.v1.AuthenticateRequest", "openorder.user.v1.RefreshTokenRequest"];

/** The request with a request id: a copy where it had none, so that the caller's own may be sent again as a new one. */
export function withRequestId(schema: DescMessage, init: MessageInitShape<DescMessage>): Message {
    const request = create(schema, init) as Message & { requestId?: string };
    if (request.requestId !== "" || NAMES_ANOTHER.includes(schema.typeName)) return request;
    return Object.assign(clone(schema, request), { requestId: crypto.randomUUID() });
}

async function* withRequestIds(schema: DescMessage, requests: AsyncIterable<MessageInitShape<DescMessage>>) {
    for await (const request of requests) yield withRequestId(schema, request);
}

async function* withErrors<T>(messages: AsyncIterable<T>, toError: (cause: unknown) => OpenOrderError) {
    try {
        yield* messages;
    } catch (cause) {
        throw toError(cause);
    }
}

/** What the calls of a client have in common. */
export interface CallSettings {
    /** Deadline of a call that has none of its own, over all its attempts. Streams have none. */
    readonly timeoutMs: number;
    readonly policy: RetryPolicy;
    readonly budget: RetryBudget;
    /** What each attempt is sent with; not given: no token. */
    readonly tokens?: Tokens | undefined;
}

/**
 * A transport whose calls have a request id, a deadline, a token, retries and OpenOrder's errors. It goes around a transport,
 * and is no interceptor within it: each attempt tells the server the time that is left, and any transport will do.
 */
export function reliable(transport: Transport, settings: CallSettings): Transport {
    const { policy, budget } = settings;
    const tokensOf = (input: DescMessage) => (SIGNS_IN.includes(input.typeName) ? undefined : settings.tokens);
    return {
        async unary(method, signal, callTimeoutMs = settings.timeoutMs, header, input, contextValues) {
            const request = withRequestId(method.input, input) as typeof input;
            const tokens = tokensOf(method.input);
            const deadline = callTimeoutMs > 0 ? performance.now() + callTimeoutMs : Infinity;
            const leftMs = () => (deadline === Infinity ? 0 : Math.max(1, Math.ceil(deadline - performance.now())));
            for (let attempt = 1, isRenewed = false; ; attempt++) {
                let token = "";
                try {
                    token = await tokenFor(tokens, signal, leftMs());
                    const headers = withToken(header, token);
                    const response = await transport.unary(method, signal, leftMs(), headers, request, contextValues);
                    budget.succeeded();
                    return response;
                } catch (cause) {
                    const error = OpenOrderError.from(cause, signal);
                    if (!isRenewed && tokens?.isStale(token, error)) {
                        isRenewed = true;
                        continue;
                    }
                    const pauseMs = waitMs(error, attempt, policy);
                    const again =
                        isTransient(error) && attempt < policy.maxAttempts && performance.now() + pauseMs < deadline;
                    if (!again || !budget.take()) throw error;
                    await sleep(pauseMs, signal);
                }
            }
        },
        async stream(method, signal, callTimeoutMs, header, input, contextValues) {
            const tokens = tokensOf(method.input);
            const timeoutMs = callTimeoutMs ?? 0;
            let token = "";
            const toError = (cause: unknown) => {
                const error = OpenOrderError.from(cause, signal);
                return tokens?.isStale(token, error) ? markStale(error) : error;
            };
            try {
                const requests = withRequestIds(method.input, input) as typeof input;
                token = await tokenFor(tokens, signal, timeoutMs);
                const headers = withToken(header, token);
                const response = await transport.stream(method, signal, timeoutMs, headers, requests, contextValues);
                return { ...response, message: withErrors(response.message, toError) };
            } catch (cause) {
                throw toError(cause);
            }
        },
    };
}

function withToken(header: HeadersInit | undefined, token: string): HeadersInit | undefined {
    if (token === "") return header;
    const headers = new Headers(header);
    headers.set("authorization", `Bearer ${token}`);
    return headers;
}

/** The token, or the error of a call that has no time left to wait for it. */
async function tokenFor(tokens: Tokens | undefined, signal: AbortSignal | undefined, leftMs: number): Promise<string> {
    if (tokens === undefined) return "";
    const ends = new AbortController();
    const late = () => ends.abort(new ConnectError("there was no token in time", Code.DeadlineExceeded));
    const timer = leftMs > 0 ? setTimeout(late, leftMs) : undefined;
    const canceled = () => ends.abort(ConnectError.from(signal?.reason, Code.Canceled));
    signal?.addEventListener("abort", canceled, { once: true });
    try {
        if (signal?.aborted) canceled();
        const token = tokens.token(ends.signal);
        return typeof token === "string" ? token : await unlessAborted(token, ends.signal);
    } catch (cause) {
        if (cause instanceof OpenOrderError || cause instanceof ConnectError) throw cause;
        throw new ConnectError("the credential could not be had", Code.Unauthenticated, undefined, undefined, cause);
    } finally {
        clearTimeout(timer);
        signal?.removeEventListener("abort", canceled);
    }
}
