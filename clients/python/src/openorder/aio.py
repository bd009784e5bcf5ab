"""The asyncio client: what `openorder.connect` is, for one event loop."""

import asyncio
import inspect
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from types import TracebackType
from typing import TYPE_CHECKING, Any

import grpc
import grpc.aio

from openorder import _policy, errors
from openorder._client import DEADLINE_SECONDS, TLS
from openorder._pages import aitems as items
from openorder._pages import apages as pages
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

if TYPE_CHECKING:
    from openorder.analytics.v1.analytics_service_pb2_grpc import AnalyticsServiceAsyncStub
    from openorder.cart.v1.cart_service_pb2_grpc import CartServiceAsyncStub
    from openorder.history.v1.history_service_pb2_grpc import HistoryServiceAsyncStub
    from openorder.inventory.v1.inventory_service_pb2_grpc import InventoryServiceAsyncStub
    from openorder.notification.v1.notification_service_pb2_grpc import NotificationServiceAsyncStub
    from openorder.operations.v1.operations_service_pb2_grpc import OperationsServiceAsyncStub
    from openorder.order.v1.order_service_pb2_grpc import OrderServiceAsyncStub
    from openorder.payment.v1.payment_service_pb2_grpc import PaymentServiceAsyncStub
    from openorder.product.v1.product_service_pb2_grpc import ProductServiceAsyncStub
    from openorder.promotion.v1.promotion_service_pb2_grpc import PromotionServiceAsyncStub
    from openorder.shipping.v1.shipping_service_pb2_grpc import ShippingServiceAsyncStub
    from openorder.user.v1.user_service_pb2_grpc import UserServiceAsyncStub

__all__ = ["Client", "connect", "items", "pages"]

Credential = str | Callable[[], str | Awaitable[str]]


def connect(
    address: str,
    *,
    tls: TLS | None = None,
    credential: Credential | None = None,
    deadline_seconds: float = DEADLINE_SECONDS,
    retry: RetryPolicy = RetryPolicy(),
    interceptors: Sequence[grpc.aio.ClientInterceptor] = (),
    channel_options: Sequence[tuple[str, Any]] = (),
) -> "Client":
    """As `openorder.connect`, in the running event loop. The function that gives a credential may be a coroutine's."""
    options = _policy.channel_options(address, tls is not None, credential, retry, channel_options)
    unary = _Unary(retry, deadline_seconds, credential)
    every = [unary, _Streams(credential), *interceptors]
    if tls is None:
        channel = grpc.aio.insecure_channel(address, options, interceptors=every)
    else:
        channel = grpc.aio.secure_channel(address, tls.credentials(), options, interceptors=every)
    return Client(channel, retry)


class Client:
    """As `openorder.Client`, with methods that are awaited. An async context manager."""

    def __init__(self, channel: grpc.aio.Channel, retry: RetryPolicy) -> None:
        """Made by `connect`."""
        self._channel = channel
        self._retry = retry
        self.orders: OrderServiceAsyncStub = OrderServiceStub(channel)
        self.products: ProductServiceAsyncStub = ProductServiceStub(channel)
        self.inventory: InventoryServiceAsyncStub = InventoryServiceStub(channel)
        self.payments: PaymentServiceAsyncStub = PaymentServiceStub(channel)
        self.notifications: NotificationServiceAsyncStub = NotificationServiceStub(channel)
        self.promotions: PromotionServiceAsyncStub = PromotionServiceStub(channel)
        self.shipments: ShippingServiceAsyncStub = ShippingServiceStub(channel)
        self.analytics: AnalyticsServiceAsyncStub = AnalyticsServiceStub(channel)
        self.history: HistoryServiceAsyncStub = HistoryServiceStub(channel)
        self.carts: CartServiceAsyncStub = CartServiceStub(channel)
        self.users: UserServiceAsyncStub = UserServiceStub(channel)
        self.operations: OperationsServiceAsyncStub = OperationsServiceStub(channel)

    async def watch_order(
        self,
        order_id: str,
        until: OrderStatus.ValueType = OrderStatus.ORDER_STATUS_UNSPECIFIED,
        *,
        timeout_seconds: float | None = None,
    ) -> AsyncIterator[Order]:
        """As `openorder.Client.watch_order`."""
        watch = _policy.Watch(self._retry, until, timeout_seconds)
        request = WatchOrderRequest(order_id=order_id, until=until)
        while True:
            stream = self.orders.WatchOrder(request, timeout=watch.begin())
            try:
                async for response in stream:
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
            await asyncio.sleep(delay)

    async def close(self) -> None:
        """Ends the connection and all calls."""
        await self._channel.close()

    async def __aenter__(self) -> "Client":
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None
    ) -> None:
        await self.close()


async def _details(details: Any, timeout: float | None, credential: Credential | None) -> grpc.aio.ClientCallDetails:
    metadata = details.metadata
    if credential is not None:
        token = credential if isinstance(credential, str) else credential()
        token = await token if inspect.isawaitable(token) else token
        metadata = grpc.aio.Metadata(*(metadata or ()), ("authorization", f"Bearer {token}"))
    return grpc.aio.ClientCallDetails(details.method, timeout, metadata, details.credentials, details.wait_for_ready)


class _Unary(grpc.aio.UnaryUnaryClientInterceptor):
    def __init__(self, retry: RetryPolicy, deadline_seconds: float, credential: Credential | None) -> None:
        self._retry = retry
        self._budget = _policy.Budget(retry)
        self._deadline_seconds = deadline_seconds
        self._credential = credential

    async def intercept_unary_unary(self, continuation: Any, client_call_details: Any, request: Any) -> Any:
        request = _policy.with_request_id(request)
        details = client_call_details
        timeout = self._deadline_seconds if details.timeout is None else details.timeout
        attempts = _policy.Attempts(self._retry, self._budget, timeout)
        while True:
            try:
                call = await continuation(await _details(details, attempts.begin(), self._credential), request)
                await call
            except grpc.RpcError as cause:
                error = errors.from_rpc_error(cause)
                delay = attempts.delay_seconds(error)
                if delay is None:
                    raise error from None
            else:
                attempts.succeeded()
                return call
            await asyncio.sleep(delay)


class _Streams(grpc.aio.UnaryStreamClientInterceptor):
    def __init__(self, credential: Credential | None) -> None:
        self._credential = credential

    async def intercept_unary_stream(self, continuation: Any, client_call_details: Any, request: Any) -> Any:
        details = await _details(client_call_details, client_call_details.timeout, self._credential)
        call = await continuation(details, _policy.with_request_id(request))

        async def answers() -> AsyncIterator[Any]:
            with _policy.translated():
                async for answer in call:
                    yield answer

        return answers()
