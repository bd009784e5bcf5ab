"""A gateway in this process, that answers as a test says, and everything it was asked."""

import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import grpc
from google.protobuf import any_pb2, duration_pb2
from google.protobuf.message import Message
from google.rpc import error_details_pb2, status_pb2
from grpc_status import rpc_status

from openorder.operations.v1 import operations_service_pb2_grpc
from openorder.order.v1 import order_service_pb2, order_service_pb2_grpc
from openorder.order.v1.order_pb2 import Order


@dataclass
class Refusal:
    """An answer that is an error."""

    code: grpc.StatusCode
    details: tuple[Message, ...] = ()
    message: str = "no"


def retry_after(seconds: float) -> error_details_pb2.RetryInfo:
    whole = int(seconds)
    delay = duration_pb2.Duration(seconds=whole, nanos=round((seconds - whole) * 1e9))
    return error_details_pb2.RetryInfo(retry_delay=delay)


def error_info(reason: str, **metadata: str) -> error_details_pb2.ErrorInfo:
    return error_details_pb2.ErrorInfo(reason=reason, domain="openorder", metadata=metadata)


def refuse(context: Any, refusal: Refusal) -> None:
    status = status_pb2.Status(code=refusal.code.value[0], message=refusal.message)
    for detail in refusal.details:
        packed = any_pb2.Any()
        packed.Pack(detail)
        status.details.append(packed)
    context.abort_with_status(rpc_status.to_status(status))


@dataclass
class Asked:
    """A call that the gateway got."""

    request: Any
    metadata: dict[str, str]
    seconds_left: float


@dataclass
class Gateway:
    """Answers each call with the next of `answers`; the last one is repeated."""

    address: str = ""
    answers: list[Any] = field(default_factory=list)
    asked: list[Asked] = field(default_factory=list)
    lock: threading.Lock = field(default_factory=threading.Lock)

    def take(self, request: Any, context: Any) -> Any:
        with self.lock:
            metadata = {key: value for key, value in context.invocation_metadata() if isinstance(value, str)}
            self.asked.append(Asked(request, metadata, context.time_remaining() or float("inf")))
            answer = self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]
        if isinstance(answer, Refusal):
            refuse(context, answer)
        return answer


class Orders(order_service_pb2_grpc.OrderServiceServicer):
    def __init__(self, gateway: Gateway) -> None:
        self.gateway = gateway

    def CreateOrder(self, request: Any, context: Any) -> Any:
        return self.gateway.take(request, context)

    def GetOrder(self, request: Any, context: Any) -> Any:
        return self.gateway.take(request, context)

    def ListOrders(self, request: Any, context: Any) -> Any:
        return self.gateway.take(request, context)

    def WatchOrder(self, request: Any, context: Any) -> Any:
        for answer in self.gateway.take(request, context):
            if isinstance(answer, Refusal):
                refuse(context, answer)
            yield answer


class Operations(operations_service_pb2_grpc.OperationsServiceServicer):
    def __init__(self, gateway: Gateway) -> None:
        self.gateway = gateway

    def ListAuditEntries(self, request: Any, context: Any) -> Any:
        return self.gateway.take(request, context)

    def ListDeadLetters(self, request: Any, context: Any) -> Any:
        return self.gateway.take(request, context)

    def CancelReplay(self, request: Any, context: Any) -> Any:
        return self.gateway.take(request, context)

    def ReplayEvents(self, request: Any, context: Any) -> Any:
        yield from self.gateway.take(request, context)


Start = Callable[..., Gateway]


@contextmanager
def gateways() -> Iterator[Start]:
    """A function that starts a gateway with answers; all of them end with the block."""
    servers = []

    def start(*answers: Any, credentials: grpc.ServerCredentials | None = None) -> Gateway:
        gateway = Gateway(answers=list(answers))
        server = grpc.server(ThreadPoolExecutor(8))
        order_service_pb2_grpc.add_OrderServiceServicer_to_server(Orders(gateway), server)  # type: ignore[abstract]
        operations_service_pb2_grpc.add_OperationsServiceServicer_to_server(Operations(gateway), server)  # type: ignore[abstract]
        if credentials is None:
            port = server.add_insecure_port("127.0.0.1:0")
        else:
            port = server.add_secure_port("127.0.0.1:0", credentials)
        gateway.address = f"127.0.0.1:{port}"
        server.start()
        servers.append(server)
        return gateway

    yield start
    for server in servers:
        server.stop(None).wait()


def order_made(order_id: str = "1") -> order_service_pb2.CreateOrderResponse:
    return order_service_pb2.CreateOrderResponse(order=Order(order_id=order_id, version=1))
