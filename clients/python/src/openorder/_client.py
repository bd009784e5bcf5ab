"""The synchronous client."""

import threading
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from types import TracebackType
from typing import Any

import grpc

from openorder import _policy, _session, errors
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

DEADLINE_SECONDS = 10.0


@dataclass(frozen=True)
class TLS:
    """TLS to the gateway. All of it is PEM, as bytes."""

    ca_certificates: bytes | None = None
    """Who may sign the gateway's certificate; None: the authorities that grpc brings."""
    certificate_chain: bytes | None = None
    """The caller's own certificate, where the gateway asks for one."""
    private_key: bytes | None = field(default=None, repr=False)
    """The key of that certificate."""

    def credentials(self) -> grpc.ChannelCredentials:
        return grpc.ssl_channel_credentials(self.ca_certificates, self.private_key, self.certificate_chain)


def connect(
    address: str,
    *,
    tls: TLS | None = None,
    credential: str | Callable[[], str] | None = None,
    insecure_credentials: bool = False,
    deadline_seconds: float = DEADLINE_SECONDS,
    retry: RetryPolicy = RetryPolicy(),
    interceptors: Sequence[Any] = (),
    channel_options: Sequence[tuple[str, Any]] = (),
) -> "Client":
    """A client of the gateway at `address`, `host:port`. It connects with the first call. For threads.

    tls: None is plaintext. credential: an API key or an access token, or a function that gives one for each attempt,
    such as `openorder.environment_token`; an empty one is not sent. Who signs in by password uses `Client.sign_in`
    instead. Raises `ValueError` where a credential would go in plaintext to another machine, unless
    `insecure_credentials` says that it may. deadline_seconds: of a unary call that gives no `timeout` of its own, over
    all its attempts. interceptors: grpc's own, around each attempt; they see what is sent, the token as well.
    channel_options: grpc's own, beside and before the client's.
    """
    is_open = _policy.is_open(address, tls is not None, insecure_credentials, credential)
    options = _policy.channel_options(address, tls is not None, retry, channel_options)
    if tls is None:
        channel = grpc.insecure_channel(address, options)
    else:
        channel = grpc.secure_channel(address, tls.credentials(), options)
    caller = _Caller(credential, address if is_open else None)
    interceptor = _Interceptor(retry, deadline_seconds, caller)
    return Client(channel, grpc.intercept_channel(channel, interceptor, *interceptors), retry, caller)


class Client:
    """The services of OpenOrder, as their generated stubs; see `connect`. A context manager.

    Every unary method takes `timeout` (seconds, over all attempts), retries as its `RetryPolicy` says, fills in
    `request_id` where it is empty, and raises `OpenOrderError`.
    """

    def __init__(self, channel: grpc.Channel, intercepted: grpc.Channel, retry: RetryPolicy, caller: "_Caller") -> None:
        """Made by `connect`."""
        self._channel = channel
        self._retry = retry
        self._caller = caller
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
        caller.users = self.users

    def sign_in(self, email: str, password: str, *, timeout: float | None = None) -> User:
        """Signs the client in: from then on, all its calls are made as this user.

        Its access tokens are renewed before they end. It takes the place of the session of before, which is not ended
        by that. A call that is refused because its token has ended, or was revoked, is sent once more with a new one;
        when there is none, because the session has ended, that call and all later ones raise `errors.SessionEnded`.

        Raises `errors.CredentialsRefused`, `errors.SignInDelayed`; `ValueError` where the client has a credential, and
        where the password would go in plaintext to another machine.
        """
        self._caller.check_sign_in()
        answer = self.users.Authenticate(AuthenticateRequest(email=email, password=password), timeout=timeout)
        self._caller.tokens.begin(answer.session)
        return answer.user

    def sign_out(self, *, timeout: float | None = None) -> None:
        """Ends the session, and forgets its tokens also where the service cannot be told: then it raises why.

        Without a session it does nothing.
        """
        token = self._caller.tokens.forget()
        if token:
            with _session.without_token():
                self.users.SignOut(SignOutRequest(refresh_token=token), timeout=timeout)

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


