package com.openorder.client;

import com.google.protobuf.Timestamp;
import com.google.rpc.Code;
import com.openorder.order.v1.GetOrderRequest;
import com.openorder.order.v1.GetOrderResponse;
import com.openorder.order.v1.Order;
import com.openorder.order.v1.OrderServiceGrpc;
import com.openorder.order.v1.OrderStatus;
import com.openorder.order.v1.WatchOrderRequest;
import com.openorder.order.v1.WatchOrderResponse;
import com.openorder.user.v1.AuthenticateRequest;
import com.openorder.user.v1.AuthenticateResponse;
import com.openorder.user.v1.RefreshTokenRequest;
import com.openorder.user.v1.RefreshTokenResponse;
import com.openorder.user.v1.SignOutRequest;
import com.openorder.user.v1.SignOutResponse;
import com.openorder.user.v1.User;
import com.openorder.user.v1.UserServiceGrpc;
import io.grpc.Context;
import io.grpc.Contexts;
import io.grpc.InsecureServerCredentials;
import io.grpc.Metadata;
import io.grpc.Server;
import io.grpc.ServerCall;
import io.grpc.ServerCallHandler;
import io.grpc.ServerInterceptor;
import io.grpc.StatusRuntimeException;
import io.grpc.netty.shaded.io.grpc.netty.NettyServerBuilder;
import io.grpc.stub.ServerCallStreamObserver;
import io.grpc.stub.StreamObserver;
import java.io.IOException;
import java.net.InetSocketAddress;
import java.time.Duration;
import java.time.Instant;
import java.util.ArrayList;
import java.util.Collections;
import java.util.List;
import java.util.function.IntConsumer;
import java.util.regex.Matcher;
import java.util.regex.Pattern;

/**
 * A service of users, whose tokens are {@code access-N} and {@code refresh-N}, and one of orders, which takes the last
 * ones alone.
 */
final class Shop implements AutoCloseable {
    static final String PASSWORD = "correct horse battery staple";

    private static final Metadata.Key<String> AUTHORIZATION =
            Metadata.Key.of("authorization", Metadata.ASCII_STRING_MARSHALLER);
    private static final Context.Key<String> TOKEN = Context.key("token");

    /** How long an access token says that it lives. */
    volatile Duration life = Duration.ofMinutes(1);
    /** What becomes of a refresh before it is answered, by its number from 1: it may throw, or take its time. */
    volatile IntConsumer onRefresh = attempt -> {};
    /** What came as authorization, in the order of arrival. */
    final List<String> orders = Collections.synchronizedList(new ArrayList<>());

    final List<String> refreshes = Collections.synchronizedList(new ArrayList<>());
    final List<String> signOuts = Collections.synchronizedList(new ArrayList<>());
    private int number;
    private int refusedTo;
    private String reason = "";
    private final Server server;

    Shop() throws IOException {
        server = NettyServerBuilder.forAddress(
                        new InetSocketAddress("127.0.0.1", 0), InsecureServerCredentials.create())
                .addService(new Users())
                .addService(new Orders())
                .intercept(new Tokens())
                .build()
                .start();
    }

    String address() {
        return "127.0.0.1:" + server.getPort();
    }

    @Override
    public void close() {
        server.shutdownNow();
    }

    static StatusRuntimeException no(String reason) {
        return TestServer.refusal(Code.UNAUTHENTICATED, reason, -1);
    }

    /** Refuses the access tokens up to this one. */
    synchronized void refuse(String reason, int upTo) {
        this.reason = reason;
        refusedTo = upTo;
    }

    private synchronized com.openorder.user.v1.Session session() {
        number++;
        Instant ends = Instant.now().plus(life);
        return com.openorder.user.v1.Session.newBuilder()
                .setAccessToken("access-" + number)
                .setRefreshToken("refresh-" + number)
                .setAccessTokenExpireTime(
                        Timestamp.newBuilder().setSeconds(ends.getEpochSecond()).setNanos(ends.getNano()))
                .build();
    }

    private synchronized String check() {
        orders.add(TOKEN.get());
        Matcher matcher = Pattern.compile("Bearer access-(\\d+)").matcher(TOKEN.get());
        if (matcher.matches() && Integer.parseInt(matcher.group(1)) <= refusedTo) throw no(reason);
        return TOKEN.get();
    }

    private static final class Tokens implements ServerInterceptor {
        @Override
        public <Q, P> ServerCall.Listener<Q> interceptCall(
                ServerCall<Q, P> call, Metadata headers, ServerCallHandler<Q, P> next) {
            String token = headers.get(AUTHORIZATION);
            return Contexts.interceptCall(
                    Context.current().withValue(TOKEN, token == null ? "" : token), call, headers, next);
        }
    }

    private final class Users extends UserServiceGrpc.UserServiceImplBase {
        @Override
        public void authenticate(AuthenticateRequest request, StreamObserver<AuthenticateResponse> answer) {
            if (!request.getPassword().equals(PASSWORD) || !TOKEN.get().isEmpty()) {
                answer.onError(no(Reason.CREDENTIALS_REFUSED));
                return;
            }
            User user = User.newBuilder().setUserId("ada").build();
            answer.onNext(AuthenticateResponse.newBuilder().setUser(user).setSession(session()).build());
            answer.onCompleted();
        }

        @Override
        public void refreshToken(RefreshTokenRequest request, StreamObserver<RefreshTokenResponse> answer) {
            refreshes.add(request.getRefreshToken() + TOKEN.get());
            try {
                onRefresh.accept(refreshes.size());
            } catch (StatusRuntimeException refused) {
                answer.onError(refused);
                return;
            }
            answer.onNext(RefreshTokenResponse.newBuilder().setSession(session()).build());
            answer.onCompleted();
        }

        @Override
        public void signOut(SignOutRequest request, StreamObserver<SignOutResponse> answer) {
            signOuts.add(request.getRefreshToken() + TOKEN.get());
            answer.onNext(SignOutResponse.newBuilder().setEndedSessions(1).build());
            answer.onCompleted();
        }
    }

    private final class Orders extends OrderServiceGrpc.OrderServiceImplBase {
        @Override
        public void getOrder(GetOrderRequest request, StreamObserver<GetOrderResponse> answer) {
            try {
                Order order = Order.newBuilder().setOrderId(check()).build();
                answer.onNext(GetOrderResponse.newBuilder().setOrder(order).build());
                answer.onCompleted();
            } catch (StatusRuntimeException refused) {
                answer.onError(refused);
            }
        }

        @Override
        public void watchOrder(WatchOrderRequest request, StreamObserver<WatchOrderResponse> answer) {
            ServerCallStreamObserver<WatchOrderResponse> stream =
                    (ServerCallStreamObserver<WatchOrderResponse>) answer;
            try {
                for (long version = 1; !stream.isCancelled(); version++) {
                    Order order = Order.newBuilder()
                            .setOrderId(check())
                            .setVersion(version)
                            .setStatus(OrderStatus.ORDER_STATUS_PENDING)
                            .build();
                    answer.onNext(WatchOrderResponse.newBuilder().setOrder(order).build());
                    Thread.sleep(10);
                }
            } catch (StatusRuntimeException refused) {
                answer.onError(refused);
            } catch (InterruptedException interrupted) {
                Thread.currentThread().interrupt();
            }
        }
    }
}
