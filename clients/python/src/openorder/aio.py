"""The asyncio client: what `openorder.connect` is, for one event loop."""

import asyncio
import inspect
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from types import TracebackType
from typing import TYPE_CHECKING, Any

import grpc
import grpc.aio

from openorder import _policy, _session, errors
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
from openorder.user.v1.user_pb2 import User
from openorder.user.v1.user_service_pb2 import AuthenticateRequest, RefreshTokenRequest, SignOutRequest
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
    insecure_credentials: bool = False,
    deadline_seconds: float = DEADLINE_SECONDS,
    retry: RetryPolicy = RetryPolicy(),
    interceptors: Sequence[grpc.aio.ClientInterceptor] = (),
    channel_options: Sequence[tuple[str, Any]] = (),
) -> "Client":
    """As `openorder.connect`, in the running event loop. The function that gives a credential may be a coroutine's."""
    is_open = _policy.is_open(address, tls is not None, insecure_credentials, credential)
    options = _policy.channel_options(address, tls is not None, retry, channel_options)
    caller = _Caller(credential, address if is_open else None)
    every = [_Unary(retry, deadline_seconds, caller), _Streams(caller), *interceptors]
    if tls is None:
        channel = grpc.aio.insecure_channel(address, options, interceptors=every)
    else:
        channel = grpc.aio.secure_channel(address, tls.credentials(), options, interceptors=every)
    return Client(channel, retry, caller)


class Client:
    """As `openorder.Client`, with methods that are awaited. An async context manager."""

    def __init__(self, channel: grpc.aio.Channel, retry: RetryPolicy, caller: "_Caller") -> None:
        """Made by `connect`."""
        self._channel = channel
        self._retry = retry
        self._caller = caller
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
        caller.users = self.users

    async def sign_in(self, email: str, password: str, *, timeout: float | None = None) -> User:
        """As `openorder.Client.sign_in`."""
        self._caller.check_sign_in()
        answer = await self.users.Authenticate(AuthenticateRequest(email=email, password=password), timeout=timeout)
        self._caller.tokens.begin(answer.session)
        return answer.user

    async def sign_out(self, *, timeout: float | None = None) -> None:
        """As `openorder.Client.sign_out`."""
        token = self._caller.tokens.forget()
        if token:
            with _session.without_token():
                await self.users.SignOut(SignOutRequest(refresh_token=token), timeout=timeout)

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


class _Caller:
    """What gives each attempt its token."""

    def __init__(self, credential: Credential | None, open_to: str | None) -> None:
        self._credential = credential
        self._open_to = open_to
        self._task: asyncio.Task[None] | None = None
        self.tokens = _session.Tokens()
        self.users: UserServiceAsyncStub

    def check_sign_in(self) -> None:
        if self._credential is not None:
            raise ValueError("the client has a credential, and needs no session")
        if self._open_to is not None:
            raise ValueError(f"a password is not sent to {self._open_to} without TLS: anybody on the way could read it")

    async def token(self, method: str | bytes, seconds: float | None) -> str:
        """The token to send, empty for none. Waits for it for so long; None: as long as a refresh takes."""
        if not _session.needs_token(method):
            return ""
        if self._credential is not None:
            given = self._credential if isinstance(self._credential, str) else self._credential()
            return _session.checked(await given if inspect.isawaitable(given) else given)
        asked = self.tokens.ask(self._refresh)
        if isinstance(asked, str):
            return asked
        try:
            await asyncio.wait_for(asked.done.wait(), seconds)
        except asyncio.TimeoutError:
            raise _session.failed(grpc.StatusCode.DEADLINE_EXCEEDED, "there was no token in time") from None
        return asked.result()

    def is_stale(self, token: str, error: errors.OpenOrderError) -> bool:
        return self._credential is None and self.tokens.is_stale(token, error)

    def _refresh(self, token: str) -> _session.Refresh:
        refresh = _session.Refresh(asyncio.Event())
        # The loop itself keeps no task alive.
        self._task = asyncio.get_running_loop().create_task(self._carry_out(refresh, token))
        return refresh

    async def _carry_out(self, refresh: _session.Refresh, token: str) -> None:
        request = RefreshTokenRequest(refresh_token=token)
        try:
            answer = await self.users.RefreshToken(request, timeout=_session.REFRESH_SECONDS)
        except errors.OpenOrderError as error:
            self.tokens.not_renewed(refresh, error)
        except (Exception, asyncio.CancelledError):
            # Such as a client that was closed. What went wrong has no text of the token's in it, and no use here.
            lost = _session.failed(grpc.StatusCode.UNAVAILABLE, "the access token could not be renewed")
            self.tokens.not_renewed(refresh, lost)
        else:
            self.tokens.renewed(refresh, answer.session)
        finally:
            refresh.done.set()


def _details(details: Any, timeout: float | None, token: str) -> grpc.aio.ClientCallDetails:
    metadata = grpc.aio.Metadata(*_session.with_token(details.metadata, token))
    return grpc.aio.ClientCallDetails(details.method, timeout, metadata, details.credentials, details.wait_for_ready)


class _Unary(grpc.aio.UnaryUnaryClientInterceptor):
    def __init__(self, retry: RetryPolicy, deadline_seconds: float, caller: _Caller) -> None:
        self._retry = retry
        self._budget = _policy.Budget(retry)
        self._deadline_seconds = deadline_seconds
        self._caller = caller

    async def intercept_unary_unary(self, continuation: Any, client_call_details: Any, request: Any) -> Any:
        request = _policy.with_request_id(request)
        details = client_call_details
        timeout = self._deadline_seconds if details.timeout is None else details.timeout
        attempts = _policy.Attempts(self._retry, self._budget, timeout)
        is_renewed = False
        while True:
            token = ""
            try:
                token = await self._caller.token(details.method, attempts.begin())
                call = await continuation(_details(details, attempts.seconds_left(), token), request)
                await call
            except grpc.RpcError as cause:
                error = errors.from_rpc_error(cause)
                if not is_renewed and self._caller.is_stale(token, error):
                    is_renewed = True
                    continue
                delay = attempts.delay_seconds(error)
                if delay is None:
                    raise error from None
            else:
                attempts.succeeded()
                return call
            await asyncio.sleep(delay)


class _Streams(grpc.aio.UnaryStreamClientInterceptor):
    def __init__(self, caller: _Caller) -> None:
        self._caller = caller

    async def intercept_unary_stream(self, continuation: Any, client_call_details: Any, request: Any) -> Any:
        details = client_call_details
        token = await self._caller.token(details.method, details.timeout)
        call = await continuation(_details(details, details.timeout, token), _policy.with_request_id(request))

        async def answers() -> AsyncIterator[Any]:
            with _policy.translated(lambda error: self._caller.is_stale(token, error)):
                async for answer in call:
                    yield answer

        return answers()
