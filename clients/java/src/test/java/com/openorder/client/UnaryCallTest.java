package com.openorder.client;

import static com.openorder.client.TestServer.refusal;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertInstanceOf;
import static org.junit.jupiter.api.Assertions.assertSame;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import com.google.common.util.concurrent.ListenableFuture;
import com.google.rpc.Code;
import com.openorder.order.v1.CreateOrderRequest;
import com.openorder.order.v1.CreateOrderResponse;
import com.openorder.order.v1.Order;
import com.openorder.order.v1.OrderServiceGrpc;
import io.grpc.Context;
import io.grpc.Status;
import io.grpc.StatusRuntimeException;
import java.io.IOException;
import java.nio.channels.ClosedChannelException;
import java.time.Duration;
import java.util.Arrays;
import java.util.UUID;
import java.util.concurrent.ExecutionException;
import java.util.concurrent.Executors;
import java.util.concurrent.ScheduledExecutorService;
import java.util.concurrent.TimeUnit;
import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.Timeout;

@Timeout(30)
class UnaryCallTest {
    private static final CreateOrderRequest REQUEST = CreateOrderRequest.newBuilder().setCustomerId("anna").build();
    private TestServer server;
    private OpenOrder client;

    @BeforeEach
    void start() throws IOException {
        server = new TestServer();
        client = OpenOrder.connect(server.address());
    }

    @AfterEach
    void stop() {
        client.close();
        server.close();
    }

    private OpenOrder.Builder quick() {
        return OpenOrder.builder(server.address()).backoff(Duration.ofMillis(1), Duration.ofMillis(2));
    }

    @Test
    void unavailableIsRetriedUnderOneRequestId() {
        server.createOrder = attempt -> {
            if (attempt < 4) throw Status.UNAVAILABLE.asRuntimeException();
            return Order.newBuilder().setOrderId("o-1").build();
        };
        assertEquals("o-1", client.orders().createOrder(REQUEST).getOrder().getOrderId());
        assertEquals(4, server.requests.size());
        assertEquals(1, server.requests.stream().distinct().count());
        UUID.fromString(server.requests.get(0).getRequestId());
        assertEquals("", REQUEST.getRequestId());
    }

    @Test
    void theCallersRequestIdStays() {
        client.orders().createOrder(REQUEST.toBuilder().setRequestId("mine").build());
        assertEquals("mine", server.requests.get(0).getRequestId());
    }

    @Test
    void whatIsNoAnswerOfTheMomentIsNotRetried() {
        for (Code code : Code.values()) {
            if (code == Code.OK || code == Code.UNAVAILABLE || code == Code.UNRECOGNIZED) continue;
            int before = server.requests.size();
            server.createOrder = attempt -> {
                throw refusal(code, "A_REASON", code == Code.RESOURCE_EXHAUSTED ? -1 : 1);
            };
            OpenOrderException refused =
                    assertThrows(OpenOrderException.class, () -> client.orders().createOrder(REQUEST), code.name());
            assertEquals(code.name(), refused.getCode().name());
            assertEquals(before + 1, server.requests.size(), code.name());
        }
    }

    @Test
    void aConnectionThatIsLostWhileItIsWrittenToIsNoUnknownError() {
        Status lost = Status.UNKNOWN.withDescription("channel closed").withCause(new ClosedChannelException());
        OpenOrderException error = OpenOrderException.from(lost.asRuntimeException());
        assertInstanceOf(OpenOrderException.Unavailable.class, error);
        assertInstanceOf(ClosedChannelException.class, error.getStatus().getCause());
        Status foreign = Status.UNKNOWN.withDescription("an error of the service");
        assertEquals(Status.Code.UNKNOWN, OpenOrderException.from(foreign.asRuntimeException()).getCode());
    }

    @Test
    void whatTheServerAsksForIsWaitedFor() {
        server.createOrder = attempt -> {
            if (attempt == 1) throw refusal(Code.RESOURCE_EXHAUSTED, Reason.OVERLOADED, 300);
            return Order.getDefaultInstance();
        };
        long begin = System.nanoTime();
        client.orders().createOrder(REQUEST);
        long tookMillis = (System.nanoTime() - begin) / 1_000_000;
        assertEquals(2, server.requests.size());
        assertTrue(tookMillis >= 300 && tookMillis < 2_000, "took " + tookMillis + " ms");
    }

