package com.openorder.client;

import io.grpc.Status;
import java.time.Duration;
import java.util.Optional;
import java.util.concurrent.ThreadLocalRandom;

/**
 * Whether a failed attempt is followed by another, and when. The budget is one for all calls of a client: when much
 * fails, it soon makes as many calls as it was asked to, and no more.
 */
final class Retries {
    private final int maxAttempts;
    private final Duration initialBackoff;
    private final Duration maxBackoff;
    private final Duration maxRetryDelay;
    private final double budgetTokens;
    private final double tokensPerSuccess;
    private double tokens;

    Retries(OpenOrder.Builder options) {
        maxAttempts = options.maxAttempts;
        initialBackoff = options.initialBackoff;
        maxBackoff = options.maxBackoff;
        maxRetryDelay = options.maxRetryDelay;
        budgetTokens = options.retryBudgetTokens;
        tokensPerSuccess = options.retryTokensPerSuccess;
        tokens = budgetTokens;
    }

    /**
     * How long to wait after the attempt with this number (from 1); empty: there is no other. What OpenOrder asks for
     * is waited for, with up to a tenth on top so that callers do not come back all at once; else the backoff is a
     * random part of a bound that doubles.
     */
    Optional<Duration> waitAfter(OpenOrderException error, int attempt) {
        Optional<Duration> asked = error.getRetryDelay();
        Status.Code code = error.getCode();
        boolean retryable =
                code == Status.Code.UNAVAILABLE || (code == Status.Code.RESOURCE_EXHAUSTED && asked.isPresent());
        if (!retryable || attempt >= maxAttempts) return Optional.empty();
        if (asked.isPresent()) {
            Duration delay = asked.get().isNegative() ? Duration.ZERO : asked.get();
            if (delay.compareTo(maxRetryDelay) > 0) return Optional.empty();
            return Optional.of(delay.plus(randomUpTo(delay.dividedBy(10))));
        }
        Duration bound = initialBackoff.multipliedBy(1L << Math.min(attempt - 1, 30));
        return Optional.of(randomUpTo(bound.compareTo(maxBackoff) < 0 ? bound : maxBackoff));
    }

    private static Duration randomUpTo(Duration bound) {
        return Duration.ofNanos(ThreadLocalRandom.current().nextLong(bound.toNanos() + 1));
    }

    /** Takes one retry from the budget; false when it is used up. */
    synchronized boolean take() {
        if (tokens < 1) return false;
        tokens -= 1;
        return true;
    }

    synchronized void succeeded() {
        tokens = Math.min(budgetTokens, tokens + tokensPerSuccess);
    }
}
