"""The story of clients/STORY.md, told with the synchronous client: one test a step, in the order of the table.

Those about who calls are in `test_story_people.py`, the last of the files, when the token of the beginning has ended.
"""

import collections
import concurrent.futures
import itertools
import json
import os
import re
import subprocess
import sys
import threading
import time
import urllib.request
import uuid
from pathlib import Path
from typing import Any

import confluent_kafka
import grpc
import pytest
from google.protobuf.json_format import ParseDict
from opentelemetry import trace
from opentelemetry.exporter.otlp.proto.grpc.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor

import openorder
from openorder import errors, money
from openorder.cart.v1.cart_service_pb2 import AddItemRequest, CheckoutRequest, GetCartRequest, MergeCartRequest
from openorder.events import Event, Reader, UnreadableRecord
from openorder.order.v1 import order_events_pb2
from openorder.order.v1.order_pb2 import Order, OrderStatus, ReservationMode
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
from tests.story.system import Program, gateway_control, variable

PACKAGE = Path(__file__).parents[2]
TOPIC = "order.lifecycle.v1"
Story = dict[str, Any]


@pytest.fixture(scope="module")
def order(client: openorder.Client, story: Story) -> Order:
    """The order that the story is about."""
    return create(client, story, story["order"]["customer_id"], story["order"]["quantity"])


@pytest.fixture(scope="module")
def group(story: Story) -> str:
    return f"story-python-{uuid.uuid4()}"


def request(story: Story, customer_id: str, quantity: int = 1, **fields: Any) -> CreateOrderRequest:
    line = RequestedLine(sku=story["product"]["request"]["sku"], quantity=quantity)
    return CreateOrderRequest(customer_id=customer_id, lines=[line], **fields)


def create(client: openorder.Client, story: Story, customer_id: str, quantity: int = 1) -> Order:
    return client.orders.CreateOrder(request(story, customer_id, quantity)).order


def orders_of(client: openorder.Client, customer_id: str) -> list[Order]:
    return list(openorder.items(client.orders.ListOrders, ListOrdersRequest(customer_id=customer_id)))


def test_product(client: openorder.Client, story: Story) -> None:
    for name in ("product", "sold_out"):
        wanted = story[name]
        new = ParseDict(wanted["request"], CreateProductRequest())
        new.price.CopyFrom(money.from_minor(wanted["price_minor"], wanted["currency"]))
        client.products.CreateProduct(new)
        product = client.products.GetProduct(GetProductRequest(sku=new.sku)).product
        assert product.price == new.price
        assert money.to_minor(product.price) == wanted["price_minor"]


def test_wallet(client: openorder.Client, story: Story) -> None:
    amount = money.from_minor(story["wallet"]["amount_minor"], story["product"]["currency"])
    charge = ChargeWalletRequest(user_id=story["wallet"]["user_id"], amount=amount)
    wallet = client.payments.ChargeWallet(charge).wallet
    assert money.to_minor(wallet.balance) == story["wallet"]["amount_minor"]


def test_order(client: openorder.Client, story: Story) -> None:
    wanted = request(story, story["order"]["customer_id"], story["order"]["quantity"])
    order = client.orders.CreateOrder(wanted).order
    assert money.to_minor(order.total) == story["order"]["quantity"] * story["product"]["price_minor"]
    assert re.fullmatch("[0-9a-f]{32}", order.trace_id)
    assert wanted.request_id == "", "the caller's own message is not changed"


def test_watch(client: openorder.Client, order: Order) -> None:
    seen = list(client.watch_order(order.order_id, OrderStatus.ORDER_STATUS_PREPARING, timeout_seconds=60))
    statuses = [seen_order.status for seen_order in seen]
    assert statuses == sorted(statuses)
    assert statuses[-1] == OrderStatus.ORDER_STATUS_PREPARING


def test_timeline(client: openorder.Client, story: Story, order: Order) -> None:
    *_, last = client.watch_order(order.order_id, OrderStatus.ORDER_STATUS_PREPARING, timeout_seconds=60)
    assert last.status == OrderStatus.ORDER_STATUS_PREPARING
    timeline = GetOrderTimelineRequest(order_id=order.order_id, page_size=2)
    types = [entry.event_type for entry in openorder.items(client.orders.GetOrderTimeline, timeline)]
    assert types == story["timeline"]


