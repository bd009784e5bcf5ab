"""What a refused call raises.

Every error is an `OpenOrderError`. Beside it, it is an instance of the class of its status code (`NotFound`), and, where
its reason is a known one, of the class of that reason (`OrderNotFound`): catch whichever is meant.
"""

# A table of classes, one a line.
# ruff: noqa: E501, E701

import re
from collections.abc import Iterable
from dataclasses import dataclass
from functools import cache
from typing import Any

import grpc
import grpc.aio
from google.protobuf.message import DecodeError
from google.rpc import error_details_pb2, status_pb2

_DETAILS_KEY = "grpc-status-details-bin"


@dataclass(frozen=True, slots=True)
class FieldViolation:
    """A field of the request that is at fault."""

    field: str
    """Its path, such as `lines[0].quantity`."""
    description: str
    """For people to read."""
    reason: str
    """Stable, UPPER_SNAKE; may be empty."""


class OpenOrderError(grpc.aio.AioRpcError):
    """A call that did not succeed.

    It is a `grpc.RpcError` too, with `code()`, `details()` and `trailing_metadata()`: handlers of those go on working,
    for calls of the synchronous client as well.
    """

    message: str
    """For people to read; wording may change."""
    reason: str
    """Stable, UPPER_SNAKE, such as `OUT_OF_STOCK`. Empty where nobody gave one, such as for a lost connection."""
    domain: str
    """Who gave the reason: `openorder`, or empty."""
    metadata: dict[str, str]
    """What else belongs to the reason, such as `total` of `PRICE_CHANGED`."""
    field_violations: tuple[FieldViolation, ...]
    """The fields at fault."""
    retry_delay_seconds: float | None
    """How long to wait before the call is worth another attempt; None where the server did not say."""
    _is_stale = False
    """Whether a stream ended because its token is not good any more: it may be opened again with another one."""

    def __init__(
        self,
        code: grpc.StatusCode,
        initial_metadata: Any = None,
        trailing_metadata: Any = None,
        details: str | None = None,
        debug_error_string: str | None = None,
    ) -> None:
        super().__init__(code, initial_metadata, trailing_metadata, details, debug_error_string)
        self.message = details or ""
        self.reason = self.domain = ""
        self.metadata = {}
        self.field_violations = ()
        self.retry_delay_seconds = None
        for detail in _details(trailing_metadata):
            if isinstance(detail, error_details_pb2.ErrorInfo):
                self.reason, self.domain, self.metadata = detail.reason, detail.domain, dict(detail.metadata)
            elif isinstance(detail, error_details_pb2.BadRequest):
                violations = detail.field_violations
                self.field_violations = tuple(FieldViolation(v.field, v.description, v.reason) for v in violations)
            elif isinstance(detail, error_details_pb2.RetryInfo):
                self.retry_delay_seconds = max(0.0, detail.retry_delay.seconds + detail.retry_delay.nanos / 1e9)

    def _again(self) -> "OpenOrderError":
        """The same error, to be raised once more: each raise has a traceback of its own."""
        return type(self)(*self._arguments())

    def _arguments(self) -> tuple[Any, ...]:
        metadata = tuple(tuple(pair) for pair in self.trailing_metadata() or ())
        return self.code(), None, metadata, self.details(), self.debug_error_string()

    def __str__(self) -> str:
        name = f"{self.code().name} {self.reason}".rstrip()
        violations = [f"{violation.field}: {violation.description}" for violation in self.field_violations]
        # The message of a single violation is that violation.
        fields = "; ".join(violation for violation in violations if violation != self.message)
        return f"{name}: {self.message}" + (f" ({fields})" if fields else "")

    def __repr__(self) -> str:
        return f"<{type(self).__name__}: {self}>"

    def __reduce__(self) -> tuple[Any, ...]:
        return _remake, (isinstance(self, SessionEnded), *self._arguments())


def _details(trailing_metadata: Iterable[tuple[str, str | bytes]] | None) -> Iterable[Any]:
    """The messages in a refusal's `google.rpc.Status`. What cannot be read is left out: the code and text remain."""
    status = status_pb2.Status()
    types = (error_details_pb2.ErrorInfo, error_details_pb2.BadRequest, error_details_pb2.RetryInfo)
    for key, value in trailing_metadata or ():
        if key != _DETAILS_KEY or not isinstance(value, bytes):
            continue
        try:
            status.ParseFromString(value)
            for any_detail in status.details:
                for message_type in types:
                    detail = message_type()
                    if any_detail.Unpack(detail):
                        yield detail
        except DecodeError:
            return


