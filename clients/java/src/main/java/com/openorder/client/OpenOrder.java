package com.openorder.client;

import com.openorder.analytics.v1.AnalyticsServiceGrpc;
import com.openorder.analytics.v1.AnalyticsServiceGrpc.AnalyticsServiceBlockingStub;
import com.openorder.cart.v1.CartServiceGrpc;
import com.openorder.cart.v1.CartServiceGrpc.CartServiceBlockingStub;
import com.openorder.history.v1.HistoryServiceGrpc;
import com.openorder.history.v1.HistoryServiceGrpc.HistoryServiceBlockingStub;
import com.openorder.inventory.v1.InventoryServiceGrpc;
import com.openorder.inventory.v1.InventoryServiceGrpc.InventoryServiceBlockingStub;
import com.openorder.notification.v1.NotificationServiceGrpc;
import com.openorder.notification.v1.NotificationServiceGrpc.NotificationServiceBlockingStub;
import com.openorder.operations.v1.OperationsServiceGrpc;
import com.openorder.operations.v1.OperationsServiceGrpc.OperationsServiceBlockingStub;
import com.openorder.order.v1.OrderServiceGrpc;
import com.openorder.order.v1.OrderServiceGrpc.OrderServiceBlockingStub;
import com.openorder.order.v1.OrderStatus;
import com.openorder.order.v1.WatchOrderRequest;
import com.openorder.payment.v1.PaymentServiceGrpc;
import com.openorder.payment.v1.PaymentServiceGrpc.PaymentServiceBlockingStub;
import com.openorder.product.v1.ProductServiceGrpc;
import com.openorder.product.v1.ProductServiceGrpc.ProductServiceBlockingStub;
import com.openorder.promotion.v1.PromotionServiceGrpc;
import com.openorder.promotion.v1.PromotionServiceGrpc.PromotionServiceBlockingStub;
import com.openorder.shipping.v1.ShippingServiceGrpc;
import com.openorder.shipping.v1.ShippingServiceGrpc.ShippingServiceBlockingStub;
import com.openorder.user.v1.AuthenticateRequest;
import com.openorder.user.v1.AuthenticateResponse;
import com.openorder.user.v1.RefreshTokenRequest;
import com.openorder.user.v1.RefreshTokenResponse;
import com.openorder.user.v1.SignOutRequest;
import com.openorder.user.v1.User;
import com.openorder.user.v1.UserServiceGrpc;
import com.openorder.user.v1.UserServiceGrpc.UserServiceBlockingStub;
import io.grpc.CallCredentials;
import io.grpc.Channel;
import io.grpc.ChannelCredentials;
import io.grpc.ClientInterceptors;
import io.grpc.Grpc;
import io.grpc.InsecureChannelCredentials;
import io.grpc.ManagedChannel;
import io.grpc.TlsChannelCredentials;
import io.grpc.stub.AbstractStub;
import io.grpc.stub.StreamObserver;
import java.io.File;
import java.io.IOException;
import java.net.InetAddress;
import java.net.URI;
import java.net.UnknownHostException;
import java.time.Duration;
import java.util.Objects;
import java.util.concurrent.TimeUnit;
import java.util.function.Supplier;

/**
 * A client of OpenOrder: one connection, and a stub for each service. Threads may share it; a program needs one.
 *
 * <p>Every unary method of the stubs
 *
 * <ul>
 *   <li>throws {@link OpenOrderException} when it fails,
 *   <li>has a deadline, the client's where the stub has none ({@code withDeadlineAfter}),
 *   <li>gets a new {@code request_id} where the request wants one and has none,
 *   <li>is repeated under the same request id while OpenOrder cannot be reached or asks to come back later.
 * </ul>
 *
 * <p>A method that answers with a stream is none of these: it throws gRPC's {@code StatusRuntimeException} ({@link
 * OpenOrderException#from}) and is not repeated. {@link #watchOrder} is.
 */
public final class OpenOrder implements AutoCloseable {
    private final ManagedChannel managed;
    private final Channel channel;
    private final Connection connection;
    private final Retries retries;
    private final Session session; // null where the client has a token
    private final boolean maySendSecrets;
    private final Duration closeTimeout;

