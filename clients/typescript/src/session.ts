import { timestampMs } from "@bufbuild/protobuf/wkt";
import { Code, type ConnectError } from "@connectrpc/connect";
import { isReason, OpenOrderError } from "./errors.js";
import type { Session } from "./gen/openorder/user/v1/index.js";

/**
 * An API key or an access token, or what gives one for each attempt of each call, such as a cache that renews it. An empty
 * one is not sent.
 */
export type Credential = string | ((signal: AbortSignal) => string | Promise<string>);

/**
 * The session that the client was signed in with has ended: it was revoked, or its refresh token was refused; `reason` says
 * which. Calls go on failing so until there is another one.
 */
export class SessionEndedError extends OpenOrderError {
    constructor(why: OpenOrderError) {
        super(why.message, Code.Unauthenticated, why.cause as ConnectError | undefined);
        Object.defineProperty(this, "name", { value: "SessionEndedError" });
    }
}

/** What an attempt is sent with, and what becomes of it when the token is refused. */
export interface Tokens {
    /** The token to send, empty for none; waits for it until the signal is aborted. */
    token(signal: AbortSignal): string | Promise<string>;
    /** Whether a call that was refused so is worth another attempt, with the next token. */
    isStale(token: string, error: OpenOrderError): boolean;
}

/** After a refresh that failed and may succeed later, no other is begun for so long, in milliseconds. */
const PAUSE_MS = 1_000;
/** An access token is renewed when such a part of its life is over; at random, so that clients do not come together. */
const RENEW_FROM = 0.75;
const RENEW_TO = 0.9;

/**
 * Errors of streams whose token is not good any more, so that they may be opened again with another. Beside the errors, and
 * not in them: it is nothing to their readers.
 */
const stale = new WeakSet<OpenOrderError>();

export function markStale(error: OpenOrderError): OpenOrderError {
    stale.add(error);
    return error;
}

export function isMarkedStale(error: OpenOrderError): boolean {
    return stale.has(error);
}

/** Tokens that are given from outside. */
export function given(credential: Credential): Tokens {
    return {
        async token(signal) {
            const token = typeof credential === "string" ? credential : await credential(signal);
            checkToken(token);
            return token;
        },
        isStale: () => false,
    };
}

/**
 * RFC 6750 and API keys: visible ASCII characters. What is none is refused here, since the errors of those who would send it
 * show it.
 *
 * @throws TypeError
 */
export function checkToken(token: string): void {
    if (typeof token !== "string" || !/^[\x21-\x7e]*$/.test(token)) {
        throw new TypeError("what was given as a credential is no token");
    }
}

/**
 * The session of a client: its tokens, which nobody else sees, renewed before they end, once for all calls. A refresh belongs
 * to no call: one that leaves does not take the answer along that the session goes on with.
 */
export class ClientSession implements Tokens {
    #access = "";
    #refresh = "";
    /** By `performance.now()`; infinite where the clocks differ by more than the token lives: then it is good until refused. */
    #renewAtMs = Infinity;
    #endAtMs = Infinity;
    #refused: OpenOrderError | undefined;
    #underWay: Promise<string> | undefined;
    #failure: OpenOrderError | undefined;
    #pausedUntilMs = 0;
    #ended: SessionEndedError | undefined;

    /** @param renew asks for the next session, and has an end by itself. */
    constructor(private readonly renew: (refreshToken: string) => Promise<Session | undefined>) {}

    begin(session: Session | undefined): void {
        this.#clear();
        this.#take(session);
    }

    /** Forgets everything, and returns the refresh token; empty without a session. */
    forget(): string {
        const token = this.#refresh;
        this.#clear();
        return token;
    }

    token(signal: AbortSignal): string | Promise<string> {
        if (this.#ended) throw this.#ended;
        if (this.#access === "") return "";
        const now = performance.now();
        const isGood = this.#refused === undefined && now < this.#endAtMs;
        if (isGood && now < this.#renewAtMs) return this.#access;
        if (this.#underWay === undefined && now < this.#pausedUntilMs) {
            if (isGood) return this.#access;
            throw this.#failure;
        }
        this.#underWay ??= this.#carryOut();
        return isGood ? this.#access : unlessAborted(this.#underWay, signal);
    }

    isStale(token: string, error: OpenOrderError): boolean {
        if (token === "" || !(isReason(error, "TOKEN_EXPIRED") || isReason(error, "TOKEN_REVOKED"))) return false;
        if (token === this.#access) this.#refused = error;
        return this.#access !== "" || this.#ended !== undefined;
    }

    #clear(): void {
        this.#access = this.#refresh = "";
        this.#renewAtMs = this.#endAtMs = Infinity;
        this.#refused = this.#failure = this.#ended = this.#underWay = undefined;
        this.#pausedUntilMs = 0;
    }

    #take(session: Session | undefined): void {
        if (!session?.accessToken) throw new OpenOrderError("the session came without an access token", Code.Internal);
        this.#clear();
        this.#access = session.accessToken;
        this.#refresh = session.refreshToken;
        const ends = session.accessTokenExpireTime;
        const lifeMs = ends === undefined ? 0 : timestampMs(ends) - Date.now();
        if (lifeMs > 0) {
            const now = performance.now();
            this.#renewAtMs = now + lifeMs * (RENEW_FROM + (RENEW_TO - RENEW_FROM) * Math.random());
            this.#endAtMs = now + lifeMs;
        }
    }

    #carryOut(): Promise<string> {
        const renewing: Promise<string> = this.renew(this.#refresh).then(
            (session) => {
                this.#meanwhile(renewing);
                try {
                    this.#take(session);
                } catch (error) {
                    throw this.#failed(error);
                }
                return this.#access;
            },
            (error: unknown) => {
                this.#meanwhile(renewing);
                throw this.#failed(error);
            },
        );
        // Nobody may wait for it.
        renewing.catch(() => undefined);
        return renewing;
    }

    /** What the refresh was made for may be over. */
    #meanwhile(renewing: Promise<string>): void {
        if (this.#underWay === renewing) return;
        throw new OpenOrderError("the client signed in or out meanwhile", Code.Unauthenticated);
    }

    #failed(cause: unknown): OpenOrderError {
        let error = OpenOrderError.from(cause);
        if (error.code === Code.Unauthenticated) {
            // What the call was refused by says more than that the refresh was, too.
            const why = this.#refused && isReason(this.#refused, "TOKEN_REVOKED") ? this.#refused : error;
            this.#clear();
            return (this.#ended = new SessionEndedError(why));
        }
        if (error.code === Code.DeadlineExceeded || error.code === Code.Canceled) {
            // It was the refresh that had no time left, and not the call.
            error = new OpenOrderError("the access token could not be renewed in time", Code.Unavailable);
        }
        this.#underWay = undefined;
        this.#failure = error;
        this.#pausedUntilMs = performance.now() + PAUSE_MS;
        return error;
    }
}

/** What is waited for, or why it is waited for no longer. */
export function unlessAborted<T>(work: Promise<T>, signal: AbortSignal): Promise<T> {
    return new Promise((resolve, reject) => {
        const aborted = () => reject(signal.reason);
        signal.addEventListener("abort", aborted, { once: true });
        if (signal.aborted) aborted();
        work.then(resolve, reject).finally(() => signal.removeEventListener("abort", aborted));
    });
}
