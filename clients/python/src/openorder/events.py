"""OpenOrder's events out of Kafka: `Reader`. Needs `pip install openorder[events]`.

What a record holds and what a consumer has to bear stands in OpenOrder's docs/consuming-events.md.
"""

import importlib
import logging
import pkgutil
import threading
import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import datetime, timedelta, timezone
from types import TracebackType
from typing import Any

import confluent_kafka
from confluent_kafka import KafkaError, KafkaException
from google.protobuf.message import DecodeError, Message
from google.protobuf.message_factory import GetMessageClass
from opentelemetry import trace
from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

import openorder
from openorder.event.v1 import options_pb2

__all__ = ["TYPES", "Counts", "Event", "Reader", "UnreadableRecord"]

_log = logging.getLogger(__name__)
_tracer = trace.get_tracer(__name__, openorder.__version__)
_EPOCH = datetime(1970, 1, 1, tzinfo=timezone.utc)
# What waiting cannot put right; all else is an outage, and librdkafka goes on by itself.
_HOPELESS = frozenset(
    (
        KafkaError._AUTHENTICATION,
        KafkaError.CLUSTER_AUTHORIZATION_FAILED,
        KafkaError.GROUP_AUTHORIZATION_FAILED,
        KafkaError.SASL_AUTHENTICATION_FAILED,
        KafkaError.TOPIC_AUTHORIZATION_FAILED,
    )
)


def _event_types() -> dict[str, type[Message]]:
    types = {}
    for module in pkgutil.walk_packages(openorder.__path__, "openorder."):
        if module.name.endswith("_events_pb2"):
            descriptor = importlib.import_module(module.name).DESCRIPTOR
            for message in descriptor.message_types_by_name.values():
                if event_type := message.GetOptions().Extensions[options_pb2.event].type:
                    types[event_type] = GetMessageClass(message)
    return types


TYPES: Mapping[str, type[Message]] = _event_types()
"""Event type (`ce_type`) to message, as the messages' own option `openorder.event.v1.event` says."""


@dataclass(frozen=True)
class Event:
    """One event, decoded."""

    type: str
    """`ce_type`, such as `order.lifecycle.paid`."""
    message: Message
    """Of the type's own class, such as `openorder.order.v1.order_events_pb2.OrderPaid`."""
    id: str
    """`ce_id`: the same whenever the event comes again."""
    source: str
    """`ce_source`, such as `/openorder/order`."""
    position: int | None
    """`ce_sequence`: rises with each event of a source. None where the publisher is not OpenOrder."""
    time: datetime
    """When the event was decided, in UTC: the time of its record, in milliseconds."""
    key: str
    """Such as the order id: what stays in order."""
    topic: str
    """With the deployment's prefix."""
    partition: int
    offset: int
    headers: Mapping[str, str]
    """All headers, the trace's among them."""
    group: str
    """The consumer group that read it."""

    @contextmanager
    def span(self) -> Iterator[trace.Span]:
        """A span for handling the event, kind CONSUMER, in the trace that the event was made in."""
        attributes: dict[str, str | int] = {
            "messaging.system": "kafka",
            "messaging.operation.name": "process",
            "messaging.operation.type": "process",
            "messaging.destination.name": self.topic,
            "messaging.destination.partition.id": str(self.partition),
            "messaging.consumer.group.name": self.group,
            "messaging.kafka.offset": self.offset,
            "messaging.kafka.message.key": self.key,
            "messaging.message.id": self.id,
        }
        context = TraceContextTextMapPropagator().extract(self.headers)
        name = f"process {self.topic}"
        with _tracer.start_as_current_span(name, context, trace.SpanKind.CONSUMER, attributes) as span:
            yield span


class UnreadableRecord(Exception):
    """A record of a known type whose value is no message of that type; its cause is protobuf's error."""

    def __init__(self, event_type: str, record: confluent_kafka.Message) -> None:
        super().__init__(f"{record.topic()}/{record.partition()}@{record.offset()} cannot be read as {event_type}")
        self.type = event_type
        """`ce_type` of the record."""
        self.record = record
        """The record, as confluent_kafka gives it."""


@dataclass
class Counts:
    """Records that a reader passed over."""

    unknown: int = 0
    """Of a type that this version of the package does not know."""
    foreign: int = 0
    """Without a type or a value: not OpenOrder's."""
    copies: int = 0
    """Of an event that was handled already."""
    unreadable: int = 0
    """Of a known type, and not to be decoded."""


@dataclass
class _Remembered:
    """The ids of the events that were handled last."""

    ids_max: int
    ids: set[str] = field(default_factory=set)
    order: deque[str] = field(default_factory=deque)

    def add(self, event_id: str) -> None:
        if event_id and event_id not in self.ids and self.ids_max > 0:
            self.ids.add(event_id)
            self.order.append(event_id)
            if len(self.order) > self.ids_max:
                self.ids.discard(self.order.popleft())


