package com.openorder.client.events;

import static java.nio.charset.StandardCharsets.UTF_8;

import com.google.protobuf.InvalidProtocolBufferException;
import com.google.protobuf.Message;
import com.google.protobuf.Parser;
import io.opentelemetry.api.GlobalOpenTelemetry;
import io.opentelemetry.api.OpenTelemetry;
import io.opentelemetry.api.trace.Span;
import io.opentelemetry.api.trace.SpanBuilder;
import io.opentelemetry.api.trace.SpanKind;
import io.opentelemetry.api.trace.StatusCode;
import io.opentelemetry.api.trace.Tracer;
import io.opentelemetry.api.trace.propagation.W3CTraceContextPropagator;
import io.opentelemetry.context.Context;
import io.opentelemetry.context.Scope;
import io.opentelemetry.context.propagation.TextMapGetter;
import java.time.Duration;
import java.time.Instant;
import java.util.ArrayDeque;
import java.util.Collection;
import java.util.HashMap;
import java.util.LinkedHashSet;
import java.util.List;
import java.util.Map;
import java.util.Objects;
import java.util.OptionalLong;
import java.util.Queue;
import java.util.Set;
import java.util.function.Consumer;
import org.apache.kafka.clients.consumer.CloseOptions;
import org.apache.kafka.clients.consumer.CommitFailedException;
import org.apache.kafka.clients.consumer.ConsumerConfig;
import org.apache.kafka.clients.consumer.ConsumerRebalanceListener;
import org.apache.kafka.clients.consumer.ConsumerRecord;
import org.apache.kafka.clients.consumer.KafkaConsumer;
import org.apache.kafka.clients.consumer.OffsetAndMetadata;
import org.apache.kafka.common.TopicPartition;
import org.apache.kafka.common.errors.RetriableException;
import org.apache.kafka.common.header.Header;
import org.apache.kafka.common.header.Headers;
import org.apache.kafka.common.serialization.ByteArrayDeserializer;

/**
 * Reads OpenOrder's events from Kafka, in a consumer group, and hands each to a handler as its own message type.
 *
 * <p>An event's offset is committed after its handler returned, and never before: after a crash or a rebalance, events
 * come again. Copies are dropped by their id, as many as this reader remembers; it forgets all of them when it ends.
 * What must not be done twice keeps the event's id or position in the transaction of its effect.
 *
 * <p>Records of unknown types, and those that are no events, are passed over. While no broker can be reached the reader
 * waits. It is for one thread, but for {@link #stop}.
 */
public final class EventReader implements AutoCloseable {
    private static final Duration POLL_MAX = Duration.ofMillis(500);
    private static final TextMapGetter<Headers> GETTER = EventReader::text;

    private final KafkaConsumer<byte[], byte[]> consumer;
    private final Builder options;
    private final Tracer tracer;
    private final Queue<ConsumerRecord<byte[], byte[]>> polled = new ArrayDeque<>();
    private final Map<TopicPartition, OffsetAndMetadata> uncommitted = new HashMap<>();
    private final Set<String> remembered = new LinkedHashSet<>(); // the oldest first
    private long committedNanos = System.nanoTime();
    private volatile boolean stopped;
    private volatile long passedOver;
    private volatile long copies;

    /** What is done with an event. */
    @FunctionalInterface
    public interface Handler<E extends Exception> {
        void handle(Event event) throws E;
    }

    private EventReader(Builder options) {
        this.options = options;
        tracer = options.openTelemetry.getTracer("com.openorder.client");
        Map<String, Object> kafka = new HashMap<>();
        kafka.put(ConsumerConfig.AUTO_OFFSET_RESET_CONFIG, "earliest");
        kafka.put(ConsumerConfig.ALLOW_AUTO_CREATE_TOPICS_CONFIG, false);
        kafka.put(ConsumerConfig.MAX_POLL_RECORDS_CONFIG, 100);
        kafka.putAll(options.kafka);
        kafka.put(ConsumerConfig.BOOTSTRAP_SERVERS_CONFIG, options.brokers);
        kafka.put(ConsumerConfig.GROUP_ID_CONFIG, options.group);
        kafka.put(ConsumerConfig.ENABLE_AUTO_COMMIT_CONFIG, false);
        consumer = new KafkaConsumer<>(kafka, new ByteArrayDeserializer(), new ByteArrayDeserializer());
        consumer.subscribe(options.topics.stream().map(options.topicPrefix::concat).toList(), new Rebalance());
    }

    /**
     * The options of a reader.
     *
     * @param brokers {@code host:port}, several with commas between them
     * @param group a consumer group of the caller's own, never one of OpenOrder's
     * @param topics such as {@code order.lifecycle.v1}
     */
    public static Builder builder(String brokers, String group, String... topics) {
        return new Builder(brokers, group, List.of(topics));
    }

