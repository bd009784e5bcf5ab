package com.openorder.client.events;

import org.apache.kafka.clients.consumer.ConsumerRecord;

/** A record says that it is an event of a known type, and cannot be read as one. */
public final class UnreadableEventException extends RuntimeException {
    private static final long serialVersionUID = 1;

    private final transient ConsumerRecord<byte[], byte[]> record;

    UnreadableEventException(ConsumerRecord<byte[], byte[]> record, String type, Exception cause) {
        super("unreadable " + type + " at " + record.topic() + '/' + record.partition() + '@' + record.offset(), cause);
        this.record = record;
    }

    /** The record as it came; its topic with the deployment's prefix. */
    public ConsumerRecord<byte[], byte[]> getRecord() {
        return record;
    }
}
