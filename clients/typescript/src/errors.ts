import { Code, ConnectError } from "@connectrpc/connect";
import { BadRequestSchema, ErrorInfoSchema, RetryInfoSchema } from "./gen/google/rpc/error_details_pb.js";
import type { KnownReason, Reason } from "./reasons.js";

/** A field that the service refused. */
export interface FieldViolation {
    /** Where it is in the request, as the contract names fields: `lines[0].quantity`. */
    readonly field: string;
    /** What is wrong with it, for people. */
    readonly description: string;
    /** The same, stable, in UPPER_SNAKE; may be empty. */
    readonly reason: string;
}

/** Why a call failed: what the service said, or what became of the connection. */
export class OpenOrderError extends Error {
    override readonly name = "OpenOrderError";
    /** Status code of gRPC. */
    readonly code: Code;
    /** Stable reason in UPPER_SNAKE; empty where the service gave none. */
    readonly reason: Reason;
    /** Who gives the reason its meaning: `openorder`; empty where there is no reason. */
    readonly domain: string;
    /** What belongs to the reason, such as `total` of PRICE_CHANGED. */
    readonly metadata: Readonly<Record<string, string>>;
    /** The fields that were refused; empty for all but invalid arguments. */
    readonly violations: readonly FieldViolation[];
    /** How long to wait before the call is worth repeating, in milliseconds; undefined where the service did not say. */
    readonly retryDelayMs: number | undefined;

    constructor(message: string, code: Code, cause?: ConnectError) {
        super(message, { cause });
        const info = cause?.findDetails(ErrorInfoSchema)[0];
        const delay = cause?.findDetails(RetryInfoSchema)[0]?.retryDelay;
        this.code = code;
        this.reason = info?.reason ?? "";
        this.domain = info?.domain ?? "";
        this.metadata = info?.metadata ?? {};
        this.violations = (cause?.findDetails(BadRequestSchema) ?? []).flatMap((bad) =>
            bad.fieldViolations.map(({ field, description, reason }) => ({ field, description, reason })),
        );
        this.retryDelayMs = delay && Number(delay.seconds) * 1000 + delay.nanos / 1e6;
    }

    /**
     * The error for anything that a transport throws. A connection that was lost is `Code.Unavailable`, as it is in gRPC's
     * other libraries; Connect calls it aborted, canceled or internal.
     *
     * @param signal the caller's own: what it has canceled stays canceled.
     */
    static from(error: unknown, signal?: AbortSignal): OpenOrderError {
        if (error instanceof OpenOrderError) return error;
        const cause = ConnectError.from(error);
        // What a server said has a status, or, in Connect's own protocol, details.
        const isAnswer = cause.metadata.has("grpc-status") || cause.details.length > 0;
        const lost = !signal?.aborted && !isAnswer && isLostConnection(cause);
        const code = lost ? Code.Unavailable : cause.code;
        return new OpenOrderError(
            lost ? `[unavailable] connection lost: ${cause.rawMessage}` : cause.message,
            code,
            cause,
        );
    }
}

/** Whether an error is OpenOrder's, with this reason: `isReason(error, "OUT_OF_STOCK")`. */
export function isReason<R extends KnownReason>(error: unknown, reason: R): error is OpenOrderError & { reason: R } {
    return error instanceof OpenOrderError && error.domain === "openorder" && error.reason === reason;
}

/** Whether the same call can succeed later: the service was not there, or said when to come again. */
export function isTransient(error: OpenOrderError): boolean {
    return (
        error.code === Code.Unavailable || (error.code === Code.ResourceExhausted && error.retryDelayMs !== undefined)
    );
}

/** System errors of Node.js that mean that no answer will come. Errors of certificates are none of them. */
const LOST = [
    /^E(CONN(REFUSED|RESET|ABORTED)|PIPE|TIMEDOUT|(HOST|NET)(UNREACH|DOWN)|AI_AGAIN|NOTFOUND)$/,
    /^ERR_HTTP2_(GOAWAY_SESSION|SESSION_ERROR|INVALID_SESSION|INVALID_STREAM|STREAM_CANCEL|PING_CANCEL)$/,
    /^ERR_STREAM_/,
];

function isLostConnection(error: ConnectError): boolean {
    if (error.code === Code.Canceled || error.code === Code.Aborted) return true;
    // A stream of Connect's own protocol that ended too early.
    if (error.rawMessage.includes("missing EndStreamResponse")) return true;
    for (let cause: unknown = error; cause instanceof Error; cause = cause.cause) {
        const code = "code" in cause && typeof cause.code === "string" ? cause.code : "";
        if (LOST.some((pattern) => pattern.test(code))) return true;
        // The server has not begun with the call: RFC 9113, 8.7.
        if (cause.message.includes("NGHTTP2_REFUSED_STREAM")) return true;
    }
    return false;
}