    private OpenOrder(
            Builder options, ChannelCredentials tls, CallCredentials credentials, boolean maySendSecrets) {
        managed = Grpc.newChannelBuilder(options.address, tls)
                .keepAliveTime(options.keepAliveTime.toNanos(), TimeUnit.NANOSECONDS)
                .keepAliveTimeout(options.keepAliveTimeout.toNanos(), TimeUnit.NANOSECONDS)
                .maxInboundMessageSize(options.maxResponseBytes)
                .maxInboundMetadataSize(options.maxMetadataBytes)
                .disableServiceConfigLookUp()
                .build();
        retries = new Retries(options);
        closeTimeout = options.closeTimeout;
        connection = new Connection(managed, options.reconnectWait);
        session = credentials == null ? new Session(this::refreshSession) : null;
        this.maySendSecrets = maySendSecrets;
        channel = ClientInterceptors.intercept(
                managed, new CallInterceptor(connection, retries, credentials, session, options.defaultDeadline));
    }

    /** A client with the defaults, without TLS: {@code connect("127.0.0.1:8080")}. It connects with the first call. */
    public static OpenOrder connect(String address) {
        return builder(address).build();
    }

    /**
     * Signs the client in by password: from then on, all its calls are made as this user, with access tokens that are
     * renewed before they end. It takes the place of the session of before, which is not ended by that.
     *
     * <p>A call that is refused because its token has ended, or was revoked, is sent once more with a new one. When
     * there is none, because the session has ended, that call and all later ones throw {@link
     * OpenOrderException.SessionEnded}.
     *
     * @throws OpenOrderException {@link Reason#CREDENTIALS_REFUSED}, {@link Reason#SIGN_IN_DELAYED}
     * @throws IllegalStateException the client has a token of its own, or the password would go over the network in the
     *     clear
     */
    public User signIn(String email, String password) {
        if (session == null) throw new IllegalStateException("the client has a token, and needs no session");
        if (!maySendSecrets) throw new IllegalStateException("a password needs TLS, but for loopback");
        AuthenticateRequest request =
                AuthenticateRequest.newBuilder().setEmail(email).setPassword(password).build();
        AuthenticateResponse answer = users().authenticate(request);
        session.begin(answer.getSession());
        return answer.getUser();
    }

    /**
     * Ends the session, and forgets its tokens also where the service cannot be told: then it throws why. Without a
     * session it does nothing.
     *
     * @throws OpenOrderException the service does not know that the session is over
     */
    public void signOut() {
        String token = session == null ? "" : session.forget();
        if (token.isEmpty()) return;
        SignOutRequest request = SignOutRequest.newBuilder().setRefreshToken(token).build();
        users().withOption(CallInterceptor.WITHOUT_TOKEN, true).signOut(request);
    }

    private void refreshSession(String token, StreamObserver<RefreshTokenResponse> answer) {
        UserServiceGrpc.newStub(channel)
                .withDeadlineAfter(Session.REFRESH_TIMEOUT.toNanos(), TimeUnit.NANOSECONDS)
                .refreshToken(RefreshTokenRequest.newBuilder().setRefreshToken(token).build(), answer);
    }

    /** A client with options; the address is {@code host:port}. */
    public static Builder builder(String address) {
        return new Builder(address);
    }

    /** Orders, their timelines and their sagas. */
    public OrderServiceBlockingStub orders() {
        return throwing(OrderServiceGrpc.newBlockingStub(channel));
    }

    /** The catalogue. */
    public ProductServiceBlockingStub products() {
        return throwing(ProductServiceGrpc.newBlockingStub(channel));
    }

    /** Stock and reservations. */
    public InventoryServiceBlockingStub inventory() {
        return throwing(InventoryServiceGrpc.newBlockingStub(channel));
    }

    /** Wallets and payments. */
    public PaymentServiceBlockingStub payments() {
        return throwing(PaymentServiceGrpc.newBlockingStub(channel));
    }

    /** What customers are told. */
    public NotificationServiceBlockingStub notifications() {
        return throwing(NotificationServiceGrpc.newBlockingStub(channel));
    }

    /** Coupons, and who has them. */
    public PromotionServiceBlockingStub promotions() {
        return throwing(PromotionServiceGrpc.newBlockingStub(channel));
    }

    /** Parcels, from the paid order to the door. */
    public ShippingServiceBlockingStub shipments() {
        return throwing(ShippingServiceGrpc.newBlockingStub(channel));
    }

    /** What is sold, and what becomes of orders. */
    public AnalyticsServiceBlockingStub analytics() {
        return throwing(AnalyticsServiceGrpc.newBlockingStub(channel));
    }

    /** Orders with everything that became of them. */
    public HistoryServiceBlockingStub history() {
        return throwing(HistoryServiceGrpc.newBlockingStub(channel));
    }