class Reader:
    """Reads events in a consumer group. An iterator of `Event`, and a context manager; or `run` with a handler.

    An event counts as handled when the next one is asked for, or the `with` block is left without an exception: its
    offset is committed after that, within `commit_interval_seconds` and at the end. What was not handled comes again.

    An event that comes twice is dropped by its id, out of the last `remembered_ids_max` that this reader handled. A new
    process remembers none: what it must not do twice needs the id, or the position, in the transaction of its effect.

    For one thread, but for `stop`. In asyncio: `await asyncio.to_thread(reader.run, handler)`.
    """

    counts: Counts

    def __init__(
        self,
        brokers: str,
        topics: Iterable[str],
        group: str,
        *,
        topic_prefix: str = "",
        on_unreadable: Callable[[UnreadableRecord], None] | None = None,
        idle_timeout_seconds: float | None = None,
        commit_interval_seconds: float = 1.0,
        remembered_ids_max: int = 100_000,
        config: Mapping[str, Any] | None = None,
    ) -> None:
        """Begins with the earliest event where the group has committed nothing.

        brokers: `host:port`, with commas. topics: without the prefix, such as `order.lifecycle.v1`. group: of your own,
        never one of OpenOrder's. topic_prefix: the deployment's `kafka.topic_prefix`. on_unreadable: takes records of
        known types that cannot be decoded, and they count as handled. Without it they are raised; whoever asks for the
        next event then passes over them. idle_timeout_seconds: ends the iteration when nothing came for so long; None:
        never. config: librdkafka's own settings, such as those for TLS and SASL; they win over the reader's.
        """
        self.counts = Counts()
        self._group = group
        self._on_unreadable = on_unreadable
        self._idle_timeout_seconds = idle_timeout_seconds
        self._remembered = _Remembered(remembered_ids_max)
        self._in_hand: tuple[confluent_kafka.Message, str] | None = None
        self._stopped = threading.Event()
        self._failure: KafkaError | None = None
        self._consumer = confluent_kafka.Consumer(
            {
                "bootstrap.servers": brokers,
                "group.id": group,
                "client.id": f"openorder-python/{openorder.__version__}",
                "auto.offset.reset": "earliest",
                # Committed is what was stored, and stored is what was handled.
                "enable.auto.offset.store": False,
                "enable.auto.commit": True,
                "auto.commit.interval.ms": round(commit_interval_seconds * 1000),
                # How soon a topic is seen that is made after the reader.
                "topic.metadata.refresh.interval.ms": 10_000,
                "error_cb": self._check,
                **(config or {}),
            },
            logger=_log,
        )
        self._consumer.subscribe([topic_prefix + topic for topic in topics])

    def __iter__(self) -> Iterator[Event]:
        return self

    def __next__(self) -> Event:
        self._handled()
        silent_since = time.monotonic()
        while not self._stopped.is_set():
            record = self._consumer.poll(0.2)
            if self._failure is not None:
                raise KafkaException(self._failure)
            if record is None:
                silent = time.monotonic() - silent_since
                if self._idle_timeout_seconds is not None and silent >= self._idle_timeout_seconds:
                    raise StopIteration
                continue
            if (error := record.error()) is not None:
                self._check(error)
                continue
            silent_since = time.monotonic()
            if (event := self._event(record)) is not None:
                self._in_hand = (record, event.id)
                return event
            else:
                self._store(record)
        raise StopIteration

    def run(self, handler: Callable[[Event], object]) -> None:
        """Calls the handler with each event, in a span of the event's trace, until `stop`, idle timeout or error.

        What the handler raises ends it, and the event comes again to the next reader of the group.
        """
        for event in self:
            with event.span():
                handler(event)

    def stop(self) -> None:
        """Ends the iteration once the event in hand is handled. From any thread, or a signal handler."""
        self._stopped.set()

    def close(self) -> None:
        """Leaves the group and commits what was handled; an event in hand was not."""
        self._in_hand = None
        self._consumer.close()

    def __enter__(self) -> "Reader":
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        if kind is None:
            self._handled()
        self.close()

    def _handled(self) -> None:
        """The event in hand was handled."""
        if self._in_hand is not None:
            record, event_id = self._in_hand
            self._in_hand = None
            self._remembered.add(event_id)
            self._store(record)

    def _store(self, record: confluent_kafka.Message) -> None:
        try:
            self._consumer.store_offsets(message=record)
        except KafkaException as error:
            # The partition went to another member: it begins at what was committed.
            if error.args[0].code() != KafkaError._STATE:
                raise

    def _check(self, error: KafkaError) -> None:
        if error.fatal() or error.code() in _HOPELESS:
            self._failure = error
        else:
            _log.warning("%s; the reader goes on", error.str())

    def _event(self, record: confluent_kafka.Message) -> Event | None:
        """The event in a record; None: it is passed over."""
        headers = _headers(record)
        value = record.value()
        event_type = headers.get("ce_type")
        if event_type is None or value is None:
            self.counts.foreign += 1
            return None
        if event_type not in TYPES:
            self.counts.unknown += 1
            return None
        event_id = headers.get("ce_id", "")
        if event_id in self._remembered.ids:
            self.counts.copies += 1
            return None
        try:
            message = TYPES[event_type].FromString(value)
        except DecodeError as error:
            self.counts.unreadable += 1
            unreadable = UnreadableRecord(event_type, record)
            unreadable.__cause__ = error
            if self._on_unreadable is None:
                raise unreadable from error
            self._on_unreadable(unreadable)
            return None
        position = headers.get("ce_sequence", "")
        return Event(
            type=event_type,
            message=message,
            id=event_id,
            source=headers.get("ce_source", ""),
            position=int(position) if position.isdecimal() else None,
            time=_EPOCH + timedelta(milliseconds=record.timestamp()[1]),
            key=_text(record.key()),
            topic=record.topic() or "",
            partition=record.partition() or 0,
            offset=record.offset() or 0,
            headers=headers,
            group=self._group,
        )


def _headers(record: confluent_kafka.Message) -> dict[str, str]:
    pairs: Any = record.headers() or ()  # a list of pairs, whatever its type says
    return {name: _text(value) for name, value in pairs}


def _text(value: bytes | str | None) -> str:
    return value if isinstance(value, str) else (value or b"").decode(errors="replace")