def test_cart(client: openorder.Client, story: Story) -> None:
    wanted, visitor = story["cart"], str(uuid.uuid4())
    customer, sku = wanted["customer_id"], story["product"]["request"]["sku"]
    client.carts.AddItem(AddItemRequest(visitor_id=visitor, sku=sku, quantity=wanted["quantity"]))
    cart = client.carts.MergeCart(MergeCartRequest(visitor_id=visitor, customer_id=customer)).cart
    assert money.to_minor(cart.total) == wanted["quantity"] * story["product"]["price_minor"]
    checkout = CheckoutRequest(customer_id=customer, expected_version=cart.version, expected_total=cart.total)
    order = client.carts.Checkout(checkout).order
    assert order.total == cart.total
    assert [(line.sku, line.quantity) for line in order.lines] == [(sku, wanted["quantity"])]
    until = time.monotonic() + 60
    while client.carts.GetCart(GetCartRequest(customer_id=customer)).cart.lines:
        assert time.monotonic() < until, "what was ordered is still in the cart"
        time.sleep(0.05)


def test_pages(client: openorder.Client, story: Story) -> None:
    wanted = story["pages"]
    made = [create(client, story, wanted["customer_id"]).order_id for _ in range(wanted["orders"])]
    lists = ListOrdersRequest(customer_id=wanted["customer_id"], page_size=wanted["page_size"])
    assert [order.order_id for order in openorder.items(client.orders.ListOrders, lists)] == made[::-1]
    assert max(len(page.orders) for page in openorder.pages(client.orders.ListOrders, lists)) <= wanted["page_size"]


def test_bad_input(client: openorder.Client, story: Story) -> None:
    with pytest.raises(errors.InvalidArgument) as raised:
        client.orders.CreateOrder(ParseDict(story["bad_input"]["request"], CreateOrderRequest()))
    assert raised.value.code() == grpc.StatusCode.INVALID_ARGUMENT
    fields = [violation.field for violation in raised.value.field_violations]
    assert sorted(fields) == sorted(story["bad_input"]["fields"])


def test_reused_request_id(client: openorder.Client, story: Story) -> None:
    request_id = str(uuid.uuid4())
    customer_id = story["order"]["customer_id"]
    first, second = (
        client.orders.CreateOrder(request(story, customer_id, 1, request_id=request_id)).order for _ in range(2)
    )
    assert first.order_id == second.order_id
    with pytest.raises(errors.RequestIdReused) as raised:
        client.orders.CreateOrder(request(story, customer_id, 2, request_id=request_id))
    assert isinstance(raised.value, errors.AlreadyExists)
    assert raised.value.reason == "REQUEST_ID_REUSED"


def test_missing_order(client: openorder.Client) -> None:
    with pytest.raises(errors.OrderNotFound) as raised:
        client.orders.GetOrder(GetOrderRequest(order_id=str(uuid.uuid4())))
    assert isinstance(raised.value, errors.NotFound)
    assert (raised.value.reason, raised.value.domain) == ("ORDER_NOT_FOUND", "openorder")


def test_deadline(client: openorder.Client, story: Story) -> None:
    wanted = story["deadline"]
    timeout_seconds = wanted["timeout_ms"] / 1000
    new = request(story, wanted["customer_id"], request_id=str(uuid.uuid4()))
    gateway_control("freeze")
    try:
        began = time.monotonic()
        with pytest.raises(errors.DeadlineExceeded):
            client.orders.CreateOrder(new, timeout=timeout_seconds)
        took_seconds = time.monotonic() - began
    finally:
        gateway_control("thaw")
    assert timeout_seconds <= took_seconds <= timeout_seconds + wanted["late_ms_max"] / 1000
    order = client.orders.CreateOrder(new).order
    assert [only.order_id for only in orders_of(client, wanted["customer_id"])] == [order.order_id]


def test_out_of_stock(client: openorder.Client, story: Story) -> None:
    new = CreateOrderRequest(
        customer_id=story["order"]["customer_id"],
        lines=[RequestedLine(sku=story["sold_out"]["request"]["sku"], quantity=1)],
        reservation_mode=ReservationMode.RESERVATION_MODE_IMMEDIATE,
    )
    with pytest.raises(errors.OutOfStock) as raised:
        client.orders.CreateOrder(new)
    assert isinstance(raised.value, errors.FailedPrecondition)
    new.reservation_mode = ReservationMode.RESERVATION_MODE_DEFERRED
    order = client.orders.CreateOrder(new).order
    *_, last = client.watch_order(order.order_id, timeout_seconds=60)
    assert last.status == OrderStatus.ORDER_STATUS_REJECTED
    assert last.status_reason == "OUT_OF_STOCK"


def test_killed_gateway(client: openorder.Client, story: Story) -> None:
    wanted = story["killed_gateway"]
    third_made = threading.Event()
    made: list[str] = []

    def one(_: int) -> None:
        made.append(create(client, story, wanted["customer_id"]).order_id)
        if len(made) >= wanted["orders"] // 3:
            third_made.set()

    with concurrent.futures.ThreadPoolExecutor(wanted["callers"]) as callers:
        calls = [callers.submit(one, number) for number in range(wanted["orders"])]
        assert third_made.wait(60)
        gateway_control("kill")
        assert len(made) < wanted["orders"], "the gateway was killed after the last order"
        for call in calls:
            call.result()
    listed = [order.order_id for order in orders_of(client, wanted["customer_id"])]
    assert len(listed) == wanted["orders"]
    assert sorted(listed) == sorted(made)