# fmt: off
class Cancelled(OpenOrderError): """The call was cancelled."""
class Unknown(OpenOrderError): """The server gave no code that is known."""
class InvalidArgument(OpenOrderError): """The request is wrong in itself; see `field_violations`."""
class DeadlineExceeded(OpenOrderError): """The deadline passed. The work may still be done: repeat with the same request id."""
class NotFound(OpenOrderError): """What was named is not there, or the caller may not see it."""
class AlreadyExists(OpenOrderError): """What was to be made is there already."""
class PermissionDenied(OpenOrderError): """The caller may not do this."""
class ResourceExhausted(OpenOrderError): """A limit; see `retry_delay_seconds`."""
class FailedPrecondition(OpenOrderError): """Not in the state that things are in."""
class Aborted(OpenOrderError): """Somebody else was faster: read again, then decide."""
class OutOfRange(OpenOrderError): """Beyond a limit of what is stored."""
class Unimplemented(OpenOrderError): """The server does not have this."""
class Internal(OpenOrderError): """A fault of the server."""
class Unavailable(OpenOrderError): """The server cannot be reached or cannot answer now."""
class DataLoss(OpenOrderError): """What was stored cannot be read."""
class Unauthenticated(OpenOrderError): """The credential is missing or was not taken."""


class SessionEnded(Unauthenticated): """The session that the client signed in with has ended, for all its calls: it was revoked, or its refresh token was refused; `reason` says which. `sign_in` begins another one."""


class ReasonError(OpenOrderError): """Base of the classes of known reasons: the reason is the class's name in UPPER_SNAKE."""


