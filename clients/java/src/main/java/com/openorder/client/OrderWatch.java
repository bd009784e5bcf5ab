package com.openorder.client;

import com.openorder.order.v1.Order;
import com.openorder.order.v1.OrderServiceGrpc.OrderServiceBlockingStub;
import com.openorder.order.v1.OrderStatus;
import com.openorder.order.v1.WatchOrderRequest;
import com.openorder.order.v1.WatchOrderResponse;
import io.grpc.Context;
import io.grpc.Context.CancellableContext;
import io.grpc.Metadata;
import io.grpc.Status;
import io.grpc.StatusRuntimeException;
import java.time.Duration;
import java.util.Iterator;
import java.util.NoSuchElementException;
import java.util.Optional;
import java.util.concurrent.CountDownLatch;
import java.util.concurrent.TimeUnit;

/**
 * An order as it stands, and again after each change, as {@link OpenOrder#watchOrder} gives it. When the stream breaks
 * it is opened again: each version is given once. For one thread; {@link #close} may come from any, and ends the
 * iteration.
 */
public final class OrderWatch implements Iterator<Order>, AutoCloseable {
    private final OrderServiceBlockingStub orders;
    private final WatchOrderRequest request;
    private final Retries retries;
    private final Connection connection;
    private final Session session; // may be null
    private final CountDownLatch closed = new CountDownLatch(1);
    private final CancellableContext context = Context.current().withCancellation();

    private Iterator<WatchOrderResponse> stream;
    private Order next;
    private long lastVersion;
    private int attemptsWithoutProgress;
    private boolean isRenewed; // it was opened again with a new token, and brought nothing yet
    private boolean ended;

    OrderWatch(
            OrderServiceBlockingStub orders,
            WatchOrderRequest request,
            Retries retries,
            Connection connection,
            Session session) {
        this.orders = orders;
        this.request = request;
        this.retries = retries;
        this.connection = connection;
        this.session = session;
    }

    /**
     * Waits for the next change; false when there will be none.
     *
     * @throws OpenOrderException the order cannot be watched, or could not be for as many attempts as the client makes
     */
    @Override
    public boolean hasNext() {
        while (next == null && !ended) advance();
        return next != null;
    }

    @Override
    public Order next() {
        if (!hasNext()) throw new NoSuchElementException();
        Order order = next;
        next = null;
        return order;
    }

    @Override
    public void close() {
        closed.countDown();
        context.cancel(null);
    }

    private void advance() {
        try {
            if (stream == null) stream = openStream();
            if (!stream.hasNext()) {
                end();
                return;
            }
            Order order = stream.next().getOrder();
            if (order.getVersion() <= lastVersion) return;
            lastVersion = order.getVersion();
            attemptsWithoutProgress = 0;
            isRenewed = false;
            next = order;
            // Not only when the stream says so: it may break before it does.
            if (isLast(order)) end();
        } catch (StatusRuntimeException broken) {
            stream = null;
            if (closed.getCount() == 0) {
                end();
                return;
            }
            OpenOrderException error = OpenOrderException.from(broken);
            if (session != null && !isRenewed && session.endedStream(error)) {
                isRenewed = true;
                return;
            }
            waitAfter(error);
        }
    }

    private Iterator<WatchOrderResponse> openStream() {
        Context before = context.attach();
        try {
            return orders.watchOrder(request);
        } finally {
            context.detach(before);
        }
    }

    private void waitAfter(OpenOrderException error) {
        Optional<Duration> wait = retries.waitAfter(error, ++attemptsWithoutProgress);
        if (wait.isEmpty()) {
            end();
            throw error;
        }
        try {
            CountDownLatch reconnected = new CountDownLatch(1);
            if (closed.await(wait.get().toNanos(), TimeUnit.NANOSECONDS)) {
                end();
                return;
            }
            connection.reconnectAndRun(reconnected::countDown, null);
            reconnected.await();
        } catch (InterruptedException interrupted) {
            end();
            Thread.currentThread().interrupt();
            Status status = Status.CANCELLED.withDescription("the thread was interrupted").withCause(interrupted);
            throw OpenOrderException.of(status, new Metadata(), "");
        }
    }

    /** The statuses' numbers rise along an order's way, and those of final ones are the highest. */
    private boolean isLast(Order order) {
        int until = request.getUntilValue();
        if (until != OrderStatus.ORDER_STATUS_UNSPECIFIED_VALUE && order.getStatusValue() >= until) return true;
        return switch (order.getStatus()) {
            case ORDER_STATUS_DELIVERED, ORDER_STATUS_CANCELLED, ORDER_STATUS_REJECTED -> true;
            default -> false;
        };
    }

    private void end() {
        ended = true;
        context.cancel(null);
    }
}
