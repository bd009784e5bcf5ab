"""A service of users, whose tokens are `access-N` and `refresh-N`, and one of orders, which takes the last ones."""

import re
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import Any

import grpc

from openorder.order.v1 import order_service_pb2_grpc
from openorder.order.v1.order_pb2 import Order, OrderStatus
from openorder.order.v1.order_service_pb2 import GetOrderResponse, WatchOrderResponse
from openorder.user.v1 import user_service_pb2_grpc
from openorder.user.v1.user_pb2 import Session, User
from openorder.user.v1.user_service_pb2 import AuthenticateResponse, RefreshTokenResponse, SignOutResponse
from tests.unit.gateway import Refusal, error_info, refuse

PASSWORD = "correct horse battery staple"


def no(reason: str) -> Refusal:
    return Refusal(grpc.StatusCode.UNAUTHENTICATED, (error_info(reason),))


class Shop(user_service_pb2_grpc.UserServiceServicer, order_service_pb2_grpc.OrderServiceServicer):
    def __init__(self) -> None:
        self.address = ""
        self.life_seconds = 60.0
        """How long an access token says that it lives."""
        self.on_refresh: Callable[[int], Refusal | None] = lambda attempt: None
        """What a refresh is refused by, by its number from 1; it may take its time."""
        self.orders: list[str] = []
        """What came as authorization, in the order of arrival."""
        self.refreshes: list[str] = []
        self.sign_outs: list[str] = []
        self._lock = threading.Lock()
        self._number = 0
        self._refused_to = 0
        self._reason = ""

    def refuse(self, reason: str, up_to: int | None = None) -> None:
        """Refuses the access tokens of so far."""
        with self._lock:
            self._reason, self._refused_to = reason, self._number if up_to is None else up_to

    def _session(self) -> Session:
        with self._lock:
            self._number += 1
            session = Session(access_token=f"access-{self._number}", refresh_token=f"refresh-{self._number}")
        session.access_token_expire_time.FromNanoseconds(int((time.time() + self.life_seconds) * 1e9))
        return session

    def _check(self, context: Any) -> str:
        token = _authorization(context)
        with self._lock:
            self.orders.append(token)
            number = re.fullmatch(r"Bearer access-(\d+)", token)
            is_refused = number is not None and int(number[1]) <= self._refused_to
        if is_refused:
            refuse(context, no(self._reason))
        return token

    def Authenticate(self, request: Any, context: Any) -> Any:
        if request.password != PASSWORD or _authorization(context):
            refuse(context, no("CREDENTIALS_REFUSED"))
        return AuthenticateResponse(user=User(user_id="ada"), session=self._session())

    def RefreshToken(self, request: Any, context: Any) -> Any:
        with self._lock:
            self.refreshes.append(request.refresh_token + _authorization(context))
            attempt = len(self.refreshes)
        refusal = self.on_refresh(attempt)
        if refusal is not None:
            refuse(context, refusal)
        return RefreshTokenResponse(session=self._session())

    def SignOut(self, request: Any, context: Any) -> Any:
        self.sign_outs.append(request.refresh_token + _authorization(context))
        return SignOutResponse(ended_sessions=1)

    def GetOrder(self, request: Any, context: Any) -> Any:
        return GetOrderResponse(order=Order(order_id=self._check(context)))

    def WatchOrder(self, request: Any, context: Any) -> Any:
        version = 0
        while context.is_active():
            version += 1
            order = Order(order_id=self._check(context), version=version, status=OrderStatus.ORDER_STATUS_PENDING)
            yield WatchOrderResponse(order=order)
            time.sleep(0.01)


def _authorization(context: Any) -> str:
    return ",".join(value for key, value in context.invocation_metadata() if key == "authorization")


@contextmanager
def shops() -> Iterator[Shop]:
    shop = Shop()  # type: ignore[abstract]
    server = grpc.server(ThreadPoolExecutor(40))
    user_service_pb2_grpc.add_UserServiceServicer_to_server(shop, server)
    order_service_pb2_grpc.add_OrderServiceServicer_to_server(shop, server)
    shop.address = f"127.0.0.1:{server.add_insecure_port('127.0.0.1:0')}"
    server.start()
    yield shop
    server.stop(None).wait()
