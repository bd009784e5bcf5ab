package com.openorder.client;

import io.grpc.ClientCall;
import io.grpc.ForwardingClientCall.SimpleForwardingClientCall;
import io.grpc.ForwardingClientCallListener.SimpleForwardingClientCallListener;
import io.grpc.Metadata;
import io.grpc.Status;

/** A call that answers with a stream: the session hears of it when its token is refused. */
final class StreamCall<Q, P> extends SimpleForwardingClientCall<Q, P> {
    private final SessionToken token;

    StreamCall(ClientCall<Q, P> call, SessionToken token) {
        super(call);
        this.token = token;
    }

    @Override
    public void start(Listener<P> listener, Metadata headers) {
        super.start(
                new SimpleForwardingClientCallListener<P>(listener) {
                    @Override
                    public void onClose(Status status, Metadata trailers) {
                        // Before its caller does.
                        if (!status.isOk()) token.isStale(OpenOrderException.of(status, trailers, ""));
                        super.onClose(status, trailers);
                    }
                },
                headers);
    }
}
