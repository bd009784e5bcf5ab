"""Events without Kafka: types, spans, what is remembered. Reading them is in the story."""

import contextlib
import re
import socket
import struct
import threading
from datetime import datetime, timezone
from pathlib import Path

import pytest
from confluent_kafka import KafkaError, KafkaException
from opentelemetry import trace
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

from openorder.events import TYPES, Event, Reader, _Remembered
from openorder.order.v1.order_events_pb2 import OrderPaid

PROTOS = Path(__file__).parents[4] / "proto/openorder"


def test_the_table_of_types_has_every_event_of_the_contract() -> None:
    option = re.compile(r"message (\w+) \{\n  option \(openorder\.event\.v1\.event\) = \{\n    type: \"([a-z._]+)\"")
    contract = {}
    for proto in PROTOS.rglob("*.proto"):
        package = ".".join(("openorder", *proto.parent.relative_to(PROTOS).parts))
        for message, event_type in option.findall(proto.read_text()):
            contract[event_type] = f"{package}.{message}"
    assert len(contract) >= 31
    assert {name: message.DESCRIPTOR.full_name for name, message in TYPES.items()} == contract


def test_ids_are_remembered_up_to_a_bound() -> None:
    remembered = _Remembered(2)
    for event_id in ("a", "b", "a", "", "c"):
        remembered.add(event_id)
    assert remembered.ids == {"b", "c"}
    assert len(remembered.order) == 2
    nothing = _Remembered(0)
    nothing.add("a")
    assert nothing.ids == set()


def event(**headers: str) -> Event:
    return Event(
        type="order.lifecycle.paid",
        message=OrderPaid(order_id="1"),
        id="e",
        source="/openorder/order",
        position=5,
        time=datetime.now(timezone.utc),
        key="1",
        topic="order.lifecycle.v1",
        partition=2,
        offset=7,
        headers=headers,
        group="shop",
    )


@pytest.fixture(scope="module")
def spans() -> InMemorySpanExporter:
    exporter = InMemorySpanExporter()
    provider = TracerProvider()
    provider.add_span_processor(SimpleSpanProcessor(exporter))
    trace.set_tracer_provider(provider)
    return exporter


def test_a_span_goes_on_with_the_trace_of_the_event(spans: InMemorySpanExporter) -> None:
    spans.clear()
    trace_id, span_id = "4bf92f3577b34da6a3ce929d0e0e4736", "00f067aa0ba902b7"
    with event(traceparent=f"00-{trace_id}-{span_id}-01", tracestate="a=b").span() as current:
        assert trace.get_current_span() is current
    (span,) = spans.get_finished_spans()
    assert span.kind == trace.SpanKind.CONSUMER
    assert span.name == "process order.lifecycle.v1"
    assert span.context is not None
    assert span.parent is not None
    assert (span.context.trace_id, span.parent.span_id) == (int(trace_id, 16), int(span_id, 16))
    assert span.context.trace_state["a"] == "b"
    assert span.attributes is not None
    assert span.attributes["messaging.system"] == "kafka"
    assert span.attributes["messaging.destination.name"] == "order.lifecycle.v1"
    assert span.attributes["messaging.kafka.offset"] == 7


def test_a_span_without_a_trace_begins_one_and_tells_of_an_error(spans: InMemorySpanExporter) -> None:
    spans.clear()
    with pytest.raises(LookupError), event().span():
        raise LookupError
    (span,) = spans.get_finished_spans()
    assert span.parent is None
    assert span.status.status_code == trace.StatusCode.ERROR


def test_an_outage_of_the_brokers_ends_nothing() -> None:
    with Reader("127.0.0.1:1", ["order.lifecycle.v1"], "shop", idle_timeout_seconds=1.5) as reader:
        assert list(reader) == []


SASL_HANDSHAKE, API_VERSIONS = 17, 18


def refuse_accounts(listener: socket.socket) -> None:
    """A broker that knows no mechanism for SASL, until the listener is closed."""
    versions = b"".join(struct.pack(">hhh", key, 0, 1) for key in range(API_VERSIONS)) + struct.pack(">hhh", 18, 0, 0)
    with contextlib.suppress(OSError):
        while True:
            connection, _ = listener.accept()
            with connection:
                while head := connection.recv(4, socket.MSG_WAITALL):
                    (length,) = struct.unpack(">i", head)
                    request = connection.recv(length, socket.MSG_WAITALL)
                    key, version, correlation_id = struct.unpack(">hhi", request[:8])
                    if key == API_VERSIONS:
                        unsupported = 35 if version > 0 else 0
                        body = struct.pack(">hi", unsupported, API_VERSIONS + 1) + versions
                    else:
                        assert key == SASL_HANDSHAKE
                        body = struct.pack(">hi", 33, 0)
                    connection.sendall(struct.pack(">ii", 4 + len(body), correlation_id) + body)


def test_a_refused_account_is_raised() -> None:
    listener = socket.create_server(("127.0.0.1", 0))
    broker = threading.Thread(target=refuse_accounts, args=(listener,))
    broker.start()
    account = {"sasl.mechanism": "PLAIN", "sasl.username": "a", "sasl.password": "b"}
    config = {"security.protocol": "sasl_plaintext", **account}
    address = f"127.0.0.1:{listener.getsockname()[1]}"
    try:
        with (
            pytest.raises(KafkaException) as raised,
            Reader(address, ["order.lifecycle.v1"], "shop", config=config, idle_timeout_seconds=20) as reader,
        ):
            next(reader)
    finally:
        listener.shutdown(socket.SHUT_RDWR)
        listener.close()
        broker.join()
    assert raised.value.args[0].code() == KafkaError._AUTHENTICATION


def test_a_reader_can_be_stopped() -> None:
    with Reader("127.0.0.1:1", ["order.lifecycle.v1"], "shop") as reader:
        reader.stop()
        assert list(reader) == []
