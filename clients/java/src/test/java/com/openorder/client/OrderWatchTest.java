package com.openorder.client;

import static com.openorder.client.TestServer.refusal;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import com.google.rpc.Code;
import com.openorder.order.v1.Order;
import com.openorder.order.v1.OrderStatus;
import com.openorder.order.v1.WatchOrderResponse;
import io.grpc.Status;
import io.grpc.stub.ServerCallStreamObserver;
import io.grpc.stub.StreamObserver;
import java.io.IOException;
import java.time.Duration;
import java.util.ArrayList;
import java.util.List;
import java.util.concurrent.CountDownLatch;
import java.util.concurrent.TimeUnit;
import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.Timeout;

@Timeout(30)
class OrderWatchTest {
    private TestServer server;
    private OpenOrder client;

    @BeforeEach
    void start() throws IOException {
        server = new TestServer();
        client = OpenOrder.builder(server.address())
                .backoff(Duration.ofMillis(1), Duration.ofMillis(2))
                .maxAttempts(4)
                .build();
    }

    @AfterEach
    void stop() {
        client.close();
        server.close();
    }

    private static void send(StreamObserver<WatchOrderResponse> stream, long version, OrderStatus status) {
        stream.onNext(WatchOrderResponse.newBuilder()
                .setOrder(Order.newBuilder().setVersion(version).setStatus(status))
                .build());
    }

    private List<Long> versions(OrderStatus until) {
        List<Long> versions = new ArrayList<>();
        try (OrderWatch watch = client.watchOrder("o-1", until)) {
            watch.forEachRemaining(order -> versions.add(order.getVersion()));
        }
        return versions;
    }

    @Test
    void itGoesOnAfterABreakAndGivesEachVersionOnce() {
        server.watchOrder = (attempt, stream) -> {
            switch (attempt) {
                case 1 -> stream.onError(Status.UNAVAILABLE.asRuntimeException());
                case 2 -> {
                    send(stream, 1, OrderStatus.ORDER_STATUS_PENDING);
                    send(stream, 2, OrderStatus.ORDER_STATUS_CONFIRMED);
                    stream.onError(Status.UNAVAILABLE.asRuntimeException());
                }
                case 3 -> stream.onError(refusal(Code.RESOURCE_EXHAUSTED, Reason.OVERLOADED, 10));
                default -> {
                    send(stream, 2, OrderStatus.ORDER_STATUS_CONFIRMED);
                    send(stream, 3, OrderStatus.ORDER_STATUS_PAID);
                    stream.onCompleted();
                }
            }
        };
        assertEquals(List.of(1L, 2L, 3L), versions(OrderStatus.ORDER_STATUS_PAID));
    }

    @Test
    void itEndsAtTheStatusAndPastItAndAtAFinalOneThoughTheStreamDoesNot() {
        server.watchOrder = (attempt, stream) -> send(stream, 1, OrderStatus.ORDER_STATUS_PREPARING);
        assertEquals(List.of(1L), versions(OrderStatus.ORDER_STATUS_PREPARING));
        assertEquals(List.of(1L), versions(OrderStatus.ORDER_STATUS_PAID));
        server.watchOrder = (attempt, stream) -> send(stream, 7, OrderStatus.ORDER_STATUS_REJECTED);
        assertEquals(List.of(7L), versions(OrderStatus.ORDER_STATUS_DELIVERED));
        assertEquals(List.of(7L), versions(OrderStatus.ORDER_STATUS_UNSPECIFIED));
    }

    @Test
    void attemptsWithoutProgressAreBoundedAndProgressBeginsAnew() {
        int[] attempts = {0};
        server.watchOrder = (attempt, stream) -> {
            attempts[0] = attempt;
            if (attempt % 3 == 0 && attempt <= 9) send(stream, attempt, OrderStatus.ORDER_STATUS_PENDING);
            stream.onError(refusal(Code.UNAVAILABLE, Reason.SHUTTING_DOWN, 0));
        };
        List<Long> versions = new ArrayList<>();
        try (OrderWatch watch = client.watchOrder("o-1", OrderStatus.ORDER_STATUS_PAID)) {
            assertThrows(
                    OpenOrderException.Unavailable.class,
                    () -> watch.forEachRemaining(order -> versions.add(order.getVersion())));
            assertFalse(watch.hasNext());
        }
        assertEquals(List.of(3L, 6L, 9L), versions);
        // The break after version 9 is the first attempt without progress of four.
        assertEquals(12, attempts[0]);
    }

    @Test
    void whatIsNoBreakIsAnError() {
        server.watchOrder =
                (attempt, stream) -> stream.onError(refusal(Code.NOT_FOUND, Reason.ORDER_NOT_FOUND, -1));
        OpenOrderException.NotFound missing =
                assertThrows(OpenOrderException.NotFound.class, () -> versions(OrderStatus.ORDER_STATUS_PAID));
        assertEquals(Reason.ORDER_NOT_FOUND, missing.getReason());
    }

    @Test
    void closingEndsTheIterationAndTheStream() throws Exception {
        CountDownLatch cancelled = new CountDownLatch(1);
        server.watchOrder = (attempt, stream) -> {
            ((ServerCallStreamObserver<WatchOrderResponse>) stream).setOnCancelHandler(cancelled::countDown);
            send(stream, 1, OrderStatus.ORDER_STATUS_PENDING);
        };
        OrderWatch watch = client.watchOrder("o-1", OrderStatus.ORDER_STATUS_PAID);
        assertTrue(watch.hasNext());
        watch.next();
        Thread closer = new Thread(() -> {
            try {
                Thread.sleep(200);
            } catch (InterruptedException unexpected) {
                throw new IllegalStateException(unexpected);
            }
            watch.close();
        });
        closer.start();
        assertFalse(watch.hasNext());
        closer.join();
        assertTrue(cancelled.await(5, TimeUnit.SECONDS));
    }
}