    /** What customers, and visitors who did not sign in, mean to order. */
    public CartServiceBlockingStub carts() {
        return throwing(CartServiceGrpc.newBlockingStub(channel));
    }

    /** Users, and how they sign in. */
    public UserServiceBlockingStub users() {
        return throwing(UserServiceGrpc.newBlockingStub(channel));
    }

    /** What operators see and do. */
    public OperationsServiceBlockingStub operations() {
        return throwing(OperationsServiceGrpc.newBlockingStub(channel));
    }

    private static <S extends AbstractStub<S>> S throwing(S stub) {
        return stub.withOption(CallInterceptor.THROWS, true);
    }

    /**
     * For stubs of other kinds: {@code OrderServiceGrpc.newFutureStub(client.channel())}. Their calls are made like
     * those of the client's own; what they fail with is gRPC's exception, whose cause is the {@link
     * OpenOrderException}.
     */
    public Channel channel() {
        return channel;
    }

    /**
     * The order as it stands, and again after each change, until it has reached this status, is past it, or has a final
     * one. UNSPECIFIED: until a final one alone. Nothing is called before {@link OrderWatch#hasNext}.
     */
    public OrderWatch watchOrder(String orderId, OrderStatus until) {
        WatchOrderRequest request = WatchOrderRequest.newBuilder().setOrderId(orderId).setUntil(until).build();
        return new OrderWatch(orders(), request, retries, connection, session);
    }

    /** Ends the connection. Calls that are at work may end by themselves, for {@link Builder#closeTimeout} at most. */
    @Override
    public void close() {
        managed.shutdown();
        try {
            managed.awaitTermination(closeTimeout.toNanos(), TimeUnit.NANOSECONDS);
        } catch (InterruptedException interrupted) {
            Thread.currentThread().interrupt();
        }
        managed.shutdownNow();
    }

    /** The options of a client. */
    public static final class Builder {
        private final String address;
        private final TlsChannelCredentials.Builder tls = TlsChannelCredentials.newBuilder();
        private boolean withTls;
        private boolean insecureCredentials;
        private Supplier<String> token;
        private Duration defaultDeadline = Duration.ofSeconds(10);
        private Duration keepAliveTime = Duration.ofSeconds(60);
        private Duration keepAliveTimeout = Duration.ofSeconds(10);
        private Duration closeTimeout = Duration.ofSeconds(5);
        private Duration reconnectWait = Duration.ofMillis(500);
        private int maxResponseBytes = 8 << 20;
        private int maxMetadataBytes = 256 << 10;
        int maxAttempts = 10;
        Duration initialBackoff = Duration.ofMillis(100);
        Duration maxBackoff = Duration.ofSeconds(5);
        Duration maxRetryDelay = Duration.ofSeconds(60);
        double retryBudgetTokens = 100;
        double retryTokensPerSuccess = 0.2;

        private Builder(String address) {
            this.address = Objects.requireNonNull(address);
        }

        /** Connects with TLS; the server's certificate is checked against the CAs that Java trusts. */
        public Builder tls() {
            withTls = true;
            return this;
        }

        /**
         * Connects with TLS; the server's certificate is checked against these CAs alone (PEM).
         *
         * @throws IOException the file cannot be read
         */
        public Builder tls(File caCertificates) throws IOException {
            tls.trustManager(caCertificates);
            return tls();
        }

        /**
         * Connects with TLS and shows a certificate of the client's own (PEM; the key PKCS #8, not encrypted).
         *
         * @throws IOException a file cannot be read
         */
        public Builder clientCertificate(File certificateChain, File privateKey) throws IOException {
            tls.keyManager(certificateChain, privateKey);
            return tls();
        }

        /**
         * Sends {@code authorization: Bearer TOKEN} with each call: an API key, or an access token. Needs TLS, or a
         * loopback address. Who signs in by password uses {@link OpenOrder#signIn} instead.
         *
         * @throws IllegalArgumentException it is empty, or no token
         */
        public Builder bearerToken(String token) {
            check(!token.isEmpty(), "the token is empty");
            BearerToken.check(token);
            return bearerToken(() -> token);
        }

        /**
         * As {@link #bearerToken(String)}, with a token that is asked for before each attempt of a call. It may block,
         * keeps a token itself for as long as it is good, and throws when there is none: the call is UNAUTHENTICATED.
         * An empty token is not sent.
         */
        public Builder bearerToken(Supplier<String> token) {
            this.token = Objects.requireNonNull(token);
            return this;
        }

