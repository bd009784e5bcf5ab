import { clone, create, type DescMessage, type Message, type MessageInitShape } from "@bufbuild/protobuf";
import type { Transport } from "@connectrpc/connect";
import { isTransient, OpenOrderError } from "./errors.js";
import { RetryBudget, type RetryPolicy, sleep, waitMs } from "./retry.js";

/** Requests whose `request_id` names another request, and not the caller's own. */
const NAMES_ANOTHER = [
    "openorder.operations.v1.CancelReplayRequest",
    "openorder.operations.v1.ListAuditEntriesRequest",
];

/** The request with a request id: a copy where it had none, so that the caller's own may be sent again as a new one. */
export function withRequestId(schema: DescMessage, init: MessageInitShape<DescMessage>): Message {
    const request = create(schema, init) as Message & { requestId?: string };
    if (request.requestId !== "" || NAMES_ANOTHER.includes(schema.typeName)) return request;
    return Object.assign(clone(schema, request), { requestId: crypto.randomUUID() });
}

async function* withRequestIds(schema: DescMessage, requests: AsyncIterable<MessageInitShape<DescMessage>>) {
    for await (const request of requests) yield withRequestId(schema, request);
}

async function* withErrors<T>(messages: AsyncIterable<T>, signal: AbortSignal | undefined) {
    try {
        yield* messages;
    } catch (error) {
        throw OpenOrderError.from(error, signal);
    }
}

/**
 * A transport whose calls have a request id, a deadline, retries and OpenOrder's errors. It goes around a transport, and is
 * no interceptor within it: each attempt tells the server the time that is left, and any transport will do.
 *
 * @param timeoutMs deadline of a call that has none of its own, over all its attempts. Streams have none.
 */
export function reliable(transport: Transport, timeoutMs: number, policy: RetryPolicy): Transport {
    const budget = new RetryBudget(policy);
    return {
        async unary(method, signal, callTimeoutMs = timeoutMs, header, input, contextValues) {
            const request = withRequestId(method.input, input) as typeof input;
            const deadline = callTimeoutMs > 0 ? performance.now() + callTimeoutMs : Infinity;
            for (let attempt = 1; ; attempt++) {
                const leftMs = deadline === Infinity ? 0 : Math.max(1, Math.ceil(deadline - performance.now()));
                try {
                    const response = await transport.unary(method, signal, leftMs, header, request, contextValues);
                    budget.succeeded();
                    return response;
                } catch (cause) {
                    const error = OpenOrderError.from(cause, signal);
                    const pauseMs = waitMs(error, attempt, policy);
                    const again =
                        isTransient(error) && attempt < policy.maxAttempts && performance.now() + pauseMs < deadline;
                    if (!again || !budget.take()) throw error;
                    await sleep(pauseMs, signal);
                }
            }
        },
        async stream(method, signal, callTimeoutMs, header, input, contextValues) {
            try {
                const requests = withRequestIds(method.input, input) as typeof input;
                const response = await transport.stream(
                    method,
                    signal,
                    callTimeoutMs ?? 0,
                    header,
                    requests,
                    contextValues,
                );
                return { ...response, message: withErrors(response.message, signal) };
            } catch (error) {
                throw OpenOrderError.from(error, signal);
            }
        },
    };
}
