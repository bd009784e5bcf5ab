"""Lists: pages of answers, and the items on them, one after the other."""

# The overloads are a table.
# ruff: noqa: E501

from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from typing import Any, Protocol, TypeVar, overload

from google.protobuf.message import Message

from openorder._policy import copy_of, items_field
from openorder.history.v1 import history_pb2 as history
from openorder.history.v1 import history_service_pb2 as history_service
from openorder.inventory.v1 import inventory_pb2 as inventory
from openorder.inventory.v1 import inventory_service_pb2 as inventory_service
from openorder.notification.v1 import notification_pb2 as notification
from openorder.notification.v1 import notification_service_pb2 as notification_service
from openorder.operations.v1 import audit_pb2 as audit
from openorder.operations.v1 import dead_letter_pb2 as dead_letter
from openorder.operations.v1 import operations_service_pb2 as operations_service
from openorder.order.v1 import order_pb2 as order
from openorder.order.v1 import order_service_pb2 as order_service
from openorder.order.v1 import saga_pb2 as saga
from openorder.payment.v1 import payment_pb2 as payment
from openorder.payment.v1 import payment_service_pb2 as payment_service
from openorder.product.v1 import product_pb2 as product
from openorder.product.v1 import product_service_pb2 as product_service
from openorder.promotion.v1 import promotion_pb2 as promotion
from openorder.promotion.v1 import promotion_service_pb2 as promotion_service
from openorder.shipping.v1 import shipping_pb2 as shipping
from openorder.shipping.v1 import shipping_service_pb2 as shipping_service
from openorder.user.v1 import user_pb2 as user
from openorder.user.v1 import user_service_pb2 as user_service


class _Page(Protocol):
    next_page_token: str


Q = TypeVar("Q", bound=Message)
P = TypeVar("P", bound=_Page)
Lists = Callable[[Q], P]
AsyncLists = Callable[[Q], Awaitable[P]]


def pages(method: Lists[Q, P], request: Q) -> Iterator[P]:
    """The pages of a list method, such as `client.orders.ListOrders`, each asked for when the one before was used.

    `request.page_size` says how long they are, `request.page_token` where to begin. A page may be empty and not be the
    last one.
    """
    request = copy_of(request)
    while True:
        page = method(request)
        yield page
        if not page.next_page_token:
            return
        request.page_token = page.next_page_token  # type: ignore[attr-defined]


async def apages(method: AsyncLists[Q, P], request: Q) -> AsyncIterator[P]:
    """As `openorder.pages`, of an asyncio client's method."""
    request = copy_of(request)
    while True:
        page = await method(request)
        yield page
        if not page.next_page_token:
            return
        request.page_token = page.next_page_token  # type: ignore[attr-defined]


# The types of the items, which no descriptor tells a type checker. A method that is not here works, and gives Any.
# fmt: off
@overload
def items(method: Lists[Q, order_service.ListOrdersResponse], request: Q) -> Iterator[order.Order]: ...
@overload
def items(method: Lists[Q, order_service.GetOrderTimelineResponse], request: Q) -> Iterator[order.OrderTimelineEntry]: ...
@overload
def items(method: Lists[Q, order_service.ListSagasResponse], request: Q) -> Iterator[saga.Saga]: ...
@overload
def items(method: Lists[Q, product_service.ListProductsResponse], request: Q) -> Iterator[product.Product]: ...
@overload
def items(method: Lists[Q, inventory_service.ListReservationsResponse], request: Q) -> Iterator[inventory.Reservation]: ...
@overload
def items(method: Lists[Q, inventory_service.ListReservationMismatchesResponse], request: Q) -> Iterator[inventory.ReservationMismatch]: ...
@overload
def items(method: Lists[Q, payment_service.ListPaymentsResponse], request: Q) -> Iterator[payment.Payment]: ...
@overload
def items(method: Lists[Q, notification_service.ListNotificationsResponse], request: Q) -> Iterator[notification.Notification]: ...
@overload
def items(method: Lists[Q, promotion_service.ListCouponsResponse], request: Q) -> Iterator[promotion.Coupon]: ...
@overload
def items(method: Lists[Q, promotion_service.ListIssuedCouponsResponse], request: Q) -> Iterator[promotion.IssuedCoupon]: ...
@overload
def items(method: Lists[Q, shipping_service.ListShipmentsResponse], request: Q) -> Iterator[shipping.Shipment]: ...
@overload
def items(method: Lists[Q, user_service.ListUsersResponse], request: Q) -> Iterator[user.User]: ...
@overload
def items(method: Lists[Q, user_service.ListUserActivityResponse], request: Q) -> Iterator[user.UserActivity]: ...
@overload
def items(method: Lists[Q, history_service.ListOrderViewsResponse], request: Q) -> Iterator[history.OrderView]: ...
@overload
def items(method: Lists[Q, history_service.SearchOrdersResponse], request: Q) -> Iterator[history.OrderView]: ...
@overload
def items(method: Lists[Q, operations_service.ListDeadLettersResponse], request: Q) -> Iterator[dead_letter.DeadLetter]: ...
@overload
def items(method: Lists[Q, operations_service.ListParkedMessagesResponse], request: Q) -> Iterator[dead_letter.ParkedMessage]: ...
@overload
def items(method: Lists[Q, operations_service.ListAuditEntriesResponse], request: Q) -> Iterator[audit.AuditEntry]: ...
@overload
def items(method: Lists[Q, P], request: Q) -> Iterator[Any]: ...
# fmt: on
def items(method: Callable[[Any], Any], request: Any) -> Iterator[Any]:
    """All items of a list method, such as the orders of `client.orders.ListOrders`: the pages are asked for on the way.

    What else stands on a page (`unreachable`, `causes`) is in `pages`.
    """
    for page in pages(method, request):
        yield from getattr(page, items_field(page))