    /**
     * Hands each event to the handler, until {@link #stop}, or for as long as {@link Builder#idleTimeout} allows. The
     * handler runs in a span of kind CONSUMER, a child of the span that the event was made in.
     *
     * <p>What the handler throws ends this, and the event counts as not handled: it is the first one of the next run.
     *
     * @throws UnreadableEventException by default, for a record of a known type that cannot be read; see {@link
     *     Builder#onUnreadable}
     * @throws org.apache.kafka.common.KafkaException what Kafka refuses for good, such as a missing permission
     */
    public <E extends Exception> void run(Handler<E> handler) throws E {
        long idleSinceNanos = System.nanoTime();
        while (!stopped) {
            if (polled.isEmpty()) {
                commit();
                consumer.poll(POLL_MAX).forEach(polled::add);
            } else if (System.nanoTime() - committedNanos >= options.commitInterval.toNanos()) {
                commit();
            }
            ConsumerRecord<byte[], byte[]> record = polled.peek();
            long nowNanos = System.nanoTime();
            if (record != null) {
                accept(record, handler);
                polled.remove();
                uncommitted.put(
                        new TopicPartition(record.topic(), record.partition()),
                        new OffsetAndMetadata(record.offset() + 1, record.leaderEpoch(), ""));
                idleSinceNanos = System.nanoTime();
            } else if (options.idleTimeout != null && nowNanos - idleSinceNanos >= options.idleTimeout.toNanos()) {
                break;
            }
        }
        commit();
    }

    /** Ends {@link #run} after the event that it is at; any thread may call it, the handler as well. */
    public void stop() {
        stopped = true;
    }

    /** Records that were passed over: of unknown types, or no events. */
    public long passedOver() {
        return passedOver;
    }

    /** Events that were dropped because they had come before. */
    public long copies() {
        return copies;
    }

    /** Commits what was handled and leaves the group; for the thread that runs the reader. */
    @Override
    public void close() {
        try {
            commit();
        } finally {
            consumer.close(CloseOptions.timeout(options.commitTimeout));
        }
    }

    private <E extends Exception> void accept(ConsumerRecord<byte[], byte[]> record, Handler<E> handler) throws E {
        String type = text(record.headers(), "ce_type");
        Parser<? extends Message> parser = type == null ? null : EventTypes.PARSERS.get(type);
        if (parser == null || record.value() == null) {
            passedOver++;
            return;
        }
        Event event;
        try {
            event = event(record, type, parser.parseFrom(record.value()));
        } catch (InvalidProtocolBufferException | NumberFormatException unreadable) {
            options.onUnreadable.accept(new UnreadableEventException(record, type, unreadable));
            return;
        }
        if (remembered.contains(event.id())) {
            copies++;
            return;
        }
        handleInSpan(record, event, handler);
        if (event.id().isEmpty()) return;
        remembered.add(event.id());
        if (remembered.size() > options.rememberedIds) remembered.remove(remembered.iterator().next());
    }

    private Event event(ConsumerRecord<byte[], byte[]> record, String type, Message message) {
        Headers headers = record.headers();
        String sequence = text(headers, "ce_sequence");
        // A record with ce_time is of before there were positions: it has the version of what changed there.
        boolean positioned = sequence != null && headers.lastHeader("ce_time") == null;
        return new Event(
                Objects.requireNonNullElse(text(headers, "ce_id"), ""),
                type,
                Objects.requireNonNullElse(text(headers, "ce_source"), ""),
                positioned ? OptionalLong.of(Long.parseLong(sequence)) : OptionalLong.empty(),
                record.key() == null ? "" : new String(record.key(), UTF_8),
                record.topic().substring(options.topicPrefix.length()),
                record.partition(),
                record.offset(),
                Instant.ofEpochMilli(record.timestamp()),
                message);
    }

    @SuppressWarnings("try") // the scope is there to be closed
    private <E extends Exception> void handleInSpan(
            ConsumerRecord<byte[], byte[]> record, Event event, Handler<E> handler) throws E {
        Context parent = W3CTraceContextPropagator.getInstance().extract(Context.root(), record.headers(), GETTER);
        SpanBuilder builder = tracer.spanBuilder("process " + record.topic())
                .setParent(parent)
                .setSpanKind(SpanKind.CONSUMER)
                .setAttribute("messaging.system", "kafka")
                .setAttribute("messaging.operation.name", "process")
                .setAttribute("messaging.operation.type", "process")
                .setAttribute("messaging.destination.name", record.topic())
                .setAttribute("messaging.destination.partition.id", Integer.toString(record.partition()))
                .setAttribute("messaging.consumer.group.name", options.group)
                .setAttribute("messaging.kafka.offset", record.offset())
                .setAttribute("messaging.kafka.message.key", event.key())
                .setAttribute("messaging.message.id", event.id());
        Span span = builder.startSpan();
        try (Scope scope = parent.with(span).makeCurrent()) {
            handler.handle(event);
        } catch (Throwable thrown) {
            span.setStatus(StatusCode.ERROR);
            span.setAttribute("error.type", thrown.getClass().getName());
            span.recordException(thrown);
            throw thrown;
        } finally {
            span.end();
        }
    }

