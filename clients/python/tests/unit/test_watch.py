"""Watching an order over streams that break."""

import asyncio
import time
from typing import Any

import grpc
import pytest

import openorder
from openorder import RetryPolicy, errors
from openorder.order.v1.order_pb2 import Order, OrderStatus
from openorder.order.v1.order_service_pb2 import WatchOrderResponse
from tests.unit.gateway import Refusal, Start, error_info, retry_after

PENDING, CONFIRMED, PREPARING = (OrderStatus.Value(f"ORDER_STATUS_{n}") for n in ("PENDING", "CONFIRMED", "PREPARING"))
DELIVERED, REJECTED = OrderStatus.ORDER_STATUS_DELIVERED, OrderStatus.ORDER_STATUS_REJECTED
BROKEN = Refusal(grpc.StatusCode.UNAVAILABLE)
FAST = RetryPolicy(max_attempts=4, initial_backoff_seconds=0.01)


def at(version: int, status: OrderStatus.ValueType) -> WatchOrderResponse:
    return WatchOrderResponse(order=Order(order_id="1", version=version, status=status))


def watch_sync(address: str, retry: RetryPolicy, *what: Any, **options: Any) -> list[Order]:
    with openorder.connect(address, retry=retry) as client:
        return list(client.watch_order("1", *what, **options))


def watch_aio(address: str, retry: RetryPolicy, *what: Any, **options: Any) -> list[Order]:
    async def run() -> list[Order]:
        async with openorder.aio.connect(address, retry=retry) as client:
            return [order async for order in client.watch_order("1", *what, **options)]

    return asyncio.run(run())


@pytest.fixture(params=[watch_sync, watch_aio], ids=["sync", "aio"])
def watch(request: pytest.FixtureRequest) -> Any:
    return request.param


def test_it_goes_on_and_gives_no_version_twice(start_gateway: Start, watch: Any) -> None:
    overloaded = Refusal(grpc.StatusCode.RESOURCE_EXHAUSTED, (error_info("OVERLOADED"), retry_after(0.01)))
    gateway = start_gateway(
        [BROKEN],
        [at(1, PENDING), at(2, CONFIRMED), BROKEN],
        [overloaded],
        [at(2, CONFIRMED), at(4, PREPARING), BROKEN],
        [at(4, PREPARING), at(5, DELIVERED)],
    )
    assert [order.version for order in watch(gateway.address, FAST)] == [1, 2, 4, 5]
    assert len(gateway.asked) == 5


def test_it_ends_at_the_status_that_was_named(start_gateway: Start, watch: Any) -> None:
    gateway = start_gateway([at(1, PENDING), at(2, PREPARING), BROKEN])
    assert [order.version for order in watch(gateway.address, FAST, PREPARING)] == [1, 2]
    assert [asked.request.until for asked in gateway.asked] == [PREPARING]


@pytest.mark.parametrize("final", [DELIVERED, REJECTED, OrderStatus.ORDER_STATUS_CANCELLED])
def test_it_ends_at_a_final_status(start_gateway: Start, watch: Any, final: OrderStatus.ValueType) -> None:
    gateway = start_gateway([at(1, PENDING), at(2, final), BROKEN])
    assert [order.version for order in watch(gateway.address, FAST, PREPARING)] == [1, 2]


def test_it_ends_where_the_server_says_so(start_gateway: Start, watch: Any) -> None:
    gateway = start_gateway([at(3, OrderStatus.ORDER_STATUS_SHIPPED)])
    assert len(watch(gateway.address, FAST, PREPARING)) == 1


def test_streams_without_anything_new_are_bounded(start_gateway: Start, watch: Any) -> None:
    gateway = start_gateway([at(1, PENDING), BROKEN])
    with pytest.raises(errors.Unavailable):
        watch(gateway.address, FAST)
    assert len(gateway.asked) == 1 + FAST.max_attempts, "the first one brought something"


def test_something_new_begins_the_count_again(start_gateway: Start, watch: Any) -> None:
    streams = [[at(version, PENDING), BROKEN] for version in range(1, 9)]
    gateway = start_gateway(*streams, [at(9, DELIVERED)])
    assert len(watch(gateway.address, FAST)) == 9


def test_a_stream_that_stood_for_a_while_begins_the_count_again(start_gateway: Start, watch: Any) -> None:
    policy = RetryPolicy(max_attempts=3, initial_backoff_seconds=0.01, max_backoff_seconds=0.05)

    def standing() -> Any:
        yield at(1, PENDING)
        time.sleep(3 * policy.max_backoff_seconds)
        yield BROKEN

    gateway = start_gateway(*(standing() for _ in range(2 * policy.max_attempts)), [at(2, DELIVERED)])
    assert len(watch(gateway.address, policy)) == 2


def test_other_errors_end_it(start_gateway: Start, watch: Any) -> None:
    gateway = start_gateway([Refusal(grpc.StatusCode.NOT_FOUND, (error_info("ORDER_NOT_FOUND"),))])
    with pytest.raises(errors.OrderNotFound):
        watch(gateway.address, FAST)
    assert len(gateway.asked) == 1


def test_the_timeout_is_of_the_whole(start_gateway: Start, watch: Any) -> None:
    def silent() -> Any:
        yield at(1, PENDING)
        time.sleep(4)

    gateway = start_gateway([BROKEN], silent())
    began = time.monotonic()
    with pytest.raises(errors.DeadlineExceeded):
        watch(gateway.address, FAST, timeout_seconds=1)
    assert 1 <= time.monotonic() - began < 3.5
