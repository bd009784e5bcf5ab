"""Retries, deadlines, request ids: both clients, against a gRPC server in this process."""

import asyncio
import inspect
import time
from typing import Any

import grpc
import pytest

import openorder
from openorder import RetryPolicy, errors
from openorder._policy import Budget
from openorder.operations.v1.operations_service_pb2 import (
    CancelReplayRequest,
    CancelReplayResponse,
    ListAuditEntriesRequest,
    ListAuditEntriesResponse,
    ReplayEventsRequest,
    ReplayEventsResponse,
)
from openorder.order.v1.order_service_pb2 import CreateOrderRequest, GetOrderRequest, GetOrderResponse
from tests.unit.gateway import Refusal, Start, error_info, order_made, retry_after

UNAVAILABLE = Refusal(grpc.StatusCode.UNAVAILABLE)
FAST = RetryPolicy(initial_backoff_seconds=0.01, max_backoff_seconds=0.02)


class Caller:
    """Calls a method of either client, and waits."""

    def __init__(self, connect: Any) -> None:
        self.connect = connect

    def __call__(
        self, address: str, service: str, method: str, *requests: Any, timeout: Any = None, **options: Any
    ) -> Any:
        """The last answer; of a stream, the list of its answers."""
        if self.connect is openorder.connect:
            with self.connect(address, **options) as client:
                call = getattr(getattr(client, service), method)
                for request in requests:
                    answer = call(request, timeout=timeout)
                return list(answer) if hasattr(answer, "__next__") else answer

        async def run() -> Any:
            async with self.connect(address, **options) as client:
                call = getattr(getattr(client, service), method)
                for request in requests:
                    answer = call(request, timeout=timeout)
                    answer = [one async for one in answer] if hasattr(answer, "__aiter__") else await answer
                return answer

        return asyncio.run(run())


@pytest.fixture(params=[openorder.connect, openorder.aio.connect], ids=["sync", "aio"])
def call(request: pytest.FixtureRequest) -> Caller:
    return Caller(request.param)


def test_unavailable_is_tried_again_with_the_same_request_id(start_gateway: Start, call: Caller) -> None:
    gateway = start_gateway(UNAVAILABLE, UNAVAILABLE, order_made("7"))
    request = CreateOrderRequest(customer_id="anna")
    assert call(gateway.address, "orders", "CreateOrder", request, retry=FAST).order.order_id == "7"
    ids = [asked.request.request_id for asked in gateway.asked]
    assert len(ids) == 3
    assert len(set(ids)) == 1
    assert len(ids[0]) == 36
    assert request == CreateOrderRequest(customer_id="anna"), "the caller's message is its own"


def test_each_call_has_a_request_id_of_its_own_and_a_given_one_is_kept(start_gateway: Start, call: Caller) -> None:
    gateway = start_gateway(order_made())
    given = CreateOrderRequest(request_id="mine")
    call(gateway.address, "orders", "CreateOrder", CreateOrderRequest(), CreateOrderRequest(), given)
    first, second, third = (asked.request.request_id for asked in gateway.asked)
    assert first != second
    assert third == "mine"


def test_a_request_id_that_names_another_call_is_not_made_up(start_gateway: Start, call: Caller) -> None:
    gateway = start_gateway(ListAuditEntriesResponse(), CancelReplayResponse(), [ReplayEventsResponse()])
    call(gateway.address, "operations", "ListAuditEntries", ListAuditEntriesRequest())
    call(gateway.address, "operations", "CancelReplay", CancelReplayRequest())
    # A stream that does something has one like any other call.
    assert call(gateway.address, "operations", "ReplayEvents", ReplayEventsRequest()) == [ReplayEventsResponse()]
    assert [bool(asked.request.request_id) for asked in gateway.asked] == [False, False, True]


def test_resource_exhausted_is_tried_again_after_the_named_wait(start_gateway: Start, call: Caller) -> None:
    gateway = start_gateway(
        Refusal(grpc.StatusCode.RESOURCE_EXHAUSTED, (error_info("OVERLOADED"), retry_after(0.3))), order_made()
    )
    began = time.monotonic()
    call(gateway.address, "orders", "CreateOrder", CreateOrderRequest(), retry=FAST)
    assert 0.3 <= time.monotonic() - began < 3
    assert len(gateway.asked) == 2


@pytest.mark.parametrize(
    "code",
    [code for code in grpc.StatusCode if code not in (grpc.StatusCode.OK, grpc.StatusCode.UNAVAILABLE)],
    ids=lambda code: code.name,
)
def test_nothing_else_is_tried_again(start_gateway: Start, call: Caller, code: grpc.StatusCode) -> None:
    # RetryInfo does not make them retryable; RESOURCE_EXHAUSTED it would.
    details = () if code == grpc.StatusCode.RESOURCE_EXHAUSTED else (retry_after(0.01),)
    gateway = start_gateway(Refusal(code, details))
    with pytest.raises(errors.BY_CODE[code]) as raised:
        call(gateway.address, "orders", "CreateOrder", CreateOrderRequest(), retry=FAST)
    assert raised.value.code() == code
    assert len(gateway.asked) == 1


