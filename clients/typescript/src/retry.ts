import { Code, ConnectError } from "@connectrpc/connect";
import { OpenOrderError } from "./errors.js";

/** When a call is tried again, and how often. Only UNAVAILABLE is, and RESOURCE_EXHAUSTED that says when. */
export interface RetryPolicy {
    /** Attempts of one call, the first one included; 1: nothing is tried again. */
    readonly maxAttempts: number;
    /** The longest wait before the second attempt, in milliseconds, where the service does not say how long. */
    readonly initialBackoffMs: number;
    /** By what the longest wait grows from attempt to attempt. */
    readonly backoffMultiplier: number;
    /** What it grows to at most, in milliseconds. What the service asks for is waited in any case, within the deadline. */
    readonly maxBackoffMs: number;
    /** Retries that all calls of a client have in stock at most: each takes one, and without one the error is returned. */
    readonly budgetTokens: number;
    /** What a call that succeeds gives back of them. */
    readonly budgetTokensPerSuccess: number;
}

/** What holds where the caller says nothing. */
export const defaultRetryPolicy: RetryPolicy = {
    maxAttempts: 10,
    initialBackoffMs: 100,
    backoffMultiplier: 2,
    maxBackoffMs: 5_000,
    budgetTokens: 100,
    budgetTokensPerSuccess: 0.2,
};

/**
 * How long to wait before the next attempt, in milliseconds: what the service asked for and up to a fifth more, so that
 * callers do not come back together; else anything up to the backoff ("full jitter").
 *
 * @param failures attempts that have failed, from 1.
 */
export function waitMs(error: OpenOrderError, failures: number, policy: RetryPolicy): number {
    if (error.retryDelayMs !== undefined) return error.retryDelayMs * (1 + Math.random() / 5);
    const backoffMs = policy.initialBackoffMs * policy.backoffMultiplier ** (failures - 1);
    return Math.random() * Math.min(backoffMs, policy.maxBackoffMs);
}

/** Retries left to a client: when the system is down, its callers must not add load of their own. */
export class RetryBudget {
    #tokens: number;

    constructor(private readonly policy: RetryPolicy) {
        this.#tokens = policy.budgetTokens;
    }

    take(): boolean {
        if (this.#tokens < 1) return false;
        this.#tokens -= 1;
        return true;
    }

    succeeded(): void {
        this.#tokens = Math.min(this.#tokens + this.policy.budgetTokensPerSuccess, this.policy.budgetTokens);
    }
}

/** Resolves after a time; rejects at once when the signal is aborted. */
export function sleep(ms: number, signal?: AbortSignal): Promise<void> {
    return new Promise((resolve, reject) => {
        const aborted = () => {
            clearTimeout(timer);
            reject(OpenOrderError.from(ConnectError.from(signal?.reason, Code.Canceled), signal));
        };
        const timer = setTimeout(() => {
            signal?.removeEventListener("abort", aborted);
            resolve();
        }, ms);
        if (signal?.aborted) aborted();
        else signal?.addEventListener("abort", aborted, { once: true });
    });
}