        /**
         * As {@link #bearerToken(Supplier)}, with what the environment variable {@code OPENORDER_TOKEN} holds, such as
         * an API key; nothing where it is not set.
         */
        public Builder environmentToken() {
            return bearerToken(() -> {
                String token = System.getenv("OPENORDER_TOKEN");
                return token == null ? "" : token.strip();
            });
        }

        /**
         * Sends tokens and passwords without TLS to other machines as well: everybody on the way can read and use them.
         * For networks that encrypt by themselves.
         */
        public Builder insecureCredentials() {
            insecureCredentials = true;
            return this;
        }

        /** The time that a unary call has, all its attempts together, where the caller does not say. Default: 10 s. */
        public Builder defaultDeadline(Duration deadline) {
            defaultDeadline = positive(deadline);
            return this;
        }

        /** How many attempts a call has, and a watch without progress; 1: no retries. Default: 10. */
        public Builder maxAttempts(int attempts) {
            check(attempts >= 1, "at least one attempt");
            maxAttempts = attempts;
            return this;
        }

        /**
         * How long to wait between attempts where OpenOrder does not say: a random part of a bound that begins with the
         * first value and doubles up to the second. Default: 100 ms, 5 s.
         */
        public Builder backoff(Duration initial, Duration max) {
            initialBackoff = positive(initial);
            maxBackoff = positive(max);
            return this;
        }

        /**
         * After the wait, and where there is no connection: how long the next attempt waits for one. Default: 500 ms.
         */
        public Builder reconnectWait(Duration wait) {
            reconnectWait = positive(wait);
            return this;
        }

        /** A longer wait than this, asked for by OpenOrder, is not waited for: the call fails. Default: 60 s. */
        public Builder maxRetryDelay(Duration delay) {
            maxRetryDelay = positive(delay);
            return this;
        }

        /**
         * Bounds the retries of all calls together: each takes one token, each call that succeeds gives some back, and
         * there are never more than at the beginning. Default: 100, and 0.2 back.
         */
        public Builder retryBudget(double tokens, double tokensPerSuccess) {
            check(tokens >= 0 && tokensPerSuccess >= 0, "a budget is not negative");
            retryBudgetTokens = tokens;
            retryTokensPerSuccess = tokensPerSuccess;
            return this;
        }

        /**
         * While calls or streams are at work: how long nothing may come before the connection is tested, and how long
         * that may take before it counts as lost. Default: 60 s, 10 s. gRPC takes 10 s for anything below 10 s.
         */
        public Builder keepAlive(Duration time, Duration timeout) {
            keepAliveTime = positive(time);
            keepAliveTimeout = positive(timeout);
            return this;
        }

        /**
         * The largest response and the most metadata (an error's details are in it) that are taken, in bytes. Default:
         * 8 MiB, which is OpenOrder's own limit, and 256 KiB.
         */
        public Builder maxResponseBytes(int response, int metadata) {
            check(response >= 1 && metadata >= 1, "a limit is positive");
            maxResponseBytes = response;
            maxMetadataBytes = metadata;
            return this;
        }

        /** How long {@link OpenOrder#close} waits for calls that are at work before it cancels them. Default: 5 s. */
        public Builder closeTimeout(Duration timeout) {
            closeTimeout = positive(timeout);
            return this;
        }

        /**
         * The client.
         *
         * @throws IllegalArgumentException a bearer token would go over the network in the clear
         */
        public OpenOrder build() {
            boolean inTheClear = !withTls && !insecureCredentials && !isLoopback(address);
            check(token == null || !inTheClear, "a bearer token needs TLS, but for loopback: " + address);
            return new OpenOrder(
                    this,
                    withTls ? tls.build() : InsecureChannelCredentials.create(),
                    token == null ? null : new BearerToken(token),
                    !inTheClear);
        }

        private static boolean isLoopback(String address) {
            String host;
            try {
                host = URI.create("//" + address).getHost();
                if (host == null) return false;
                if (host.equalsIgnoreCase("localhost")) return true;
                // Numbers alone: no name is looked up.
                boolean literal = host.startsWith("[") || host.matches("[0-9.]+");
                return literal && InetAddress.getByName(host).isLoopbackAddress();
            } catch (IllegalArgumentException | UnknownHostException malformed) {
                return false;
            }
        }

        private static Duration positive(Duration duration) {
            check(!duration.isNegative() && !duration.isZero(), "a duration is positive");
            return duration;
        }

        private static void check(boolean holds, String what) {
            if (!holds) throw new IllegalArgumentException(what);
        }
    }
}
