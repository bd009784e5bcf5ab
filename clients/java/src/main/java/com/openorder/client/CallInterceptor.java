package com.openorder.client;

import io.grpc.CallCredentials;
import io.grpc.CallOptions;
import io.grpc.Channel;
import io.grpc.ClientCall;
import io.grpc.ClientInterceptor;
import io.grpc.Context;
import io.grpc.Deadline;
import io.grpc.MethodDescriptor;
import java.time.Duration;
import java.util.concurrent.TimeUnit;

/** Stands between every stub of a client and its connection. */
final class CallInterceptor implements ClientInterceptor {
    /** Set on stubs whose calls throw {@link OpenOrderException} themselves. */
    static final CallOptions.Key<Boolean> THROWS = CallOptions.Key.createWithDefault("openorder-throws", false);

    private final Connection connection;
    private final Retries retries;
    private final CallCredentials credentials; // may be null
    private final Duration defaultDeadline;

    CallInterceptor(Connection connection, Retries retries, CallCredentials credentials, Duration defaultDeadline) {
        this.connection = connection;
        this.retries = retries;
        this.credentials = credentials;
        this.defaultDeadline = defaultDeadline;
    }

    @Override
    public <Q, P> ClientCall<Q, P> interceptCall(MethodDescriptor<Q, P> method, CallOptions options, Channel next) {
        if (credentials != null && options.getCredentials() == null) {
            options = options.withCallCredentials(credentials);
        }
        // A stream has no end but its own, and the caller knows how far it came: nothing is repeated here.
        if (method.getType() != MethodDescriptor.MethodType.UNARY) return next.newCall(method, options);
        if (options.getDeadline() == null) {
            options = options.withDeadlineAfter(defaultDeadline.toNanos(), TimeUnit.NANOSECONDS);
        }
        Deadline deadline = options.getDeadline();
        Deadline callers = Context.current().getDeadline();
        if (callers != null) deadline = deadline.minimum(callers);
        return new UnaryCall<>(method, options, next, deadline, retries, connection);
    }
}
