package com.openorder.client;

import io.grpc.CallOptions;
import io.grpc.Channel;
import io.grpc.ClientCall;
import io.grpc.Context;
import io.grpc.Deadline;
import io.grpc.Metadata;
import io.grpc.MethodDescriptor;
import io.grpc.Status;
import java.time.Duration;
import java.util.Optional;
import java.util.concurrent.CountDownLatch;
import java.util.concurrent.TimeUnit;

/**
 * One call of a unary method, made of as many attempts as it takes: all of one request, under one request id and one
 * deadline.
 *
 * <p>A blocking stub makes an exception of its own of what a call ends with, and nothing that a call may end with
 * changes its type. What {@link #halfClose} throws it passes on as it is, though. So for the client's own stubs ({@link
 * CallInterceptor#THROWS}) halfClose waits for the answer, and throws the {@link OpenOrderException} itself: every
 * unary method does, those to come as well, and none is written by hand. Where a future or an observer waits, the
 * exception is the cause of the status.
 */
final class UnaryCall<Q, P> extends ClientCall<Q, P> {
    private final MethodDescriptor<Q, P> method;
    private final CallOptions options;
    private final Channel channel;
    private final Deadline deadline;
    private final Retries retries;
    private final Connection connection;
    private final Session session; // null where the attempts have no token of it
    private final boolean throwing;
    private final Context context = Context.current();
    private final CountDownLatch ended = new CountDownLatch(1);

    private Listener<P> listener;
    private Metadata headers;
    private Q request;
    private String requestId = "";
    private int attempts;
    private boolean isRenewed; // it was sent again with a new token
    // Guarded by this: an attempt, the wait between two of them, and a cancellation meet here.
    private ClientCall<Q, P> attempt;
    private Outcome<P> outcome;

    /** How the call ended. */
    private record Outcome<P>(Status status, Metadata headers, P response, Metadata trailers) {}

    UnaryCall(
            MethodDescriptor<Q, P> method,
            CallOptions options,
            Channel channel,
            Deadline deadline,
            Retries retries,
            Connection connection,
            Session session) {
        this.method = method;
        this.throwing = options.getOption(CallInterceptor.THROWS);
        // The executor of a blocking stub is the thread that waits in halfClose.
        this.options = throwing ? options.withExecutor(null) : options;
        this.channel = channel;
        this.deadline = deadline;
        this.retries = retries;
        this.connection = connection;
        this.session = session;
    }

    @Override
    public void start(Listener<P> listener, Metadata headers) {
        this.listener = listener;
        this.headers = headers;
    }

    @Override
    public void request(int messages) {
        // The one answer is given as soon as it is there: all stubs of unary methods wait for it.
    }

    @Override
    public void sendMessage(Q message) {
        request = RequestIds.fill(message);
        requestId = RequestIds.of(request);
    }

    @Override
    public void halfClose() {
        startAttempt();
        if (!throwing) return;
        try {
            ended.await();
        } catch (InterruptedException interrupted) {
            cancel("the thread was interrupted", interrupted);
            Thread.currentThread().interrupt();
        }
        Outcome<P> end;
        synchronized (this) {
            end = outcome;
        }
        // Made here, its stack trace shows who called.
        if (!end.status.isOk()) throw OpenOrderException.of(end.status, end.trailers, requestId);
        tell(end.status, end);
    }

    @Override
    public void cancel(String message, Throwable cause) {
        ClientCall<Q, P> running;
        synchronized (this) {
            running = attempt;
        }
        end(Status.CANCELLED.withDescription(message).withCause(cause), null, null, new Metadata());
        if (running != null) running.cancel(message, cause);
    }

    private void startAttempt() {
        SessionToken token = session == null ? null : new SessionToken(session);
        ClientCall<Q, P> call;
        synchronized (this) {
            if (outcome != null) return;
            attempts++;
            CallOptions withToken = token == null ? options : options.withCallCredentials(token);
            call = attempt = channel.newCall(method, withToken);
        }
        Metadata copy = new Metadata();
        copy.merge(headers);
        call.start(new AttemptListener(token), copy);
        call.request(2); // a second answer is an error, to be seen as one
        call.sendMessage(request);
        call.halfClose();
    }

    private final class AttemptListener extends Listener<P> {
        private final SessionToken token;
        private Metadata headers = new Metadata();
        private P response;
        private int responses;

        AttemptListener(SessionToken token) {
            this.token = token;
        }

        @Override
        public void onHeaders(Metadata received) {
            headers = received;
        }

        @Override
        public void onMessage(P message) {
            response = message;
            responses++;
        }

        @Override
        public void onClose(Status status, Metadata trailers) {
            if (status.isOk() && responses != 1) {
                status = Status.INTERNAL.withDescription(responses + " responses to one request");
            }
            if (status.isOk()) {
                retries.succeeded();
                end(status, headers, response, trailers);
                return;
            }
            OpenOrderException error = OpenOrderException.of(status, trailers, requestId);
            if (token != null && !isRenewed && token.isStale(error)) {
                isRenewed = true;
                another(status, trailers).run();
                return;
            }
            Optional<Duration> wait = waitAfter(error);
            if (wait.isEmpty()) {
                end(status, headers, null, trailers);
                return;
            }
            Runnable another = another(status, trailers);
            Connection.after(wait.get()).execute(() -> connection.reconnectAndRun(another, deadline));
        }

        private Runnable another(Status failure, Metadata trailers) {
            return context.wrap(() -> {
                try {
                    // What was known before the wait says more than that the time is up.
                    if (deadline.isExpired()) end(failure, headers, null, trailers);
                    else startAttempt();
                } catch (RuntimeException failed) {
                    end(Status.fromThrowable(failed), headers, null, trailers); // nobody else would hear of it
                }
            });
        }
    }

    private Optional<Duration> waitAfter(OpenOrderException error) {
        if (connection.isClosed()) return Optional.empty();
        return retries.waitAfter(error, attempts)
                .filter(wait -> wait.toNanos() < deadline.timeRemaining(TimeUnit.NANOSECONDS))
                .filter(wait -> retries.take());
    }

    private void end(Status status, Metadata headers, P response, Metadata trailers) {
        Outcome<P> end = new Outcome<>(status, headers, response, trailers);
        synchronized (this) {
            if (outcome != null) return;
            outcome = end;
        }
        ended.countDown();
        if (throwing) return;
        tell(status.isOk() ? status : status.withCause(OpenOrderException.of(status, trailers, requestId)), end);
    }

    private void tell(Status status, Outcome<P> end) {
        if (end.headers != null) listener.onHeaders(end.headers);
        if (end.response != null) listener.onMessage(end.response);
        listener.onClose(status, end.trailers);
    }
}