    @Test
    void attemptsAreBounded() {
        server.createOrder = attempt -> {
            throw refusal(Code.UNAVAILABLE, Reason.UPSTREAM_UNAVAILABLE, -1);
        };
        try (OpenOrder three = quick().maxAttempts(3).build()) {
            OpenOrderException.Unavailable gone = assertThrows(
                    OpenOrderException.Unavailable.class, () -> three.orders().createOrder(REQUEST));
            assertEquals(Reason.UPSTREAM_UNAVAILABLE, gone.getReason());
            assertEquals(3, server.requests.size());
            assertEquals(server.requests.get(0).getRequestId(), gone.getRequestId());
        }
    }

    @Test
    void aWaitBeyondTheDeadlineIsNotBegun() {
        server.createOrder = attempt -> {
            throw refusal(Code.UNAVAILABLE, Reason.SHUTTING_DOWN, 5_000);
        };
        long begin = System.nanoTime();
        assertThrows(OpenOrderException.Unavailable.class, () -> client.orders()
                .withDeadlineAfter(2, TimeUnit.SECONDS)
                .createOrder(REQUEST));
        assertTrue(System.nanoTime() - begin < 1_500_000_000L);
        assertEquals(1, server.requests.size());
    }

    @Test
    void oneDeadlineIsOverAllAttempts() {
        server.createOrder = attempt -> {
            if (attempt < 3) throw refusal(Code.UNAVAILABLE, Reason.SHUTTING_DOWN, 200);
            return null;
        };
        try (OpenOrder brief = quick().defaultDeadline(Duration.ofMillis(800)).build()) {
            long begin = System.nanoTime();
            assertThrows(OpenOrderException.DeadlineExceeded.class, () -> brief.orders().createOrder(REQUEST));
            long tookMillis = (System.nanoTime() - begin) / 1_000_000;
            assertEquals(3, server.requests.size());
            assertTrue(tookMillis >= 790 && tookMillis < 1_800, "took " + tookMillis + " ms");
        }
    }

    @Test
    void theContextsDeadlineBoundsTheWaitsToo() {
        server.createOrder = attempt -> {
            throw refusal(Code.UNAVAILABLE, Reason.SHUTTING_DOWN, 3_000);
        };
        ScheduledExecutorService timer = Executors.newSingleThreadScheduledExecutor();
        try (Context.CancellableContext context = Context.current().withDeadlineAfter(1, TimeUnit.SECONDS, timer)) {
            context.run(() ->
                    assertThrows(OpenOrderException.Unavailable.class, () -> client.orders().createOrder(REQUEST)));
            assertEquals(1, server.requests.size());
        } finally {
            timer.shutdownNow();
        }
    }

    @Test
    void aWaitThatIsTooLongIsNotBegun() {
        server.createOrder = attempt -> {
            throw refusal(Code.RESOURCE_EXHAUSTED, Reason.OVERLOADED, 2_000);
        };
        try (OpenOrder impatient = quick().maxRetryDelay(Duration.ofSeconds(1)).build()) {
            OpenOrderException busy = assertThrows(
                    OpenOrderException.ResourceExhausted.class, () -> impatient.orders().createOrder(REQUEST));
            assertEquals(Duration.ofSeconds(2), busy.getRetryDelay().orElseThrow());
            assertEquals(1, server.requests.size());
        }
    }

    @Test
    void theBudgetIsTheWholeClients() {
        server.createOrder = attempt -> {
            if (attempt > 14) return Order.getDefaultInstance();
            throw Status.UNAVAILABLE.asRuntimeException();
        };
        try (OpenOrder small = quick().retryBudget(5, 0.5).build()) {
            // 9 retries are wanted, and there are 5.
            assertThrows(OpenOrderException.Unavailable.class, () -> small.orders().createOrder(REQUEST));
            assertEquals(6, server.requests.size());
            for (int call = 7; call <= 14; call++) {
                assertThrows(OpenOrderException.Unavailable.class, () -> small.orders().createOrder(REQUEST));
                assertEquals(call, server.requests.size());
            }
            // Two successes pay for one retry.
            small.orders().createOrder(REQUEST);
            small.orders().createOrder(REQUEST);
            int before = server.requests.size();
            server.createOrder = attempt -> {
                throw Status.UNAVAILABLE.asRuntimeException();
            };
            assertThrows(OpenOrderException.Unavailable.class, () -> small.orders().createOrder(REQUEST));
            assertEquals(before + 2, server.requests.size());
        }
    }

