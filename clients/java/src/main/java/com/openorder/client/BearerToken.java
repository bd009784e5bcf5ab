package com.openorder.client;

import io.grpc.CallCredentials;
import io.grpc.Metadata;
import io.grpc.Status;
import java.util.concurrent.Executor;
import java.util.function.Supplier;

/** Sends {@code authorization: Bearer …}, with a token that is asked for before each attempt; an empty one is not sent. */
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
            String given;
            try {
                given = check(token.get());
            } catch (RuntimeException failed) {
                applier.fail(Status.UNAUTHENTICATED.withDescription("there is no token").withCause(failed));
                return;
            }
            apply(given, applier);
        });
    }

    static void apply(String token, MetadataApplier applier) {
        Metadata headers = new Metadata();
        if (!token.isEmpty()) headers.put(AUTHORIZATION, "Bearer " + token);
        applier.apply(headers);
    }

    /**
     * RFC 6750 and API keys: visible ASCII characters.
     *
     * @throws IllegalArgumentException it is none; what was given is not shown
     */
    static String check(String token) {
        if (!token.chars().allMatch(character -> character > ' ' && character <= '~')) {
            throw new IllegalArgumentException("what was given as a token has characters that no token has");
        }
        return token;
    }
}
