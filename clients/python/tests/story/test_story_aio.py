"""The main steps of the story, told with the asyncio client."""

import asyncio
import uuid
from collections.abc import AsyncIterator
from typing import Any

import grpc
import pytest
import pytest_asyncio
from google.protobuf.json_format import ParseDict

import openorder
from openorder import errors, money
from openorder.cart.v1.cart_service_pb2 import AddItemRequest, CheckoutRequest, GetCartRequest
from openorder.order.v1.order_pb2 import Order, OrderStatus
from openorder.order.v1.order_service_pb2 import (
    CreateOrderRequest,
    GetOrderRequest,
    GetOrderTimelineRequest,
    ListOrdersRequest,
    RequestedLine,
    UpdateOrderStatusRequest,
)
from openorder.payment.v1.payment_service_pb2 import ChargeWalletRequest
from openorder.product.v1.product_service_pb2 import CreateProductRequest, GetProductRequest
from tests.story.system import gateway_control

Story = dict[str, Any]
Client = openorder.aio.Client


@pytest_asyncio.fixture
async def client(gateway: str, operator: tuple[str, str]) -> AsyncIterator[Client]:
    async with openorder.aio.connect(gateway) as client:
        await client.sign_in(*operator)
        yield client


async def create(client: Client, story: Story, customer_id: str, quantity: int = 1, **fields: Any) -> Order:
    line = RequestedLine(sku=story["product"]["request"]["sku"], quantity=quantity)
    return (await client.orders.CreateOrder(CreateOrderRequest(customer_id=customer_id, lines=[line], **fields))).order


async def test_product(client: Client, story: Story) -> None:
    wanted = story["product"]
    new = ParseDict(wanted["request"], CreateProductRequest())
    new.price.CopyFrom(money.from_minor(wanted["price_minor"], wanted["currency"]))
    await client.products.CreateProduct(new)
    product = (await client.products.GetProduct(GetProductRequest(sku=new.sku))).product
    assert money.to_minor(product.price) == wanted["price_minor"]


async def test_wallet(client: Client, story: Story) -> None:
    amount = money.from_minor(story["wallet"]["amount_minor"], story["product"]["currency"])
    charged = await client.payments.ChargeWallet(ChargeWalletRequest(user_id=story["wallet"]["user_id"], amount=amount))
    assert charged.wallet.balance == amount


async def test_order_watch_and_timeline(client: Client, story: Story) -> None:
    order = await create(client, story, story["order"]["customer_id"], story["order"]["quantity"])
    assert money.to_minor(order.total) == story["order"]["quantity"] * story["product"]["price_minor"]
    preparing = OrderStatus.ORDER_STATUS_PREPARING
    statuses = [seen.status async for seen in client.watch_order(order.order_id, preparing, timeout_seconds=60)]
    assert statuses == sorted(statuses)
    assert statuses[-1] == preparing
    timeline = GetOrderTimelineRequest(order_id=order.order_id, page_size=2)
    entries = openorder.aio.items(client.orders.GetOrderTimeline, timeline)
    assert [entry.event_type async for entry in entries] == story["timeline"]


async def test_cart(client: Client, story: Story) -> None:
    customer, sku = f"{story['cart']['customer_id']}-aio", story["product"]["request"]["sku"]
    cart = (await client.carts.AddItem(AddItemRequest(customer_id=customer, sku=sku, quantity=1))).cart
    order = (await client.carts.Checkout(CheckoutRequest(customer_id=customer, expected_total=cart.total))).order
    assert order.total == cart.total
    for _ in range(1_200):
        if not (await client.carts.GetCart(GetCartRequest(customer_id=customer))).cart.lines:
            return
        await asyncio.sleep(0.05)
    pytest.fail("what was ordered is still in the cart")


async def test_reused_request_id(client: Client, story: Story) -> None:
    request_id, customer_id = str(uuid.uuid4()), story["order"]["customer_id"]
    first = await create(client, story, customer_id, request_id=request_id)
    assert (await create(client, story, customer_id, request_id=request_id)).order_id == first.order_id
    with pytest.raises(errors.RequestIdReused):
        await create(client, story, customer_id, 2, request_id=request_id)


async def test_missing_order(client: Client) -> None:
    with pytest.raises(errors.OrderNotFound) as raised:
        await client.orders.GetOrder(GetOrderRequest(order_id=str(uuid.uuid4())))
    assert (raised.value.reason, raised.value.domain) == ("ORDER_NOT_FOUND", "openorder")


async def test_killed_gateway(client: Client, story: Story) -> None:
    wanted = story["killed_gateway"]
    orders_left = iter(range(wanted["orders"]))
    made: list[str] = []
    third_made = asyncio.Event()

    async def caller() -> None:
        for _ in orders_left:
            made.append((await create(client, story, wanted["customer_id"])).order_id)
            if len(made) >= wanted["orders"] // 3:
                third_made.set()

    async def killer() -> None:
        await third_made.wait()
        await asyncio.to_thread(gateway_control, "kill")
        assert len(made) < wanted["orders"], "the gateway was killed after the last order"

    await asyncio.gather(killer(), *(caller() for _ in range(wanted["callers"])))
    lists = ListOrdersRequest(customer_id=wanted["customer_id"])
    listed = [order.order_id async for order in openorder.aio.items(client.orders.ListOrders, lists)]
    assert len(listed) == wanted["orders"]
    assert sorted(listed) == sorted(made)


class Streams(grpc.aio.UnaryStreamClientInterceptor):
    """Counts the streams that are begun."""

    count = 0

    async def intercept_unary_stream(self, continuation: Any, client_call_details: Any, request: Any) -> Any:
        self.count += 1
        return await continuation(client_call_details, request)


async def test_watch_through_a_killed_gateway(
    client: Client, gateway: str, operator: tuple[str, str], story: Story
) -> None:
    order = await create(client, story, story["shipped"]["customer_id"])
    preparing = asyncio.Event()
    seen: list[Order] = []
    streams = Streams()

    async def watch() -> None:
        until = OrderStatus.ORDER_STATUS_DELIVERED
        async with openorder.aio.connect(gateway, interceptors=[streams]) as watching:
            await watching.sign_in(*operator)
            async for seen_order in watching.watch_order(order.order_id, until, timeout_seconds=90):
                seen.append(seen_order)
                if seen_order.status == OrderStatus.ORDER_STATUS_PREPARING:
                    preparing.set()

    async def move() -> None:
        await asyncio.wait_for(preparing.wait(), 30)
        await asyncio.to_thread(gateway_control, "kill")
        previous, *rest = (OrderStatus.Value(f"ORDER_STATUS_{name}") for name in ("PREPARING", "SHIPPED", "DELIVERED"))
        for current in rest:
            request = UpdateOrderStatusRequest(
                order_id=order.order_id, previous_status=previous, current_status=current
            )
            await client.orders.UpdateOrderStatus(request)
            previous = current

    await asyncio.gather(watch(), move())
    assert streams.count >= 2, "nothing broke"
    versions = [seen_order.version for seen_order in seen]
    assert versions == sorted(set(versions))
    assert seen[-1].status == OrderStatus.ORDER_STATUS_DELIVERED
