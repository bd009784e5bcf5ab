"""Follows orders: made, paid, cancelled. Ends after 10 seconds without an event. See docs/consuming-events.md."""
import sys

from confluent_kafka import Consumer
from openorder.order.v1 import order_events_pb2 as order

# ce_type names the message; all types stand in the comments of the *_events.proto files.
MESSAGES = {
    "order.lifecycle.created": order.OrderCreated,
    "order.lifecycle.paid": order.OrderPaid,
    "order.lifecycle.cancelled": order.OrderCancelled,
}

consumer = Consumer({
    "bootstrap.servers": sys.argv[1] if len(sys.argv) > 1 else "127.0.0.1:19092",
    "group.id": "my-service",           # a group of your own; never one of OpenOrder's
    "auto.offset.reset": "earliest",
    "enable.auto.commit": False,        # committed below, once the effect is durable
})
consumer.subscribe([sys.argv[2] if len(sys.argv) > 2 else "order.lifecycle.v1"])

last_sequence = {}                      # by order; in your database, in the transaction of the effect
while (record := consumer.poll(10.0)) is not None:
    if record.error():
        sys.exit(str(record.error()))
    headers = {name: value.decode() for name, value in record.headers() or [] if value is not None}
    message_type = MESSAGES.get(headers.get("ce_type"))
    sequence = int(headers.get("ce_sequence", 0))
    # Types that you do not know are passed over: new ones may come at any time. So are repetitions.
    if message_type is not None and sequence > last_sequence.get(record.key(), 0):
        event = message_type.FromString(record.value())
        _, decided_ms = record.timestamp()
        print(decided_ms, headers["ce_type"], event.order_id, event.customer_id, flush=True)
        last_sequence[record.key()] = sequence
    consumer.commit(record, asynchronous=False)
consumer.close()