# The known reasons: what the comments of the contract name, and docs/calling.md for every call.
class AlreadyInReplay(ReasonError): """A dead letter is in another replay."""
class AnswerTooLarge(ReasonError): """The answer is beyond the gateway's limit: ask for fewer."""
class AnswersUnread(ReasonError): """The caller does not read its answers fast enough."""
class ApiKeyLimitReached(ReasonError): """The user has as many active API keys as a user may have."""
class ApiKeyNotAllowed(ReasonError): """Who signed in with an API key cannot make one."""
class ApiKeyNotFound(ReasonError): """There is no such API key, or the caller may not see it."""
class ApiKeyUnknown(ReasonError): """There is no such API key, or it is not valid any more."""
class CallerRateExceeded(ReasonError): """The caller calls too often: come again later."""
class CarrierEventIdReused(ReasonError): """Another event of the shipment has this id of the carrier."""
class CartBusy(ReasonError): """Others change the cart all the time; it passes."""
class CartEmpty(ReasonError): """There is nothing in the cart."""
class CartLineLimitReached(ReasonError): """The cart has as many lines as a cart may have."""
class CartLineNotFound(ReasonError): """The product is not in the cart."""
class CartQuantityLimitReached(ReasonError): """The line would have more pieces than a line may have."""
class CartVersionMismatch(ReasonError): """The cart changed meanwhile."""
class CompensationNotFailed(ReasonError): """The saga is at another step; `metadata` names it."""
class CouponAlreadyUsed(ReasonError): """Another order holds the coupon or has used it."""
class CouponCodeAlreadyExists(ReasonError): """Another coupon has this code."""
class CouponExpired(ReasonError): """The coupon's time is over."""
class CouponLimitReached(ReasonError): """The user has as many of this coupon as one user may have."""
class CouponMinimumNotReached(ReasonError): """The order comes to less than the coupon asks for."""
class CouponNotApplicable(ReasonError): """The coupon is for other goods or another currency."""
class CouponNotFound(ReasonError): """There is no such coupon."""
class CouponNotValidYet(ReasonError): """The coupon cannot be issued yet."""
class CouponReleased(ReasonError): """The order has given the coupon back."""
class CouponSoldOut(ReasonError): """All of this coupon have been issued."""
class CouponVersionMismatch(ReasonError): """The coupon changed meanwhile."""
class CouponsNotSupported(ReasonError): """There is no promotion service: no coupon can be used."""
class CredentialsRefused(ReasonError): """No user has this mail address and password."""
class CurrencyMismatch(ReasonError): """Amounts in different currencies."""
class CurrentPasswordWrong(ReasonError): """The current password is another one."""
class CustomerMismatch(ReasonError): """Customers may only act for themselves."""
class DeadLetterUnknown(ReasonError): """There is no such dead letter."""
class DiscardSetEmpty(ReasonError): """No dead letter fits the conditions."""
class EmailTaken(ReasonError): """Another user has this mail address."""
class EventsPruned(ReasonError): """Some of the events that are asked for are no longer in their log; `metadata` says since when all are."""
class InsufficientBalance(ReasonError): """There is less in the wallet than the order costs."""
class IssueLimitBelowIssued(ReasonError): """More have been issued than the new limit allows."""
class MalformedRequest(ReasonError): """The request cannot be read as a message."""
class MetadataTooLarge(ReasonError): """The call's metadata is beyond the gateway's limit."""
class ModificationUnderWay(ReasonError): """The lines of the order are being changed."""
class NotADeadLetter(ReasonError): """A letter that was named is not dead, or no more."""
class NotSubscribed(ReasonError): """The group does not read a topic that was named."""
class NotYourCoupon(ReasonError): """The coupon would be somebody else's."""
class NotYourWallet(ReasonError): """The wallet is somebody else's."""
class NotificationInProgress(ReasonError): """The notification is being sent."""
class NotificationNotFound(ReasonError): """There is no such notification."""
class OperatorIsOneself(ReasonError): """Operators cannot take that from themselves."""
class OrderAlreadyPaid(ReasonError): """The money for the order was taken before."""
class OrderHasCoupon(ReasonError): """The lines of an order with a coupon are fixed."""
class OrderNotCancellable(ReasonError): """The order is past the point where it can be called off."""
class OrderNotFound(ReasonError): """There is no such order, or the caller may not see it."""
class OrderNotModifiable(ReasonError): """The lines of the order are fixed where it stands; `metadata` has its status."""
class OrderNotPayable(ReasonError): """The order does not wait for its payment; `metadata` has its status."""
class OrderStatusMismatch(ReasonError): """The order does not stand where the caller believed."""
class OrderTransitionNotAllowed(ReasonError): """An order does not move like this."""
class OrderVersionMismatch(ReasonError): """The order changed since the caller has seen it; `metadata` has its version."""
class OutOfStock(ReasonError): """Fewer pieces are available than were asked for."""
class Overloaded(ReasonError): """The gateway has too much to do; `retry_delay_seconds` says how long to wait."""
class PasswordQueueFull(ReasonError): """Too many passwords are being looked at; it passes."""
class PasswordTooCommon(ReasonError): """The password is among the first that anybody tries."""
class PaymentModeUnsupported(ReasonError): """Orders are not paid by hand here."""
class PaymentNotFound(ReasonError): """There is no such payment, or the caller may not see it."""
class PaymentNotManual(ReasonError): """The order is paid without its customer's doing."""
class PriceChanged(ReasonError): """The order costs something else than expected; `metadata` has both totals."""
class ProductDeleted(ReasonError): """The product was deleted."""
class ProductNotFound(ReasonError): """There is no such product."""
class ProductVersionMismatch(ReasonError): """The product changed meanwhile."""
class RebuildNotFound(ReasonError): """There is no such rebuild."""
class RebuildUnderWay(ReasonError): """Another rebuild has not come to its end."""
class RecipientMissing(ReasonError): """There is no address that the notification could go to."""
class RefreshTokenRefused(ReasonError): """The refresh token is none, or its session is over."""
class RefreshTokenReused(ReasonError): """The refresh token was used before: its session has ended."""
class ReplayRunning(ReasonError): """The same request id is at work."""
class ReplaySetEmpty(ReasonError): """Nothing fits the conditions."""
class ReplayUnknown(ReasonError): """There is no such replay."""
class RequestIdReused(ReasonError): """The request id was used before, with other content."""
class RequestTooLarge(ReasonError): """The request is beyond the gateway's limit."""
class RequestTooSlow(ReasonError): """The request did not arrive in time."""
class ReservationAlreadyExists(ReasonError): """Other lines are held for the order."""
class ReservationReleased(ReasonError): """The order was called off."""
class ReservationShipped(ReasonError): """The pieces have left the warehouse."""
class RoleRequired(ReasonError): """For callers of another role."""
class ShipmentAlreadyShipped(ReasonError): """The parcel has left."""
class ShipmentCancelled(ReasonError): """The order was called off: the parcel is not to leave."""
class ShipmentEventInFuture(ReasonError): """The time of the carrier's event is too far ahead."""
class ShipmentEventLimitReached(ReasonError): """As many events are recorded as a shipment may have."""
class ShipmentNotFound(ReasonError): """There is no such shipment, or the caller may not see it."""
class ShipmentNotShipped(ReasonError): """The parcel has not left yet."""
class ShipmentVersionMismatch(ReasonError): """The shipment changed meanwhile."""
class SignInDelayed(ReasonError): """Too many tries failed; it passes."""
class SignInUnavailable(ReasonError): """Tokens cannot be verified now: come again later."""
class SkuAlreadyExists(ReasonError): """There is a product with this SKU."""
class StockLimitExceeded(ReasonError): """More pieces than a stock can hold."""
class SummaryTooLarge(ReasonError): """More rows than one answer has: ask for a shorter time or one currency."""
class TokenExpired(ReasonError): """The access token has ended: refresh it, or sign in again."""
class TokenMissing(ReasonError): """The call has no token, and needs one."""
class TokenRevoked(ReasonError): """The session has ended: sign in again."""
class UnknownSku(ReasonError): """There is no such SKU."""
class UnsupportedEncoding(ReasonError): """The gateway does not take this compression."""
class UserDisabled(ReasonError): """The user is disabled."""
class UserErased(ReasonError): """The user was erased."""
class UserIdTaken(ReasonError): """Another user has this id."""
class UserNotFound(ReasonError): """There is no such user, or the caller may not see it."""
class UserVersionMismatch(ReasonError): """The user changed meanwhile."""
class ValidityEmpty(ReasonError): """The coupon would end before it begins."""
class ViewBehind(ReasonError): """The order is not known in the version that was asked for yet."""
class WalletLimitExceeded(ReasonError): """More money than a wallet can hold."""
class WalletNotFound(ReasonError): """There is no such wallet, or the caller may not see it."""
# fmt: on