class _Caller:
    """What gives each attempt its token."""

    def __init__(self, credential: str | Callable[[], str] | None, open_to: str | None) -> None:
        self._credential = credential
        self._open_to = open_to
        self.tokens = _session.Tokens()
        self.users: UserServiceStub

    def check_sign_in(self) -> None:
        if self._credential is not None:
            raise ValueError("the client has a credential, and needs no session")
        if self._open_to is not None:
            raise ValueError(f"a password is not sent to {self._open_to} without TLS: anybody on the way could read it")

    def token(self, method: str | bytes, seconds: float | None) -> str:
        """The token to send, empty for none. Waits for it for so long; None: as long as a refresh takes."""
        if not _session.needs_token(method):
            return ""
        if self._credential is not None:
            return _session.checked(self._credential if isinstance(self._credential, str) else self._credential())
        asked = self.tokens.ask(self._refresh)
        if isinstance(asked, str):
            return asked
        if not asked.done.wait(seconds):
            raise _session.failed(grpc.StatusCode.DEADLINE_EXCEEDED, "there was no token in time")
        return asked.result()

    def is_stale(self, token: str, error: errors.OpenOrderError) -> bool:
        return self._credential is None and self.tokens.is_stale(token, error)

    def _refresh(self, token: str) -> _session.Refresh:
        refresh = _session.Refresh(threading.Event())

        def carry_out() -> None:
            request = RefreshTokenRequest(refresh_token=token)
            try:
                answer = self.users.RefreshToken(request, timeout=_session.REFRESH_SECONDS)
            except errors.OpenOrderError as error:
                self.tokens.not_renewed(refresh, error)
            except Exception:
                # Such as a client that was closed. What went wrong has no text of the token's in it, and no use here.
                lost = _session.failed(grpc.StatusCode.UNAVAILABLE, "the access token could not be renewed")
                self.tokens.not_renewed(refresh, lost)
            else:
                self.tokens.renewed(refresh, answer.session)
            finally:
                refresh.done.set()

        threading.Thread(target=carry_out, name="openorder-refresh", daemon=True).start()
        return refresh


class _Interceptor(grpc.UnaryUnaryClientInterceptor, grpc.UnaryStreamClientInterceptor):
    def __init__(self, retry: RetryPolicy, deadline_seconds: float, caller: _Caller) -> None:
        self._retry = retry
        self._budget = _policy.Budget(retry)
        self._deadline_seconds = deadline_seconds
        self._caller = caller

    def intercept_unary_unary(self, continuation: Any, details: Any, request: Any) -> Any:
        request = _policy.with_request_id(request)
        timeout = self._deadline_seconds if details.timeout is None else details.timeout
        attempts = _policy.Attempts(self._retry, self._budget, timeout)
        is_renewed = False
        while True:
            try:
                token = self._caller.token(details.method, attempts.begin())
            except errors.OpenOrderError as no_token:
                error = no_token
            else:
                call = continuation(_details(details, attempts.seconds_left(), token), request)
                cause = call.exception()
                if cause is None:
                    attempts.succeeded()
                    return call
                if not isinstance(cause, grpc.RpcError):
                    raise cause
                error = errors.from_rpc_error(cause)
                if not is_renewed and self._caller.is_stale(token, error):
                    is_renewed = True
                    continue
            delay = attempts.delay_seconds(error)
            if delay is None:
                raise error from None
            time.sleep(delay)

    def intercept_unary_stream(self, continuation: Any, details: Any, request: Any) -> Any:
        token = self._caller.token(details.method, details.timeout)
        call = continuation(_details(details, details.timeout, token), _policy.with_request_id(request))
        return _Stream(call, lambda error: self._caller.is_stale(token, error))


def _details(details: Any, timeout: float | None, token: str) -> _Details:
    return _Details(
        details.method,
        timeout,
        _session.with_token(details.metadata, token),
        details.credentials,
        details.wait_for_ready,
        details.compression,
    )


class _Stream:
    """A call with many answers: grpc's own, but for the errors."""

    def __init__(self, call: Any, is_stale: Callable[[errors.OpenOrderError], bool]) -> None:
        self._call = call
        self._is_stale = is_stale

    def __iter__(self) -> "_Stream":
        return self

    def __next__(self) -> Any:
        with _policy.translated(self._is_stale):
            return next(self._call)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._call, name)
