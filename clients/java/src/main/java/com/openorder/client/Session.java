package com.openorder.client;

import com.google.protobuf.Timestamp;
import com.openorder.user.v1.RefreshTokenResponse;
import io.grpc.Context;
import io.grpc.Metadata;
import io.grpc.Status;
import io.grpc.stub.StreamObserver;
import java.time.Duration;
import java.time.Instant;
import java.util.Set;
import java.util.concurrent.CompletableFuture;
import java.util.concurrent.ThreadLocalRandom;
import java.util.function.BiConsumer;

/**
 * The session of a client: its tokens, which nobody else sees, renewed before they end, once for all calls. A refresh
 * belongs to no call: one that leaves does not take the answer along that the session goes on with.
 */
final class Session {
    /** How long a refresh may take, all its attempts together. */
    static final Duration REFRESH_TIMEOUT = Duration.ofSeconds(10);

    /** After a refresh that failed and may succeed later, no other is begun for so long. */
    static final Duration PAUSE = Duration.ofSeconds(1);

    /**
     * An access token is renewed when such a part of its life is over: at random in between, so that clients that
     * signed in together do not come back together.
     */
    private static final double RENEW_FROM = 0.75;

    private static final double RENEW_TO = 0.9;
    /** What says that it lives longer has another clock. */
    private static final Duration LIFE_MAX = Duration.ofDays(365);

    private static final Set<String> STALE = Set.of(Reason.TOKEN_EXPIRED, Reason.TOKEN_REVOKED);

    private final BiConsumer<String, StreamObserver<RefreshTokenResponse>> renew;
    // All guarded by this.
    private String access = "";
    private String refresh = "";
    private long takenAtNanos;
    // After takenAtNanos; without end where the clocks differ by more than it lives: it is good until it is refused.
    private long renewAfterNanos;
    private long lifeNanos;
    private OpenOrderException refused;
    private CompletableFuture<String> underWay;
    private OpenOrderException failure;
    private long failedAtNanos;
    private OpenOrderException.SessionEnded ended;

    /**
     * A client that did not sign in.
     *
     * @param renew asks for the next session with this refresh token; it has an end by itself
     */
    Session(BiConsumer<String, StreamObserver<RefreshTokenResponse>> renew) {
        this.renew = renew;
    }

    synchronized void begin(com.openorder.user.v1.Session given) {
        take(given);
    }

    /** Forgets everything, and returns the refresh token; empty without a session. */
    synchronized String forget() {
        String token = refresh;
        clear();
        return token;
    }

    /** The access token to send, empty without a session; fails with an {@link OpenOrderException}. */
    CompletableFuture<String> token() {
        CompletableFuture<String> begun;
        CompletableFuture<String> answer;
        String with;
        synchronized (this) {
            if (ended != null) return CompletableFuture.failedFuture(ended);
            CompletableFuture<String> now = CompletableFuture.completedFuture(access);
            long age = System.nanoTime() - takenAtNanos;
            boolean isGood = refused == null && age < lifeNanos;
            if (access.isEmpty() || (isGood && age < renewAfterNanos)) return now;
            if (underWay != null) return isGood ? now : underWay;
            if (failure != null && System.nanoTime() - failedAtNanos < PAUSE.toNanos()) {
                return isGood ? now : CompletableFuture.failedFuture(failure);
            }
            begun = underWay = new CompletableFuture<>();
            answer = isGood ? now : begun;
            with = refresh;
        }
        carryOut(begun, with);
        return answer;
    }

    /** Whether a call that was refused so is to be made again: the next token is a new one, or there is none. */
    synchronized boolean isStale(String token, OpenOrderException error) {
        if (token.isEmpty() || !isAboutToken(error)) return false;
        if (token.equals(access)) refused = error;
        return !access.isEmpty() || ended != null;
    }

    /** Whether a stream ended so because its token is not good any more. */
    synchronized boolean endedStream(OpenOrderException error) {
        return isAboutToken(error) && (!access.isEmpty() || ended != null);
    }

    private static boolean isAboutToken(OpenOrderException error) {
        return !(error instanceof OpenOrderException.SessionEnded)
                && error.getDomain().equals("openorder")
                && STALE.contains(error.getReason());
    }

    private void carryOut(CompletableFuture<String> begun, String with) {
        // Not under the deadline of the call that happened to come first, nor ended with it.
        Context.ROOT.run(() -> renew.accept(with, new StreamObserver<>() {
            private com.openorder.user.v1.Session given = com.openorder.user.v1.Session.getDefaultInstance();

            @Override
            public void onNext(RefreshTokenResponse response) {
                given = response.getSession();
            }

            @Override
            public void onError(Throwable error) {
                notRenewed(begun, OpenOrderException.from(error));
            }

            @Override
            public void onCompleted() {
                if (!given.getAccessToken().isEmpty()) renewed(begun, given);
                else notRenewed(begun, failed(Status.INTERNAL, "the session came without an access token"));
            }
        }));
    }

    private void renewed(CompletableFuture<String> begun, com.openorder.user.v1.Session given) {
        boolean isOver;
        synchronized (this) {
            isOver = underWay != begun;
            if (!isOver) take(given);
        }
        if (isOver) begun.completeExceptionally(over());
        else begun.complete(given.getAccessToken());
    }

    private void notRenewed(CompletableFuture<String> begun, OpenOrderException error) {
        OpenOrderException end = error;
        synchronized (this) {
            if (underWay != begun) {
                end = over();
            } else if (error.getCode() == Status.Code.UNAUTHENTICATED) {
                // What the call was refused by says more than that the refresh was, too.
                boolean isRevoked = refused != null && refused.getReason().equals(Reason.TOKEN_REVOKED);
                OpenOrderException.SessionEnded why = OpenOrderException.sessionEnded(isRevoked ? refused : error);
                clear();
                ended = why;
                end = why;
            } else {
                Status.Code code = error.getCode();
                if (code == Status.Code.DEADLINE_EXCEEDED || code == Status.Code.CANCELLED) {
                    // It was the refresh that had no time left, and not the call.
                    end = failed(Status.UNAVAILABLE, "the access token could not be renewed in time");
                }
                underWay = null;
                failure = end;
                failedAtNanos = System.nanoTime();
            }
        }
        begun.completeExceptionally(end);
    }

    private static OpenOrderException over() {
        return failed(Status.UNAUTHENTICATED, "the client signed in or out meanwhile");
    }

    private static OpenOrderException failed(Status status, String why) {
        return OpenOrderException.of(status.withDescription(why), new Metadata(), "");
    }

    private void clear() {
        access = "";
        refresh = "";
        refused = null;
        underWay = null;
        failure = null;
        ended = null;
    }

    private void take(com.openorder.user.v1.Session given) {
        clear();
        access = given.getAccessToken();
        refresh = given.getRefreshToken();
        takenAtNanos = System.nanoTime();
        Timestamp ends = given.getAccessTokenExpireTime();
        Duration life = Duration.between(Instant.now(), Instant.ofEpochSecond(ends.getSeconds(), ends.getNanos()));
        if (life.isNegative() || life.isZero() || life.compareTo(LIFE_MAX) > 0) {
            renewAfterNanos = Long.MAX_VALUE;
            lifeNanos = Long.MAX_VALUE;
            return;
        }
        lifeNanos = life.toNanos();
        renewAfterNanos = (long) (lifeNanos * ThreadLocalRandom.current().nextDouble(RENEW_FROM, RENEW_TO));
    }
}
