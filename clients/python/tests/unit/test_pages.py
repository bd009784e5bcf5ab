import importlib
import pkgutil
import typing
from typing import Any

import pytest

import openorder
from openorder import _pages
from openorder.operations.v1.dead_letter_pb2 import DeadLetter
from openorder.operations.v1.operations_service_pb2 import (
    ListDeadLettersRequest,
    ListDeadLettersResponse,
    UnreachableService,
)
from openorder.order.v1.order_pb2 import Order
from openorder.order.v1.order_service_pb2 import ListOrdersRequest, ListOrdersResponse
from tests.unit.gateway import Start

PAGES = (
    ListOrdersResponse(orders=[Order(order_id="1"), Order(order_id="2")], next_page_token="a"),
    ListOrdersResponse(next_page_token="b"),
    ListOrdersResponse(orders=[Order(order_id="3")]),
)


def test_items_go_over_all_pages_also_empty_ones(start_gateway: Start) -> None:
    gateway = start_gateway(*PAGES)
    request = ListOrdersRequest(customer_id="anna", page_size=2)
    with openorder.connect(gateway.address) as client:
        orders = openorder.items(client.orders.ListOrders, request)
        assert gateway.asked == []
        assert next(orders).order_id == "1"
        assert len(gateway.asked) == 1, "a page is asked for when it is needed"
        assert [order.order_id for order in orders] == ["2", "3"]
    assert [asked.request.page_token for asked in gateway.asked] == ["", "a", "b"]
    assert all(asked.request.customer_id == "anna" and asked.request.page_size == 2 for asked in gateway.asked)
    assert request.page_token == ""


async def test_asyncio_does_the_same(start_gateway: Start) -> None:
    gateway = start_gateway(*PAGES)
    async with openorder.aio.connect(gateway.address) as client:
        orders = openorder.aio.items(client.orders.ListOrders, ListOrdersRequest())
        assert [order.order_id async for order in orders] == ["1", "2", "3"]
    assert [asked.request.page_token for asked in gateway.asked] == ["", "a", "b"]


def test_pages_have_what_stands_beside_the_items(start_gateway: Start) -> None:
    gateway = start_gateway(
        ListDeadLettersResponse(dead_letters=[DeadLetter()], unreachable=[UnreachableService(role="payment")])
    )
    with openorder.connect(gateway.address) as client:
        (page,) = openorder.pages(client.operations.ListDeadLetters, ListDeadLettersRequest())
        assert [service.role for service in page.unreachable] == ["payment"]
        assert list(openorder.items(client.operations.ListDeadLetters, ListDeadLettersRequest())) == [DeadLetter()]


def list_methods() -> list[Any]:
    modules = pkgutil.walk_packages(openorder.__path__, "openorder.")
    return [
        method
        for module in modules
        if module.name.endswith("_service_pb2")
        for service in importlib.import_module(module.name).DESCRIPTOR.services_by_name.values()
        for method in service.methods
        if "next_page_token" in method.output_type.fields_by_name
    ]


def test_there_are_list_methods() -> None:
    assert len(list_methods()) >= 11


@pytest.mark.skipif(not hasattr(typing, "get_overloads"), reason="Python 3.11 remembers overloads")
@pytest.mark.parametrize("helper", [_pages.items, _pages.aitems], ids=["sync", "aio"])
def test_the_items_of_every_list_method_have_their_type(helper: Any) -> None:
    typed = {}
    for overload in typing.get_overloads(helper):  # type: ignore[attr-defined]  # Python 3.11
        hints = typing.get_type_hints(overload)
        answer = typing.get_args(hints["method"])[1]
        answer = typing.get_args(answer)[0] if typing.get_args(answer) else answer
        if hasattr(answer, "DESCRIPTOR"):
            typed[answer.DESCRIPTOR.full_name] = typing.get_args(hints["return"])[0].DESCRIPTOR.full_name
    for method in list_methods():
        first = min((f for f in method.output_type.fields if f.is_repeated), key=lambda f: f.number)
        assert typed[method.output_type.full_name] == first.message_type.full_name