class Streams(grpc.UnaryStreamClientInterceptor):
    """Counts the streams that are begun."""

    count = 0

    def intercept_unary_stream(self, continuation: Any, client_call_details: Any, request: Any) -> Any:
        self.count += 1
        return continuation(client_call_details, request)


def test_watch_through_a_killed_gateway(
    client: openorder.Client, gateway: str, operator: tuple[str, str], story: Story
) -> None:
    order = create(client, story, story["shipped"]["customer_id"])
    preparing = threading.Event()
    seen: list[Order] = []
    streams = Streams()

    def watch(watching: openorder.Client) -> None:
        for seen_order in watching.watch_order(order.order_id, OrderStatus.ORDER_STATUS_DELIVERED, timeout_seconds=90):
            seen.append(seen_order)
            if seen_order.status == OrderStatus.ORDER_STATUS_PREPARING:
                preparing.set()

    with (
        openorder.connect(gateway, interceptors=[streams]) as watching,
        concurrent.futures.ThreadPoolExecutor() as threads,
    ):
        watching.sign_in(*operator)
        watcher = threads.submit(watch, watching)
        assert preparing.wait(30)
        gateway_control("kill")
        statuses = (
            OrderStatus.ORDER_STATUS_PREPARING,
            OrderStatus.ORDER_STATUS_SHIPPED,
            OrderStatus.ORDER_STATUS_DELIVERED,
        )
        for previous, current in itertools.pairwise(statuses):
            move = UpdateOrderStatusRequest(order_id=order.order_id, previous_status=previous, current_status=current)
            client.orders.UpdateOrderStatus(move)
        watcher.result(60)
    assert streams.count >= 2, "nothing broke"
    versions = [seen_order.version for seen_order in seen]
    assert versions == sorted(set(versions))
    assert seen[-1].status == OrderStatus.ORDER_STATUS_DELIVERED


def first_record_of(order_id: str) -> confluent_kafka.Message:
    settings = {
        "bootstrap.servers": variable("STORY_KAFKA_BROKERS"),
        "group.id": f"story-python-{uuid.uuid4()}",
        "auto.offset.reset": "earliest",
    }
    consumer = confluent_kafka.Consumer(settings)
    consumer.subscribe([variable("STORY_TOPIC_PREFIX") + TOPIC])
    until = time.monotonic() + 30
    try:
        while time.monotonic() < until:
            record = consumer.poll(1)
            if record is not None and record.error() is None and record.key() == order_id.encode():
                return record
    finally:
        consumer.close()
    raise AssertionError("the order has no record")


def put_records(order_id: str) -> None:
    """A record of an unknown type, one without headers, one that is no protobuf, a copy of the order's first one."""
    first = first_record_of(order_id)
    brokers = variable("STORY_KAFKA_BROKERS")
    producer = confluent_kafka.Producer({"bootstrap.servers": brokers, "partitioner": "murmur2_random"})
    topic = variable("STORY_TOPIC_PREFIX") + TOPIC
    unknown: dict[str, str | bytes | None] = {"ce_type": "order.lifecycle.gift_wrapped", "ce_id": str(uuid.uuid4())}
    broken: dict[str, str | bytes | None] = {"ce_type": "order.lifecycle.created", "ce_id": str(uuid.uuid4())}
    producer.produce(topic, key=order_id, value=b"", headers=unknown)
    producer.produce(topic, key=order_id, value=b"whose is this?")
    producer.produce(topic, key=order_id, value=b"\xff\xff no protobuf", headers=broken)
    producer.produce(topic, key=order_id, value=first.value(), headers=first.headers())
    assert producer.flush(30) == 0


def reader(group: str, **options: Any) -> Reader:
    brokers, prefix = variable("STORY_KAFKA_BROKERS"), variable("STORY_TOPIC_PREFIX")
    return Reader(brokers, [TOPIC], group, topic_prefix=prefix, idle_timeout_seconds=8, **options)