# fmt: off
@overload
def aitems(method: AsyncLists[Q, order_service.ListOrdersResponse], request: Q) -> AsyncIterator[order.Order]: ...
@overload
def aitems(method: AsyncLists[Q, order_service.GetOrderTimelineResponse], request: Q) -> AsyncIterator[order.OrderTimelineEntry]: ...
@overload
def aitems(method: AsyncLists[Q, order_service.ListSagasResponse], request: Q) -> AsyncIterator[saga.Saga]: ...
@overload
def aitems(method: AsyncLists[Q, product_service.ListProductsResponse], request: Q) -> AsyncIterator[product.Product]: ...
@overload
def aitems(method: AsyncLists[Q, inventory_service.ListReservationsResponse], request: Q) -> AsyncIterator[inventory.Reservation]: ...
@overload
def aitems(method: AsyncLists[Q, inventory_service.ListReservationMismatchesResponse], request: Q) -> AsyncIterator[inventory.ReservationMismatch]: ...
@overload
def aitems(method: AsyncLists[Q, payment_service.ListPaymentsResponse], request: Q) -> AsyncIterator[payment.Payment]: ...
@overload
def aitems(method: AsyncLists[Q, notification_service.ListNotificationsResponse], request: Q) -> AsyncIterator[notification.Notification]: ...
@overload
def aitems(method: AsyncLists[Q, promotion_service.ListCouponsResponse], request: Q) -> AsyncIterator[promotion.Coupon]: ...
@overload
def aitems(method: AsyncLists[Q, promotion_service.ListIssuedCouponsResponse], request: Q) -> AsyncIterator[promotion.IssuedCoupon]: ...
@overload
def aitems(method: AsyncLists[Q, shipping_service.ListShipmentsResponse], request: Q) -> AsyncIterator[shipping.Shipment]: ...
@overload
def aitems(method: AsyncLists[Q, user_service.ListUsersResponse], request: Q) -> AsyncIterator[user.User]: ...
@overload
def aitems(method: AsyncLists[Q, user_service.ListUserActivityResponse], request: Q) -> AsyncIterator[user.UserActivity]: ...
@overload
def aitems(method: AsyncLists[Q, history_service.ListOrderViewsResponse], request: Q) -> AsyncIterator[history.OrderView]: ...
@overload
def aitems(method: AsyncLists[Q, history_service.SearchOrdersResponse], request: Q) -> AsyncIterator[history.OrderView]: ...
@overload
def aitems(method: AsyncLists[Q, operations_service.ListDeadLettersResponse], request: Q) -> AsyncIterator[dead_letter.DeadLetter]: ...
@overload
def aitems(method: AsyncLists[Q, operations_service.ListParkedMessagesResponse], request: Q) -> AsyncIterator[dead_letter.ParkedMessage]: ...
@overload
def aitems(method: AsyncLists[Q, operations_service.ListAuditEntriesResponse], request: Q) -> AsyncIterator[audit.AuditEntry]: ...
@overload
def aitems(method: AsyncLists[Q, P], request: Q) -> AsyncIterator[Any]: ...
# fmt: on
async def aitems(method: Callable[[Any], Awaitable[Any]], request: Any) -> AsyncIterator[Any]:
    """As `openorder.items`, of an asyncio client's method."""
    async for page in apages(method, request):
        for item in getattr(page, items_field(page)):
            yield item
