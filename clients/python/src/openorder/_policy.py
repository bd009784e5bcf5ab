"""What the synchronous and the asyncio client have in common: everything but waiting."""

import ipaddress
import random
import re
import threading
import time
import uuid
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, TypeVar

import grpc
from google.protobuf.message import Message

from openorder import errors
from openorder._session import checked
from openorder._version import __version__
from openorder.operations.v1.operations_service_pb2 import CancelReplayRequest, ListAuditEntriesRequest
from openorder.order.v1.order_pb2 import Order, OrderStatus

M = TypeVar("M", bound=Message)

FINAL = frozenset(
    (OrderStatus.ORDER_STATUS_DELIVERED, OrderStatus.ORDER_STATUS_CANCELLED, OrderStatus.ORDER_STATUS_REJECTED)
)
_NOT_AN_INTENT = (CancelReplayRequest, ListAuditEntriesRequest)
_KEEPALIVE_TIME_MS = 30_000
_KEEPALIVE_TIMEOUT_MS = 10_000
_ANSWER_BYTES_MAX = 16 * 1024 * 1024
_METADATA_BYTES_MAX = 128 * 1024


@dataclass(frozen=True)
class RetryPolicy:
    """Which waits and how many attempts. Only UNAVAILABLE, and RESOURCE_EXHAUSTED with RetryInfo, is tried again."""

    max_attempts: int = 10
    """Attempts of one call, the first included; and attempts of `watch_order` in a row that bring nothing new."""
    initial_backoff_seconds: float = 0.1
    """Most of the wait before the second attempt, where the server names none; doubled for each further one."""
    max_backoff_seconds: float = 5.0
    """Most of any wait that the server does not name."""
    retry_info_jitter: float = 0.2
    """Where the server names a wait, it is lengthened by a random part of up to this share of it."""
    budget_tokens_max: float = 100.0
    """Tokens that all calls of a client share: they begin with so many. A retry takes one, and needs one."""
    budget_tokens_per_success: float = 0.2
    """Tokens that a success gives back."""

    def __post_init__(self) -> None:
        if self.max_attempts < 1:
            raise ValueError("max_attempts is at least 1")
        if min(self.initial_backoff_seconds, self.max_backoff_seconds, self.retry_info_jitter) < 0:
            raise ValueError("a wait is not negative")

    def delay_seconds(self, error: errors.OpenOrderError, attempts: int) -> float | None:
        """How long to wait after so many attempts, the last of which ended with this error. None: not again."""
        named = error.retry_delay_seconds
        code = error.code()
        if code != grpc.StatusCode.UNAVAILABLE and (code != grpc.StatusCode.RESOURCE_EXHAUSTED or named is None):
            return None
        if attempts >= self.max_attempts:
            return None
        if named is not None:
            return named * random.uniform(1.0, 1.0 + self.retry_info_jitter)
        # The exponent is bounded: a float does not hold 2 ** 1024.
        ceiling = self.initial_backoff_seconds * 2.0 ** min(attempts - 1, 32)
        return random.uniform(0.0, min(ceiling, self.max_backoff_seconds))


class Budget:
    """Retries that all calls of a client share. For threads."""

    def __init__(self, policy: RetryPolicy) -> None:
        self._policy = policy
        self._tokens = policy.budget_tokens_max
        self._lock = threading.Lock()

    def take(self) -> bool:
        """Takes the token of a retry. False: there is none."""
        with self._lock:
            if self._tokens < 1.0:
                return False
            self._tokens -= 1.0
            return True

    def give_back(self) -> None:
        """After a success."""
        with self._lock:
            self._tokens = min(self._tokens + self._policy.budget_tokens_per_success, self._policy.budget_tokens_max)


class Attempts:
    """One call over all its attempts, under one deadline."""

    def __init__(self, policy: RetryPolicy, budget: Budget, timeout_seconds: float) -> None:
        self._policy = policy
        self._budget = budget
        self._deadline = time.monotonic() + timeout_seconds
        self._count = 0

    def begin(self) -> float:
        """Counts an attempt, and returns the seconds that it has."""
        self._count += 1
        return self.seconds_left()

    def seconds_left(self) -> float:
        return max(0.0, self._deadline - time.monotonic())

    def succeeded(self) -> None:
        self._budget.give_back()

    def delay_seconds(self, error: errors.OpenOrderError) -> float | None:
        """How long to wait before the next attempt. None: the error is the call's."""
        delay = self._policy.delay_seconds(error, self._count)
        if delay is None or time.monotonic() + delay >= self._deadline or not self._budget.take():
            return None
        return delay


