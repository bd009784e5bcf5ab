package com.openorder.client;

import com.openorder.user.v1.UserServiceGrpc;
import io.grpc.CallCredentials;
import io.grpc.CallOptions;
import io.grpc.Channel;
import io.grpc.ClientCall;
import io.grpc.ClientInterceptor;
import io.grpc.Context;
import io.grpc.Deadline;
import io.grpc.MethodDescriptor;
import java.time.Duration;
import java.util.Set;
import java.util.concurrent.TimeUnit;

/** Stands between every stub of a client and its connection. */
final class CallInterceptor implements ClientInterceptor {
    /** Set on stubs whose calls throw {@link OpenOrderException} themselves. */
    static final CallOptions.Key<Boolean> THROWS = CallOptions.Key.createWithDefault("openorder-throws", false);

    /** Set on stubs whose calls are made without a token. */
    static final CallOptions.Key<Boolean> WITHOUT_TOKEN =
            CallOptions.Key.createWithDefault("openorder-without-token", false);

    /** By these a caller signs in: it is nobody before. */
    private static final Set<String> SIGN_IN = Set.of(
            UserServiceGrpc.getAuthenticateMethod().getFullMethodName(),
            UserServiceGrpc.getRefreshTokenMethod().getFullMethodName());

    private final Connection connection;
    private final Retries retries;
    private final CallCredentials credentials; // may be null
    private final Session session; // null where there are credentials
    private final Duration defaultDeadline;

    CallInterceptor(
            Connection connection,
            Retries retries,
            CallCredentials credentials,
            Session session,
            Duration defaultDeadline) {
        this.connection = connection;
        this.retries = retries;
        this.credentials = credentials;
        this.session = session;
        this.defaultDeadline = defaultDeadline;
    }

    @Override
    public <Q, P> ClientCall<Q, P> interceptCall(MethodDescriptor<Q, P> method, CallOptions options, Channel next) {
        boolean needsToken = !options.getOption(WITHOUT_TOKEN)
                && !SIGN_IN.contains(method.getFullMethodName())
                && options.getCredentials() == null;
        if (needsToken && credentials != null) options = options.withCallCredentials(credentials);
        Session sessionOfCall = needsToken ? session : null;
        // A stream has no end but its own, and the caller knows how far it came: nothing is repeated here.
        if (method.getType() != MethodDescriptor.MethodType.UNARY) {
            if (sessionOfCall == null) return next.newCall(method, options);
            SessionToken token = new SessionToken(sessionOfCall);
            return new StreamCall<>(next.newCall(method, options.withCallCredentials(token)), token);
        }
        if (options.getDeadline() == null) {
            options = options.withDeadlineAfter(defaultDeadline.toNanos(), TimeUnit.NANOSECONDS);
        }
        Deadline deadline = options.getDeadline();
        Deadline callers = Context.current().getDeadline();
        if (callers != null) deadline = deadline.minimum(callers);
        return new UnaryCall<>(method, options, next, deadline, retries, connection, sessionOfCall);
    }
}