    private void commit() {
        committedNanos = System.nanoTime();
        if (uncommitted.isEmpty()) return;
        try {
            consumer.commitSync(uncommitted, options.commitTimeout);
            uncommitted.clear();
        } catch (RetriableException unreachable) {
            // With the next commit. Until then a crash makes the events come again, as it may at any time.
        } catch (CommitFailedException lost) {
            // The partitions are another member's by now, and so are these events.
            uncommitted.clear();
        }
    }

    private static String text(Headers headers, String name) {
        Header header = headers.lastHeader(name);
        return header == null || header.value() == null ? null : new String(header.value(), UTF_8);
    }

    /** Both are called within a poll, when all that was polled before is handled. */
    private final class Rebalance implements ConsumerRebalanceListener {
        @Override
        public void onPartitionsRevoked(Collection<TopicPartition> partitions) {
            commit();
            onPartitionsLost(partitions);
        }

        @Override
        public void onPartitionsAssigned(Collection<TopicPartition> partitions) {}

        @Override
        public void onPartitionsLost(Collection<TopicPartition> partitions) {
            uncommitted.keySet().removeAll(partitions);
        }
    }

    /** The options of a reader. */
    public static final class Builder {
        private final String brokers;
        private final String group;
        private final List<String> topics;
        private final Map<String, Object> kafka = new HashMap<>();
        private String topicPrefix = "";
        private int rememberedIds = 100_000;
        private Duration commitInterval = Duration.ofSeconds(1);
        private Duration commitTimeout = Duration.ofSeconds(10);
        private Duration idleTimeout; // null: none
        private OpenTelemetry openTelemetry = GlobalOpenTelemetry.getOrNoop();
        private Consumer<UnreadableEventException> onUnreadable = unreadable -> {
            throw unreadable;
        };

        private Builder(String brokers, String group, List<String> topics) {
            this.brokers = brokers;
            this.group = group;
            this.topics = topics;
        }

        /** What stands before each topic's name in this deployment ({@code kafka.topic_prefix}). Default: nothing. */
        public Builder topicPrefix(String prefix) {
            topicPrefix = Objects.requireNonNull(prefix);
            return this;
        }

        /** A setting of Kafka's consumer, such as {@code security.protocol} or {@code max.poll.records} (100 here). */
        public Builder kafka(String name, Object value) {
            kafka.put(name, value);
            return this;
        }

        /**
         * What is done with a record of a known type that cannot be read; when it returns, reading goes on. Default:
         * the exception is thrown, and the record is the first one of the next run.
         */
        public Builder onUnreadable(Consumer<UnreadableEventException> handler) {
            onUnreadable = Objects.requireNonNull(handler);
            return this;
        }

        /** The ids of how many events are remembered to drop copies. Default: 100,000, about 15 MB. */
        public Builder rememberedIds(int ids) {
            if (ids < 0) throw new IllegalArgumentException("not negative: " + ids);
            rememberedIds = ids;
            return this;
        }

        /**
         * How often handled events are committed while more of them are at hand; when there are none, at once. Zero:
         * each by itself. Default: 1 s.
         */
        public Builder commitInterval(Duration interval) {
            commitInterval = Objects.requireNonNull(interval);
            return this;
        }

        /** How long a commit may take, and leaving the group, while no broker can be reached. Default: 10 s. */
        public Builder commitTimeout(Duration timeout) {
            commitTimeout = Objects.requireNonNull(timeout);
            return this;
        }

        /** {@link EventReader#run} ends when no record came for this long. Default: it does not. */
        public Builder idleTimeout(Duration timeout) {
            idleTimeout = Objects.requireNonNull(timeout);
            return this;
        }

        /** Where spans go. Default: the global one, or nowhere. */
        public Builder openTelemetry(OpenTelemetry openTelemetry) {
            this.openTelemetry = Objects.requireNonNull(openTelemetry);
            return this;
        }

        /** The reader; it joins its group with the first {@link EventReader#run}. */
        public EventReader build() {
            return new EventReader(this);
        }
    }
}
