"""The steps of the story that are about who calls."""

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from typing import Any

import pytest
from google.protobuf.json_format import ParseDict

import openorder
from openorder import errors, money
from openorder.order.v1.order_pb2 import OrderStatus
from openorder.order.v1.order_service_pb2 import CreateOrderRequest, GetOrderRequest, RequestedLine
from openorder.payment.v1.payment_service_pb2 import ChargeWalletRequest
from openorder.product.v1.product_service_pb2 import CreateProductRequest
from openorder.user.v1.user_pb2 import UserRole
from openorder.user.v1.user_service_pb2 import (
    AssignRoleRequest,
    GetUserRequest,
    ListUsersRequest,
    RegisterUserRequest,
    SignOutRequest,
)
from tests.story.system import Program

Story = dict[str, Any]
PREPARING = OrderStatus.ORDER_STATUS_PREPARING


@dataclass
class People:
    """Those who register and sign in, each with a client of its own, and one who does not."""

    customer: openorder.Client
    stranger: openorder.Client
    nobody: openorder.Client
    customer_id: str = ""
    stranger_id: str = ""
    order_id: str = ""

    @property
    def customer_itself(self) -> GetUserRequest:
        return GetUserRequest(user_id=self.customer_id)


@pytest.fixture(scope="module")
def people(gateway: str) -> Iterator[People]:
    with ExitStack() as clients:
        customer, stranger, nobody = (clients.enter_context(openorder.connect(gateway)) for _ in range(3))
        yield People(customer, stranger, nobody)


def registration(person: dict[str, str], *roles: UserRole.ValueType) -> RegisterUserRequest:
    return RegisterUserRequest(roles=roles, **person)


def test_register(story: Story, people: People) -> None:
    for name in ("customer", "stranger"):
        user = people.nobody.users.RegisterUser(registration(story[name])).user
        assert list(user.roles) == [UserRole.USER_ROLE_CUSTOMER]
        assert user.email == story[name]["email"]
        if name == "customer":
            people.customer_id = user.user_id
        else:
            people.stranger_id = user.user_id
    with pytest.raises(errors.EmailTaken):
        people.nobody.users.RegisterUser(registration(story["customer"]))
    with pytest.raises(errors.RoleRequired):
        people.nobody.users.RegisterUser(registration(story["program"], UserRole.USER_ROLE_SERVICE))


def test_sign_in(gateway: str, story: Story, people: People, program: Program) -> None:
    wanted = story["customer"]
    with pytest.raises(errors.CredentialsRefused):
        people.customer.sign_in(wanted["email"], story["wrong_password"])
    with pytest.raises(errors.TokenMissing):
        people.customer.users.GetUser(people.customer_itself)
    assert people.customer.sign_in(wanted["email"], wanted["password"]).user_id == people.customer_id
    assert people.customer.users.GetUser(people.customer_itself).user.email == wanted["email"]
    people.stranger.sign_in(story["stranger"]["email"], story["stranger"]["password"])
    with openorder.connect(gateway, credential=program.key) as client:
        user = client.users.GetUser(GetUserRequest(user_id=program.user_id)).user
    assert user.email == story["program"]["email"]


def test_not_mine(client: openorder.Client, story: Story, people: People) -> None:
    product = ParseDict(story["product"]["request"], CreateProductRequest())
    product.price.CopyFrom(money.from_minor(story["product"]["price_minor"], story["product"]["currency"]))
    client.products.CreateProduct(product)
    amount = money.from_minor(story["wallet"]["amount_minor"], story["product"]["currency"])
    charge = ChargeWalletRequest(user_id=people.customer_id, amount=amount)
    people.customer.payments.ChargeWallet(charge)
    lines = [RequestedLine(sku=product.sku, quantity=1)]
    request = CreateOrderRequest(customer_id=people.customer_id, lines=lines)
    order = people.customer.orders.CreateOrder(request).order
    *_, last = people.customer.watch_order(order.order_id, PREPARING, timeout_seconds=60)
    assert last.status == PREPARING
    people.order_id = order.order_id

    with pytest.raises(errors.OrderNotFound):
        people.stranger.orders.GetOrder(GetOrderRequest(order_id=order.order_id))
    with pytest.raises(errors.OrderNotFound):
        list(people.stranger.watch_order(order.order_id, PREPARING, timeout_seconds=60))
    with pytest.raises(errors.NotYourWallet):
        people.stranger.payments.ChargeWallet(charge)
    with pytest.raises(errors.CustomerMismatch):
        people.stranger.orders.CreateOrder(request)


def test_expired_token(
    client: openorder.Client, gateway: str, story: Story, people: People, first_token: tuple[str, float]
) -> None:
    token, given_at = first_token
    time.sleep(max(0.0, given_at + story["expired_token"]["after_ms"] / 1000 - time.monotonic()))
    with openorder.connect(gateway, credential=token) as old, pytest.raises(errors.TokenExpired):
        old.users.GetUser(people.customer_itself)
    assert client.users.GetUser(people.customer_itself).user.user_id == people.customer_id


def call_until_refused(call: Callable[[], object], seconds: float) -> None:
    until = time.monotonic() + seconds
    while time.monotonic() < until:
        call()
        time.sleep(0.05)


def may_list_users(client: openorder.Client) -> bool:
    try:
        return len(client.users.ListUsers(ListUsersRequest(page_size=1)).users) == 1
    except errors.RoleRequired:
        return False


def test_revoked_token(client: openorder.Client, story: Story, people: People) -> None:
    within_seconds = story["revoked_token"]["within_ms"] / 1000
    roles = [UserRole.USER_ROLE_CUSTOMER, UserRole.USER_ROLE_VIEWER]
    client.users.AssignRole(AssignRoleRequest(user_id=people.stranger_id, roles=roles))
    until = time.monotonic() + within_seconds
    while not may_list_users(people.stranger):
        assert time.monotonic() < until, "the session has the roles of before"
        time.sleep(0.05)

    is_watching = threading.Event()
    ends: list[errors.OpenOrderError] = []

    def watch() -> None:
        try:
            for _ in people.customer.watch_order(people.order_id, timeout_seconds=60):
                is_watching.set()
        except errors.OpenOrderError as error:
            ends.append(error)

    watcher = threading.Thread(target=watch)
    watcher.start()
    assert is_watching.wait(30)
    client.users.SignOut(SignOutRequest(user_id=people.customer_id))
    with pytest.raises(errors.SessionEnded) as raised:
        call_until_refused(lambda: people.customer.users.GetUser(people.customer_itself), within_seconds)
    assert raised.value.reason in ("TOKEN_REVOKED", "REFRESH_TOKEN_REFUSED")
    watcher.join(within_seconds)
    assert [type(error).__name__ for error in ends] == ["SessionEnded"], "the watch ends, too"
    people.customer.sign_in(story["customer"]["email"], story["customer"]["password"])
    assert people.customer.users.GetUser(people.customer_itself).user.user_id == people.customer_id
    people.customer.sign_out()
    with pytest.raises(errors.TokenMissing):
        people.customer.users.GetUser(people.customer_itself)
