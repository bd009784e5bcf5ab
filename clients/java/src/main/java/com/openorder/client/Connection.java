package com.openorder.client;

import io.grpc.ConnectivityState;
import io.grpc.Deadline;
import io.grpc.ManagedChannel;
import java.time.Duration;
import java.util.concurrent.CompletableFuture;
import java.util.concurrent.Executor;
import java.util.concurrent.TimeUnit;
import java.util.concurrent.atomic.AtomicBoolean;

/** What an attempt has to know of the connection. */
final class Connection {
    private final ManagedChannel channel;
    private final Duration reconnectWait;

    Connection(ManagedChannel channel, Duration reconnectWait) {
        this.channel = channel;
        this.reconnectWait = reconnectWait;
    }

    boolean isClosed() {
        return channel.isShutdown();
    }

    /**
     * Runs another attempt: at once, or, where the last try to connect failed, after a new one. Until it is connected
     * again, gRPC fails calls with what it last heard, and tries at times of its own: the attempt would be in vain.
     *
     * @param deadline of the call; null: none
     */
    void reconnectAndRun(Runnable attempt, Deadline deadline) {
        if (channel.getState(false) != ConnectivityState.TRANSIENT_FAILURE) {
            attempt.run();
            return;
        }
        AtomicBoolean begun = new AtomicBoolean();
        Runnable once = () -> {
            if (begun.compareAndSet(false, true)) attempt.run();
        };
        channel.notifyWhenStateChanged(ConnectivityState.TRANSIENT_FAILURE, once);
        channel.resetConnectBackoff();
        Duration wait = reconnectWait;
        if (deadline != null) {
            Duration left = Duration.ofNanos(deadline.timeRemaining(TimeUnit.NANOSECONDS));
            if (left.compareTo(wait) < 0) wait = left;
        }
        after(wait).execute(once);
    }

    static Executor after(Duration wait) {
        return CompletableFuture.delayedExecutor(wait.toNanos(), TimeUnit.NANOSECONDS);
    }
}