def test_attempts_are_bounded(start_gateway: Start, call: Caller) -> None:
    gateway = start_gateway(UNAVAILABLE)
    policy = RetryPolicy(max_attempts=4, initial_backoff_seconds=0.001)
    with pytest.raises(errors.Unavailable):
        call(gateway.address, "orders", "CreateOrder", CreateOrderRequest(), retry=policy)
    assert len(gateway.asked) == 4


def test_a_wait_beyond_the_deadline_is_not_begun(start_gateway: Start, call: Caller) -> None:
    gateway = start_gateway(Refusal(grpc.StatusCode.UNAVAILABLE, (retry_after(30),)))
    began = time.monotonic()
    with pytest.raises(errors.Unavailable) as raised:
        call(gateway.address, "orders", "CreateOrder", CreateOrderRequest(), deadline_seconds=5)
    assert time.monotonic() - began < 4
    assert raised.value.retry_delay_seconds == 30
    assert len(gateway.asked) == 1


def test_all_attempts_share_one_deadline(start_gateway: Start, call: Caller) -> None:
    gateway = start_gateway(
        Refusal(grpc.StatusCode.UNAVAILABLE, (retry_after(0.4),)),
        Refusal(grpc.StatusCode.UNAVAILABLE, (retry_after(0.4),)),
        order_made(),
    )
    # Below 10 s: longer ones travel as whole seconds.
    call(gateway.address, "orders", "CreateOrder", CreateOrderRequest(), timeout=9)
    first, second, third = (asked.seconds_left for asked in gateway.asked)
    # But for what is rounded up on the way.
    assert 5 < first <= 9.1
    assert second < first - 0.35
    assert third < second - 0.35


def test_the_default_deadline(start_gateway: Start, call: Caller) -> None:
    gateway = start_gateway(GetOrderResponse())
    call(gateway.address, "orders", "GetOrder", GetOrderRequest())
    call(gateway.address, "orders", "GetOrder", GetOrderRequest(), deadline_seconds=3)
    call(gateway.address, "orders", "GetOrder", GetOrderRequest(), deadline_seconds=3, timeout=20)
    for asked, limit in zip(gateway.asked, (10, 3, 20), strict=True):
        # On its way it is rounded up.
        assert limit - 2 < asked.seconds_left < limit + 0.1


def test_a_budget_is_shared_by_the_calls_of_a_client(start_gateway: Start, call: Caller) -> None:
    gateway = start_gateway(UNAVAILABLE, order_made(), UNAVAILABLE, order_made(), UNAVAILABLE, order_made())
    policy = RetryPolicy(initial_backoff_seconds=0.001, budget_tokens_max=2, budget_tokens_per_success=0)
    with pytest.raises(errors.Unavailable):
        call(gateway.address, "orders", "CreateOrder", *[CreateOrderRequest()] * 3, retry=policy)
    assert len(gateway.asked) == 5, "two calls with a retry each, and one that had no token left"


def test_a_success_gives_a_part_of_a_token_back() -> None:
    budget = Budget(RetryPolicy(budget_tokens_max=1, budget_tokens_per_success=0.25))
    budget.give_back()
    assert [budget.take(), budget.take()] == [True, False], "never more than the most"
    for _ in range(3):
        budget.give_back()
    assert not budget.take()
    budget.give_back()
    assert budget.take()


def test_waits_grow_at_random_up_to_the_most() -> None:
    policy = RetryPolicy()
    error = errors.Unavailable(grpc.StatusCode.UNAVAILABLE)
    for attempts, most in ((1, 0.1), (2, 0.2), (3, 0.4), (7, 5.0), (9, 5.0)):
        delays = [policy.delay_seconds(error, attempts) or 0 for _ in range(300)]
        assert 0.8 * most < max(delays) <= most
        assert min(delays) < 0.2 * most
    assert policy.delay_seconds(error, 10) is None
    assert RetryPolicy(max_attempts=10**6).delay_seconds(error, 10**5) is not None


def test_a_server_that_is_not_there_is_unavailable(call: Caller) -> None:
    with pytest.raises(errors.Unavailable) as raised:
        call("127.0.0.1:1", "orders", "GetOrder", GetOrderRequest(), retry=RetryPolicy(max_attempts=2))
    assert raised.value.reason == ""


@pytest.mark.parametrize("wrong", [{"max_attempts": 0}, {"initial_backoff_seconds": -1.0}])
def test_policies_that_make_no_sense(wrong: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match="is"):
        RetryPolicy(**wrong)


def test_both_clients_have_the_same_options() -> None:
    sync = inspect.signature(openorder.connect).parameters
    assert sync.keys() == inspect.signature(openorder.aio.connect).parameters.keys()
    for name, parameter in sync.items():
        assert parameter.default == inspect.signature(openorder.aio.connect).parameters[name].default
