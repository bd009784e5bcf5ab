package com.openorder.client.events;

import com.google.protobuf.Message;
import java.time.Instant;
import java.util.OptionalLong;

/**
 * Something that happened in OpenOrder, as a record of Kafka tells it.
 *
 * @param id the event's UUID ({@code ce_id}): the same whenever it comes again; empty where its publisher gave none
 * @param type such as {@code order.lifecycle.paid} ({@code ce_type})
 * @param source who published it, such as {@code /openorder/order} ({@code ce_source}); empty where it does not say
 * @param position position in its source's log ({@code ce_sequence}): it rises with each event of a source; empty for
 *     records of other publishers, and for those of before there were positions
 * @param key what stays in order: of most topics the order id
 * @param topic the topic as the contract names it, without the deployment's prefix
 * @param partition the partition of the topic
 * @param offset the place in the partition
 * @param time when it was decided
 * @param message what happened: of the type that belongs to {@code type}, such as {@code OrderPaid}
 */
public record Event(
        String id,
        String type,
        String source,
        OptionalLong position,
        String key,
        String topic,
        int partition,
        long offset,
        Instant time,
        Message message) {}