    @Test
    void anErrorSaysAllThereIsToKnow() {
        server.createOrder = attempt -> {
            throw refusal(Code.NOT_FOUND, "A_NEW_REASON", -1);
        };
        OpenOrderException.NotFound error =
                assertThrows(OpenOrderException.NotFound.class, () -> client.orders().createOrder(REQUEST));
        assertEquals("A_NEW_REASON", error.getReason());
        assertEquals("openorder", error.getDomain());
        assertEquals("b", error.getMetadata().get("a"));
        assertEquals("NOT_FOUND: no [A_NEW_REASON]", error.getMessage());
        assertInstanceOf(StatusRuntimeException.class, error);
        String caller = getClass().getName();
        assertTrue(Arrays.stream(error.getStackTrace()).anyMatch(frame -> frame.getClassName().equals(caller)));
    }

    @Test
    void aFutureIsRetriedAndFailsWithTheErrorAsItsCause() throws Exception {
        server.createOrder = attempt -> {
            if (attempt == 1) throw Status.UNAVAILABLE.asRuntimeException();
            if (attempt == 2) return Order.newBuilder().setOrderId("o-2").build();
            throw refusal(Code.FAILED_PRECONDITION, Reason.OUT_OF_STOCK, -1);
        };
        OrderServiceGrpc.OrderServiceFutureStub orders = OrderServiceGrpc.newFutureStub(client.channel());
        assertEquals("o-2", orders.createOrder(REQUEST).get().getOrder().getOrderId());
        assertEquals(server.requests.get(0), server.requests.get(1));
        ExecutionException failed =
                assertThrows(ExecutionException.class, () -> orders.createOrder(REQUEST).get());
        OpenOrderException error = OpenOrderException.from(failed);
        assertEquals(Reason.OUT_OF_STOCK, error.getReason());
        assertEquals(server.requests.get(2).getRequestId(), error.getRequestId());
        assertSame(error, failed.getCause().getCause());
    }

    @Test
    void aCancelledFutureMakesNoMoreAttempts() throws Exception {
        server.createOrder = attempt -> {
            throw refusal(Code.UNAVAILABLE, Reason.SHUTTING_DOWN, 300);
        };
        ListenableFuture<CreateOrderResponse> future =
                OrderServiceGrpc.newFutureStub(client.channel()).createOrder(REQUEST);
        while (server.requests.isEmpty()) Thread.sleep(10);
        future.cancel(true);
        Thread.sleep(600);
        assertEquals(1, server.requests.size());
    }

    @Test
    void anInterruptEndsACallThatWaits() throws Exception {
        server.createOrder = attempt -> null;
        Thread caller = Thread.currentThread();
        Thread other = new Thread(() -> {
            try {
                while (server.requests.isEmpty()) Thread.sleep(10);
            } catch (InterruptedException unexpected) {
                throw new IllegalStateException(unexpected);
            }
            caller.interrupt();
        });
        other.start();
        assertThrows(OpenOrderException.Cancelled.class, () -> client.orders().createOrder(REQUEST));
        assertTrue(Thread.interrupted());
        other.join();
    }

    @Test
    void aClosedClientDoesNotRetry() {
        client.close();
        long begin = System.nanoTime();
        assertThrows(OpenOrderException.Unavailable.class, () -> client.orders().createOrder(REQUEST));
        assertTrue(System.nanoTime() - begin < 50_000_000L * 10);
    }

    @Test
    void aServerThatComesLateIsFound() throws Exception {
        String address = server.address();
        server.close();
        int port = Integer.parseInt(address.substring(address.indexOf(':') + 1));
        try (OpenOrder patient = OpenOrder.builder(address).build()) {
            assertThrows(OpenOrderException.Unavailable.class, () -> patient.orders()
                    .withDeadlineAfter(500, TimeUnit.MILLISECONDS)
                    .createOrder(REQUEST));
            Thread later = new Thread(() -> {
                try {
                    Thread.sleep(700);
                    server = new TestServer(port);
                } catch (IOException | InterruptedException failed) {
                    throw new IllegalStateException(failed);
                }
            });
            later.start();
            patient.orders().createOrder(REQUEST);
            later.join();
        }
    }
}
