"""What a type checker has to accept, and what it has to refuse: an ignored error that is none is an error (mypy)."""

from collections.abc import AsyncIterator, Iterator
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from typing_extensions import assert_type

    import openorder
    from openorder.operations.v1.dead_letter_pb2 import DeadLetter
    from openorder.operations.v1.operations_service_pb2 import ListDeadLettersRequest, ListDeadLettersResponse
    from openorder.order.v1.order_pb2 import Order, OrderStatus
    from openorder.order.v1.order_service_pb2 import CreateOrderRequest, GetOrderRequest, ListOrdersRequest

    def sync(client: openorder.Client) -> None:
        assert_type(client.orders.CreateOrder(CreateOrderRequest()).order, Order)
        assert_type(openorder.items(client.orders.ListOrders, ListOrdersRequest()), Iterator[Order])
        letters = ListDeadLettersRequest()
        assert_type(openorder.items(client.operations.ListDeadLetters, letters), Iterator[DeadLetter])
        assert_type(openorder.pages(client.operations.ListDeadLetters, letters), Iterator[ListDeadLettersResponse])
        assert_type(client.watch_order("1", OrderStatus.ORDER_STATUS_PAID), Iterator[Order])
        client.orders.CreateOrder(GetOrderRequest())  # type: ignore[arg-type]
        client.orders.CreateOrder(CreateOrderRequest(quantity=1))  # type: ignore[call-arg]
        client.watch_order("1", "PAID")  # type: ignore[arg-type]
        openorder.items(client.orders.ListOrders, letters)  # type: ignore[arg-type]
        openorder.connect("", credential=5)  # type: ignore[arg-type]

    async def aio(client: openorder.aio.Client) -> None:
        assert_type((await client.orders.CreateOrder(CreateOrderRequest())).order, Order)
        assert_type(openorder.aio.items(client.orders.ListOrders, ListOrdersRequest()), AsyncIterator[Order])
        assert_type(client.watch_order("1"), AsyncIterator[Order])
        _ = client.orders.CreateOrder(CreateOrderRequest()).order  # type: ignore[attr-defined]  # not awaited
