package com.openorder.client;

import com.google.protobuf.Any;
import com.google.protobuf.Message;
import com.google.rpc.Code;
import com.google.rpc.ErrorInfo;
import com.google.rpc.RetryInfo;
import com.openorder.order.v1.CreateOrderRequest;
import com.openorder.order.v1.CreateOrderResponse;
import com.openorder.order.v1.ListOrdersRequest;
import com.openorder.order.v1.ListOrdersResponse;
import com.openorder.order.v1.Order;
import com.openorder.order.v1.OrderServiceGrpc;
import com.openorder.order.v1.WatchOrderRequest;
import com.openorder.order.v1.WatchOrderResponse;
import io.grpc.InsecureServerCredentials;
import io.grpc.Metadata;
import io.grpc.Server;
import io.grpc.ServerCall;
import io.grpc.ServerCallHandler;
import io.grpc.ServerCredentials;
import io.grpc.ServerInterceptor;
import io.grpc.StatusRuntimeException;
import io.grpc.netty.shaded.io.grpc.netty.NettyServerBuilder;
import io.grpc.protobuf.StatusProto;
import io.grpc.stub.StreamObserver;
import java.io.IOException;
import java.net.InetSocketAddress;
import java.util.ArrayList;
import java.util.Collections;
import java.util.List;
import java.util.function.BiConsumer;
import java.util.function.Function;

/** A gRPC server on loopback that answers as a test says. */
final class TestServer implements AutoCloseable {
    private static final Metadata.Key<String> AUTHORIZATION =
            Metadata.Key.of("authorization", Metadata.ASCII_STRING_MARSHALLER);

    /** The requests of CreateOrder as they came, and the credential of each call. */
    final List<CreateOrderRequest> requests = Collections.synchronizedList(new ArrayList<>());

    final List<String> authorizations = Collections.synchronizedList(new ArrayList<>());
    /** Answers the attempt with this number, from 1; throws what it is refused with. */
    volatile Function<Integer, Order> createOrder = attempt -> Order.getDefaultInstance();

    volatile Function<ListOrdersRequest, ListOrdersResponse> listOrders = request -> null;
    volatile BiConsumer<Integer, StreamObserver<WatchOrderResponse>> watchOrder = (attempt, stream) -> {};
    private int watches;
    private final Server server;

    TestServer() throws IOException {
        this(0);
    }

    TestServer(int port) throws IOException {
        this(InsecureServerCredentials.create(), port);
    }

    TestServer(ServerCredentials credentials, int port) throws IOException {
        server = NettyServerBuilder.forAddress(new InetSocketAddress("127.0.0.1", port), credentials)
                .addService(new Orders())
                .intercept(new Authorizations())
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

    /** A refusal as OpenOrder makes them; a negative delay: without RetryInfo. */
    static StatusRuntimeException refusal(Code code, String reason, int retryDelayMillis) {
        com.google.rpc.Status.Builder status = com.google.rpc.Status.newBuilder().setCode(code.getNumber());
        ErrorInfo info = ErrorInfo.newBuilder().setReason(reason).setDomain("openorder").putMetadata("a", "b").build();
        status.setMessage("no").addDetails(pack(info));
        if (retryDelayMillis >= 0) {
            status.addDetails(pack(RetryInfo.newBuilder()
                    .setRetryDelay(com.google.protobuf.Duration.newBuilder()
                            .setSeconds(retryDelayMillis / 1000)
                            .setNanos(retryDelayMillis % 1000 * 1_000_000))
                    .build()));
        }
        return StatusProto.toStatusRuntimeException(status.build());
    }

    private static Any pack(Message message) {
        return Any.pack(message);
    }

    private final class Orders extends OrderServiceGrpc.OrderServiceImplBase {
        @Override
        public void createOrder(CreateOrderRequest request, StreamObserver<CreateOrderResponse> answer) {
            requests.add(request);
            try {
                Order order = createOrder.apply(requests.size());
                if (order == null) return; // no answer at all
                answer.onNext(CreateOrderResponse.newBuilder().setOrder(order).build());
                answer.onCompleted();
            } catch (StatusRuntimeException refused) {
                answer.onError(refused);
            }
        }

        @Override
        public void listOrders(ListOrdersRequest request, StreamObserver<ListOrdersResponse> answer) {
            answer.onNext(listOrders.apply(request));
            answer.onCompleted();
        }

        @Override
        public void watchOrder(WatchOrderRequest request, StreamObserver<WatchOrderResponse> answer) {
            watchOrder.accept(++watches, answer);
        }
    }

    private final class Authorizations implements ServerInterceptor {
        @Override
        public <Q, P> ServerCall.Listener<Q> interceptCall(
                ServerCall<Q, P> call, Metadata headers, ServerCallHandler<Q, P> next) {
            authorizations.add(String.valueOf(headers.get(AUTHORIZATION)));
            return next.startCall(call, headers);
        }
    }
}
