package com.openorder.client;

import io.grpc.CallCredentials;
import io.grpc.Metadata;
import io.grpc.Status;
import java.util.concurrent.Executor;
import java.util.function.Supplier;

/** Sends {@code authorization: Bearer …}, with a token that is asked for before each attempt. */
final class BearerToken extends CallCredentials {
    private static final Metadata.Key<String> AUTHORIZATION =
            Metadata.Key.of("authorization", Metadata.ASCII_STRING_MARSHALLER);

    private final Supplier<String> token;

    BearerToken(Supplier<String> token) {
        this.token = token;
    }

    @Override
    public void applyRequestMetadata(RequestInfo call, Executor executor, MetadataApplier applier) {
        // Getting the token may take a while: not on the connection's thread.
        executor.execute(() -> {
            Metadata headers = new Metadata();
            try {
                headers.put(AUTHORIZATION, "Bearer " + token.get());
            } catch (RuntimeException failed) {
                applier.fail(Status.UNAUTHENTICATED.withDescription("there is no token").withCause(failed));
                return;
            }
            applier.apply(headers);
        });
    }
}