def test_events(client: openorder.Client, story: Story, order: Order, group: str) -> None:
    put_records(order.order_id)
    unreadable: list[UnreadableRecord] = []
    events: list[Event] = []
    with reader(group, on_unreadable=unreadable.append) as events_of_all:
        for event in events_of_all:
            assert event.time.timestamp() > 0
            if event.key == order.order_id:
                events.append(event)
    assert [event.type for event in events] == story["timeline"]
    assert [type(event.message) for event in events] == [
        order_events_pb2.OrderCreated,
        order_events_pb2.OrderConfirmed,
        order_events_pb2.OrderPaid,
        order_events_pb2.OrderPreparing,
    ]
    positions = [event.position or 0 for event in events]
    assert positions[0] > 0
    assert positions == sorted(set(positions))
    created = events[0].message
    assert isinstance(created, order_events_pb2.OrderCreated)
    assert created.total == order.total
    assert abs(events[0].time.timestamp() - order.create_time.ToDatetime(events[0].time.tzinfo).timestamp()) < 1
    # A story that was told before left some as well.
    assert [record.type for record in unreadable if record.record.key() == order.order_id.encode()] == [events[0].type]
    counts = events_of_all.counts
    assert min(counts.unknown, counts.foreign, counts.copies) >= 1
    assert counts.unreadable == len(unreadable)


def test_trace(client: openorder.Client, story: Story, group: str) -> None:
    provider = TracerProvider(resource=Resource.create({"service.name": "story-python"}))
    exporter = OTLPSpanExporter(endpoint=variable("STORY_OTLP_ENDPOINT"), insecure=True)
    provider.add_span_processor(BatchSpanProcessor(exporter))
    trace.set_tracer_provider(provider)
    order = create(client, story, story["order"]["customer_id"])
    handled: collections.Counter[str] = collections.Counter()
    # The group of the step before: what was handled there was committed, and does not come again.
    with reader(group) as new_events:

        def handle(event: Event) -> None:
            assert trace.get_current_span().is_recording()
            handled[event.key] += 1
            if event.key == order.order_id and event.type == story["timeline"][-1]:
                new_events.stop()

        new_events.run(handle)
    assert handled == {order.order_id: len(story["timeline"])}
    assert provider.force_flush()
    provider.shutdown()
    until = time.monotonic() + 60
    while not (found := spans_of_the_story(order.trace_id)):
        assert time.monotonic() < until, "the trace has no span of the story whose parent is in it"
        time.sleep(0.5)
    assert {tag["value"] for span in found for tag in span["tags"] if tag["key"] == "span.kind"} == {"consumer"}


def spans_of_the_story(trace_id: str) -> list[Any]:
    """The story's own spans in a trace whose parents are spans of that trace."""
    try:
        with urllib.request.urlopen(f"{variable('STORY_JAEGER_URL')}/api/traces/{trace_id}", timeout=10) as answer:
            (found,) = json.load(answer)["data"]
    except urllib.error.HTTPError as error:
        if error.code != 404:
            raise
        return []
    ids = {span["spanID"] for span in found["spans"]}
    return [
        span
        for span in found["spans"]
        if found["processes"][span["processID"]]["serviceName"] == "story-python"
        and any(reference["spanID"] in ids - {span["spanID"]} for reference in span["references"])
    ]


def test_events_that_were_not_handled_come_again(client: openorder.Client, story: Story) -> None:
    order = create(client, story, story["order"]["customer_id"])
    group = f"story-python-{uuid.uuid4()}"
    first, second, *_ = story["timeline"]

    def handle_until(event_type: str, end: type[BaseException] | None) -> list[str]:
        """The types of the order's events, up to one at which the handler fails, or leaves."""
        seen = []
        with reader(group, on_unreadable=lambda record: None) as events:
            for event in events:
                if event.key == order.order_id:
                    seen.append(event.type)
                    if event.type == event_type:
                        if end is not None:
                            raise end(seen)
                        break
        return seen

    with pytest.raises(LookupError) as raised:
        handle_until(second, LookupError)
    assert raised.value.args == ([first, second],)
    assert handle_until(second, None) == [second], "what was handled is committed, and what was not is not"
    assert handle_until(story["timeline"][-1], None) == story["timeline"][2:], "leaving the block is having handled it"


def test_readme(gateway: str, program: Program) -> None:
    blocks = re.findall(r"```python\n(.*?)```", (PACKAGE / "README.md").read_text(), re.DOTALL)
    (example,) = (block for block in blocks if "openorder.connect(" in block and "Reader(" in block)
    for printed, real in (
        ("127.0.0.1:8080", gateway),
        ("127.0.0.1:19092", variable("STORY_KAFKA_BROKERS")),
        ('topic_prefix=""', f'topic_prefix="{variable("STORY_TOPIC_PREFIX")}"'),
    ):
        assert example.count(printed) == 1
        example = example.replace(printed, real)
    environment = os.environ | {"PYTHONPATH": str(PACKAGE / "src"), "OPENORDER_TOKEN": program.key}
    ran = subprocess.run(
        [sys.executable, "-c", example], env=environment, capture_output=True, text=True, timeout=90, check=False
    )
    assert ran.returncode == 0, ran.stderr
    assert "ORDER_STATUS_PREPARING" in ran.stdout.splitlines()[-1]
