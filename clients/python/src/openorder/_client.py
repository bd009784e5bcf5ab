"""The synchronous client."""

import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from types import TracebackType
from typing import Any

import grpc

from openorder import _policy, errors
from openorder._policy import RetryPolicy
from openorder.analytics.v1.analytics_service_pb2_grpc import AnalyticsServiceStub
from openorder.cart.v1.cart_service_pb2_grpc import CartServiceStub
from openorder.history.v1.history_service_pb2_grpc import HistoryServiceStub
from openorder.inventory.v1.inventory_service_pb2_grpc import InventoryServiceStub
from openorder.notification.v1.notification_service_pb2_grpc import NotificationServiceStub
from openorder.operations.v1.operations_service_pb2_grpc import OperationsServiceStub
from openorder.order.v1.order_pb2 import Order, OrderStatus
from openorder.order.v1.order_service_pb2 import WatchOrderRequest
from openorder.order.v1.order_service_pb2_grpc import OrderServiceStub
from openorder.payment.v1.payment_service_pb2_grpc import PaymentServiceStub
from openorder.product.v1.product_service_pb2_grpc import ProductServiceStub
from openorder.promotion.v1.promotion_service_pb2_grpc import PromotionServiceStub
from openorder.shipping.v1.shipping_service_pb2_grpc import ShippingServiceStub
from openorder.user.v1.user_service_pb2_grpc import UserServiceStub

DEADLINE_SECONDS = 10.0


@dataclass(frozen=True)
class TLS:
    """TLS to the gateway. All of it is PEM, as bytes."""

    ca_certificates: bytes | None = None
    """Who may sign the gateway's certificate; None: the authorities that grpc brings."""
    certificate_chain: bytes | None = None
    """The caller's own certificate, where the gateway asks for one."""
    private_key: bytes | None = None
    """The key of that certificate."""

    def credentials(self) -> grpc.ChannelCredentials:
        return grpc.ssl_channel_credentials(self.ca_certificates, self.private_key, self.certificate_chain)


def connect(
    address: str,
    *,
    tls: TLS | None = None,
    credential: str | Callable[[], str] | None = None,
    deadline_seconds: float = DEADLINE_SECONDS,
    retry: RetryPolicy = RetryPolicy(),
    interceptors: Sequence[Any] = (),
    channel_options: Sequence[tuple[str, Any]] = (),
) -> "Client":
    """A client of the gateway at `address`, `host:port`. It connects with the first call. For threads.

    tls: None is plaintext. credential: a bearer token, or a function that gives one for each attempt; raises
    `ValueError` where it would go in plaintext to another machine. deadline_seconds: of a unary call that gives no
    `timeout` of its own, over all its attempts. interceptors: grpc's own, around each attempt. channel_options: grpc's
    own, beside and before the client's.
    """
    options = _policy.channel_options(address, tls is not None, credential, retry, channel_options)
    if tls is None:
        channel = grpc.insecure_channel(address, options)
    else:
        channel = grpc.secure_channel(address, tls.credentials(), options)
    interceptor = _Interceptor(retry, deadline_seconds, credential)
    return Client(channel, grpc.intercept_channel(channel, interceptor, *interceptors), retry)