class Watch:
    """An order that is watched over several streams."""

    def __init__(self, policy: RetryPolicy, until: OrderStatus.ValueType, timeout_seconds: float | None) -> None:
        self._policy = policy
        self._until = until
        self._deadline = None if timeout_seconds is None else time.monotonic() + timeout_seconds
        self._version = 0
        self._fruitless = 0
        self._is_renewed = False
        self.ended = False
        """Whether the last order that was given is the last one."""

    def begin(self) -> float | None:
        """Counts a stream, and returns the seconds that it has; None: without a bound."""
        self._fruitless += 1
        self._began = time.monotonic()
        self._received = False
        return None if self._deadline is None else max(0.0, self._deadline - self._began)

    def is_new(self, order: Order) -> bool:
        """Whether the order is to be given to the caller."""
        self._received = True
        if order.version <= self._version:
            return False
        self._version = order.version
        self._fruitless = 0
        self._is_renewed = False
        self.ended = order.status in FINAL or order.status == self._until
        return True

    def delay_seconds(self, error: errors.OpenOrderError) -> float | None:
        """How long to wait before the next stream. None: the error is the caller's."""
        if error._is_stale and not self._is_renewed:
            self._is_renewed = True
            return 0.0
        # A stream that stood for a while did its work, also where the order did not change: connections do not live
        # as long as orders.
        if self._received and time.monotonic() - self._began > self._policy.max_backoff_seconds:
            self._fruitless = 0
        delay = self._policy.delay_seconds(error, max(1, self._fruitless))
        if delay is not None and self._deadline is not None and time.monotonic() + delay >= self._deadline:
            return None
        return delay


@contextmanager
def translated(is_stale: Callable[[errors.OpenOrderError], bool]) -> Iterator[None]:
    """Raises grpc's errors as the client's. is_stale: whether the call's token is why, and the next one may be good."""
    try:
        yield
    except grpc.RpcError as cause:
        error = errors.from_rpc_error(cause)
        error._is_stale = is_stale(error)
        raise error from None


def with_request_id(request: M) -> M:
    """The request, or a copy of it with a new request id where it has none and one belongs there."""
    # In these two, the field names the request of another call.
    if not isinstance(request, Message) or isinstance(request, _NOT_AN_INTENT):
        return request
    if "request_id" not in request.DESCRIPTOR.fields_by_name or request.request_id:  # type: ignore[attr-defined]
        return request
    request = copy_of(request)
    # Version 7 sorts by time: Python has it from 3.14 on.
    request.request_id = str(getattr(uuid, "uuid7", uuid.uuid4)())  # type: ignore[attr-defined]
    return request


def copy_of(message: M) -> M:
    copy = type(message)()
    copy.CopyFrom(message)
    return copy


def items_field(page: Message) -> str:
    """The field of a page that holds its items: the first repeated one."""
    return min((f for f in page.DESCRIPTOR.fields if f.is_repeated), key=lambda field: field.number).name


def channel_options(
    address: str, secure: bool, policy: RetryPolicy, extra: Sequence[tuple[str, Any]]
) -> list[tuple[str, Any]]:
    """Options of a channel; of two with one name grpc takes the first: the caller's own."""
    options: list[tuple[str, Any]] = [
        ("grpc.primary_user_agent", f"openorder-python/{__version__}"),
        ("grpc.keepalive_time_ms", _KEEPALIVE_TIME_MS),
        ("grpc.keepalive_timeout_ms", _KEEPALIVE_TIMEOUT_MS),
        # A stream that is watched may be silent for long.
        ("grpc.http2.max_pings_without_data", 0),
        # As fast as the attempts of a call, or they would only meet a channel that waits: by itself up to two minutes.
        ("grpc.initial_reconnect_backoff_ms", max(1, round(policy.initial_backoff_seconds * 1000))),
        ("grpc.max_reconnect_backoff_ms", max(1, round(policy.max_backoff_seconds * 1000))),
        # The gateway answers up to 8 MiB; grpc takes 4 by itself.
        ("grpc.max_receive_message_length", _ANSWER_BYTES_MAX),
        # The violations of a large order come in the trailers; grpc refuses them from 8 KiB on by itself.
        ("grpc.max_metadata_size", _METADATA_BYTES_MAX),
    ]
    if not secure:
        # Tokens and passwords may come this way: not to the proxy that the environment names.
        options.append(("grpc.enable_http_proxy", 0))
    return [*extra, *options]


def is_open(address: str, secure: bool, insecure_credentials: bool, credential: object) -> bool:
    """Whether a secret could be read on the way to the address, and nobody said that it may be sent all the same.

    Raises `ValueError` where a credential would be sent so, and for one that is empty or none.
    """
    is_open = not secure and not insecure_credentials and not _is_loopback(address)
    if credential is not None and is_open:
        raise ValueError(f"a credential is not sent to {address} without TLS: anybody on the way could read it")
    if credential == "":
        raise ValueError("the credential is empty")
    if isinstance(credential, str):
        checked(credential)
    return is_open


def _is_loopback(address: str) -> bool:
    host = re.sub(r"^(dns|ipv4|ipv6):(///?)?", "", address)
    if host.startswith("unix:"):
        return True
    host = re.sub(r":\d+$", "", host) if host.count(":") == 1 or "]" in host else host
    host = host.removeprefix("[").removesuffix("]")
    try:
        return host == "localhost" or ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False
