package com.openorder.client;

import io.grpc.CallCredentials;
import io.grpc.Status;
import java.util.concurrent.Executor;

/** Sends the token of a session with one attempt, and knows afterwards which one it was. */
final class SessionToken extends CallCredentials {
    private final Session session;
    private volatile String sent = "";

    SessionToken(Session session) {
        this.session = session;
    }

    @Override
    public void applyRequestMetadata(RequestInfo call, Executor executor, MetadataApplier applier) {
        session.token().whenComplete((token, failed) -> {
            if (failed == null) {
                sent = token;
                BearerToken.apply(token, applier);
            } else {
                applier.fail(Status.fromThrowable(failed).withCause(failed));
            }
        });
    }

    /** Whether the call that was refused so is worth another attempt, with the next token. */
    boolean isStale(OpenOrderException error) {
        return session.isStale(sent, error);
    }
}