class Client:
    """The services of OpenOrder, as their generated stubs; see `connect`. A context manager.

    Every unary method takes `timeout` (seconds, over all attempts), retries as its `RetryPolicy` says, fills in
    `request_id` where it is empty, and raises `OpenOrderError`.
    """

    def __init__(self, channel: grpc.Channel, intercepted: grpc.Channel, retry: RetryPolicy) -> None:
        """Made by `connect`."""
        self._channel = channel
        self._retry = retry
        self.orders = OrderServiceStub(intercepted)
        self.products = ProductServiceStub(intercepted)
        self.inventory = InventoryServiceStub(intercepted)
        self.payments = PaymentServiceStub(intercepted)
        self.notifications = NotificationServiceStub(intercepted)
        self.promotions = PromotionServiceStub(intercepted)
        self.shipments = ShippingServiceStub(intercepted)
        self.analytics = AnalyticsServiceStub(intercepted)
        self.history = HistoryServiceStub(intercepted)
        self.carts = CartServiceStub(intercepted)
        self.users = UserServiceStub(intercepted)
        self.operations = OperationsServiceStub(intercepted)

    def watch_order(
        self,
        order_id: str,
        until: OrderStatus.ValueType = OrderStatus.ORDER_STATUS_UNSPECIFIED,
        *,
        timeout_seconds: float | None = None,
    ) -> Iterator[Order]:
        """The order as it stands, and again after each change, until it reached `until`, is past it, or is final.

        It goes on when the connection breaks, and gives no version twice. timeout_seconds: of the whole; None: for as
        long as it takes. Raises `OpenOrderError`, after `RetryPolicy.max_attempts` streams in a row without anything
        new as well.
        """
        watch = _policy.Watch(self._retry, until, timeout_seconds)
        request = WatchOrderRequest(order_id=order_id, until=until)
        while True:
            stream = self.orders.WatchOrder(request, timeout=watch.begin())
            try:
                for response in stream:
                    if watch.is_new(response.order):
                        yield response.order
                    if watch.ended:
                        return
                return
            except errors.OpenOrderError as error:
                delay = watch.delay_seconds(error)
                if delay is None:
                    raise
            finally:
                stream.cancel()
            time.sleep(delay)

    def close(self) -> None:
        """Ends the connection and all calls."""
        self._channel.close()

    def __enter__(self) -> "Client":
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.close()


@dataclass
class _Details(grpc.ClientCallDetails):
    """What an attempt is sent with."""

    method: str
    timeout: float | None
    metadata: tuple[tuple[str, str | bytes], ...] | None
    credentials: grpc.CallCredentials | None
    wait_for_ready: bool | None
    compression: grpc.Compression | None


class _Interceptor(grpc.UnaryUnaryClientInterceptor, grpc.UnaryStreamClientInterceptor):
    def __init__(self, retry: RetryPolicy, deadline_seconds: float, credential: str | Callable[[], str] | None) -> None:
        self._retry = retry
        self._budget = _policy.Budget(retry)
        self._deadline_seconds = deadline_seconds
        self._credential = credential

    def intercept_unary_unary(self, continuation: Any, details: Any, request: Any) -> Any:
        request = _policy.with_request_id(request)
        timeout = self._deadline_seconds if details.timeout is None else details.timeout
        attempts = _policy.Attempts(self._retry, self._budget, timeout)
        while True:
            call = continuation(self._details(details, attempts.begin()), request)
            cause = call.exception()
            if cause is None:
                attempts.succeeded()
                return call
            if not isinstance(cause, grpc.RpcError):
                raise cause
            error = errors.from_rpc_error(cause)
            delay = attempts.delay_seconds(error)
            if delay is None:
                raise error from None
            time.sleep(delay)

    def intercept_unary_stream(self, continuation: Any, details: Any, request: Any) -> Any:
        return _Stream(continuation(self._details(details, details.timeout), _policy.with_request_id(request)))

    def _details(self, details: Any, timeout: float | None) -> _Details:
        metadata = details.metadata
        if self._credential is not None:
            token = self._credential if isinstance(self._credential, str) else self._credential()
            metadata = (*(metadata or ()), ("authorization", f"Bearer {token}"))
        return _Details(
            details.method,
            timeout,
            metadata,
            details.credentials,
            details.wait_for_ready,
            details.compression,
        )


class _Stream:
    """A call with many answers: grpc's own, but for the errors."""

    def __init__(self, call: Any) -> None:
        self._call = call

    def __iter__(self) -> "_Stream":
        return self

    def __next__(self) -> Any:
        with _policy.translated():
            return next(self._call)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._call, name)