def _upper_snake(name: str) -> str:
    return re.sub(r"(?<!^)(?=[A-Z])", "_", name).upper()


BY_CODE = {
    getattr(grpc.StatusCode, _upper_snake(error.__name__)): error
    for error in OpenOrderError.__subclasses__()
    if error is not ReasonError
}
"""Status code to class."""
BY_REASON = {_upper_snake(error.__name__): error for error in ReasonError.__subclasses__()}
"""Reason, such as `OUT_OF_STOCK`, to class. A reason that is not here is carried as text all the same."""


@cache
def _class(code: grpc.StatusCode, reason: str) -> type[OpenOrderError]:
    by_code = BY_CODE.get(code, Unknown)
    by_reason = BY_REASON.get(reason)
    if by_reason is None:
        return by_code
    # The contract gives some reasons with different codes: UNKNOWN_SKU with NOT_FOUND and FAILED_PRECONDITION.
    return type(by_reason.__name__, (by_reason, by_code), {"__module__": __name__, "__doc__": by_reason.__doc__})


def _make(code: grpc.StatusCode, *rest: Any) -> OpenOrderError:
    error = OpenOrderError(code, *rest)
    return _class(code, error.reason if error.reason in BY_REASON else "")(code, *rest)


def _remake(has_ended: bool, *arguments: Any) -> OpenOrderError:
    error = _make(*arguments)
    return session_ended(error) if has_ended else error


def from_status(code: grpc.StatusCode, details: str) -> OpenOrderError:
    """An error that no server gave."""
    return _make(code, None, None, details)


@cache
def _ended_class(reason: str) -> type[SessionEnded]:
    by_reason = BY_REASON.get(reason)
    if by_reason is None:
        return SessionEnded
    return type("SessionEnded", (SessionEnded, by_reason), {"__module__": __name__, "__doc__": SessionEnded.__doc__})


def session_ended(why: OpenOrderError) -> SessionEnded:
    """The error of a session that has ended: of the class of its reason, too."""
    return _ended_class(why.reason if why.reason in BY_REASON else "")(*why._arguments())


def from_rpc_error(error: Any) -> OpenOrderError:
    """The error that a failed call of grpc or grpc.aio stands for."""
    if isinstance(error, OpenOrderError):
        return error
    return _make(
        error.code(),
        error.initial_metadata(),
        error.trailing_metadata(),
        error.details(),
        error.debug_error_string() if hasattr(error, "debug_error_string") else None,
    )
