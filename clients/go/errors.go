package openorder

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"google.golang.org/genproto/googleapis/rpc/errdetails"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
)

// Domain of OpenOrder's reasons.
const Domain = "openorder"

// Error is what a refused or failed call returns:
//
//	var failure *openorder.Error
//	if errors.As(err, &failure) { … failure.Violations … }
//	if errors.Is(err, openorder.ErrOutOfStock) { … }
//
// status.FromError and status.Code take it as well.
type Error struct {
	// Code of gRPC.
	Code codes.Code
	// Message is for people to read: its wording may change.
	Message string
	// Reason is stable. It is empty where the error is not OpenOrder's own: a lost connection, a passed deadline.
	Reason Reason
	// Domain of Reason: "openorder".
	Domain string
	// Metadata belongs to Reason, such as the SKU that is out of stock.
	Metadata map[string]string
	// Violations are the fields at fault, each with description and stable reason; of INVALID_ARGUMENT.
	Violations []*errdetails.BadRequest_FieldViolation
	// RetryDelay is after how long the same call may succeed, if HasRetryDelay.
	RetryDelay    time.Duration
	HasRetryDelay bool

	// Method is the full name, `/openorder.order.v1.OrderService/CreateOrder`.
	Method string
	// RequestID that the call was made under: under it, the call can be repeated without being done twice. Empty for
	// methods that take none.
	RequestID string
	// Attempts that were made.
	Attempts int

	status *status.Status
	cause  error
	// The client's session was found to have ended.
	sessionEnded bool
	// The call's token is not good any more: the next one may be.
	staleToken bool
}

// The error as it is where it was made here; else what gRPC says in it.
func asError(err error) *Error {
	var failure *Error
	if errors.As(err, &failure) {
		made := *failure
		return &made
	}
	return newError(err)
}

func newError(err error) *Error {
	s, _ := status.FromError(err)
	e := &Error{Code: s.Code(), Message: s.Message(), status: s, cause: err}
	for _, detail := range s.Details() {
		switch detail := detail.(type) {
		case *errdetails.ErrorInfo:
			e.Reason, e.Domain, e.Metadata = Reason(detail.GetReason()), detail.GetDomain(), detail.GetMetadata()
		case *errdetails.BadRequest:
			e.Violations = append(e.Violations, detail.GetFieldViolations()...)
		case *errdetails.RetryInfo:
			e.RetryDelay, e.HasRetryDelay = max(0, detail.GetRetryDelay().AsDuration()), true
		}
	}
	return e
}

// Error is one line: method, code, reason, message, and the fields at fault.
func (e *Error) Error() string {
	text := strings.Builder{}
	fmt.Fprintf(&text, "%s: %s", e.Method[strings.LastIndexByte(e.Method, '/')+1:], e.Code)
	if e.Reason != "" {
		fmt.Fprintf(&text, " (%s)", string(e.Reason))
	}
	fmt.Fprintf(&text, ": %s", e.Message)
	for _, violation := range e.Violations {
		fmt.Fprintf(&text, "; %s %s", violation.GetField(), violation.GetDescription())
	}
	return text.String()
}

// GRPCStatus makes status.FromError and status.Code work.
func (e *Error) GRPCStatus() *status.Status { return e.status }

// Unwrap returns the error of gRPC.
func (e *Error) Unwrap() error { return e.cause }

// Is is true for the error's own Reason, for ErrSessionEnded of a session that has ended, for context.Canceled of CANCELLED,
// and for context.DeadlineExceeded of DEADLINE_EXCEEDED.
func (e *Error) Is(target error) bool {
	switch target {
	case context.Canceled:
		return e.Code == codes.Canceled
	case context.DeadlineExceeded:
		return e.Code == codes.DeadlineExceeded
	case ErrSessionEnded:
		return e.sessionEnded
	}
	reason, ok := target.(Reason)
	return ok && reason == e.Reason && e.Domain == Domain
}

// ReasonOf is the reason of an error that came from a call, also a wrapped one; empty where there is none.
func ReasonOf(err error) Reason {
	var e *Error
	if errors.As(err, &e) {
		return e.Reason
	}
	return ""
}

// Reason of a refusal, stable, in UPPER_SNAKE. It is an error so that errors.Is takes it: the known ones stand below, and
// one that was added later is Reason("ITS_NAME").
type Reason string

func (r Reason) Error() string { return string(r) }

// The reasons that the contract names in its comments, and the gateway's own (docs/calling.md).
const (
	ErrAPIKeyLimitReached        = Reason("API_KEY_LIMIT_REACHED")
	ErrAPIKeyNotAllowed          = Reason("API_KEY_NOT_ALLOWED")
	ErrAPIKeyNotFound            = Reason("API_KEY_NOT_FOUND")
	ErrAlreadyInReplay           = Reason("ALREADY_IN_REPLAY")
	ErrAnswerTooLarge            = Reason("ANSWER_TOO_LARGE")
	ErrAnswersUnread             = Reason("ANSWERS_UNREAD")
	ErrAPIKeyUnknown             = Reason("API_KEY_UNKNOWN")
	ErrCallerRateExceeded        = Reason("CALLER_RATE_EXCEEDED")
	ErrCarrierEventIDReused      = Reason("CARRIER_EVENT_ID_REUSED")
	ErrCartBusy                  = Reason("CART_BUSY")
	ErrCartEmpty                 = Reason("CART_EMPTY")
	ErrCartLineLimitReached      = Reason("CART_LINE_LIMIT_REACHED")
	ErrCartLineNotFound          = Reason("CART_LINE_NOT_FOUND")
	ErrCartQuantityLimitReached  = Reason("CART_QUANTITY_LIMIT_REACHED")
	ErrCartVersionMismatch       = Reason("CART_VERSION_MISMATCH")
	ErrCompensationNotFailed     = Reason("COMPENSATION_NOT_FAILED")
	ErrCouponAlreadyUsed         = Reason("COUPON_ALREADY_USED")
	ErrCouponCodeAlreadyExists   = Reason("COUPON_CODE_ALREADY_EXISTS")
	ErrCouponExpired             = Reason("COUPON_EXPIRED")
	ErrCouponLimitReached        = Reason("COUPON_LIMIT_REACHED")
	ErrCouponMinimumNotReached   = Reason("COUPON_MINIMUM_NOT_REACHED")
	ErrCouponNotApplicable       = Reason("COUPON_NOT_APPLICABLE")
	ErrCouponNotFound            = Reason("COUPON_NOT_FOUND")
	ErrCouponNotValidYet         = Reason("COUPON_NOT_VALID_YET")
	ErrCouponReleased            = Reason("COUPON_RELEASED")
	ErrCouponSoldOut             = Reason("COUPON_SOLD_OUT")
	ErrCouponVersionMismatch     = Reason("COUPON_VERSION_MISMATCH")
	ErrCouponsNotSupported       = Reason("COUPONS_NOT_SUPPORTED")
	ErrCredentialsRefused        = Reason("CREDENTIALS_REFUSED")
	ErrCurrencyMismatch          = Reason("CURRENCY_MISMATCH")
	ErrCurrentPasswordWrong      = Reason("CURRENT_PASSWORD_WRONG")
	ErrCustomerMismatch          = Reason("CUSTOMER_MISMATCH")
	ErrDeadLetterUnknown         = Reason("DEAD_LETTER_UNKNOWN")
	ErrDiscardSetEmpty           = Reason("DISCARD_SET_EMPTY")
	ErrEmailTaken                = Reason("EMAIL_TAKEN")
	ErrEventsPruned              = Reason("EVENTS_PRUNED")
	ErrInsufficientBalance       = Reason("INSUFFICIENT_BALANCE")
	ErrIssueLimitBelowIssued     = Reason("ISSUE_LIMIT_BELOW_ISSUED")
	ErrMalformedRequest          = Reason("MALFORMED_REQUEST")
	ErrMetadataTooLarge          = Reason("METADATA_TOO_LARGE")
	ErrModificationUnderWay      = Reason("MODIFICATION_UNDER_WAY")
	ErrNotADeadLetter            = Reason("NOT_A_DEAD_LETTER")
	ErrNotSubscribed             = Reason("NOT_SUBSCRIBED")
	ErrNotYourCoupon             = Reason("NOT_YOUR_COUPON")
	ErrNotYourWallet             = Reason("NOT_YOUR_WALLET")
	ErrNotificationInProgress    = Reason("NOTIFICATION_IN_PROGRESS")
	ErrNotificationNotFound      = Reason("NOTIFICATION_NOT_FOUND")
	ErrOperatorIsOneself         = Reason("OPERATOR_IS_ONESELF")
	ErrOrderAlreadyPaid          = Reason("ORDER_ALREADY_PAID")
	ErrOrderHasCoupon            = Reason("ORDER_HAS_COUPON")
	ErrOrderNotCancellable       = Reason("ORDER_NOT_CANCELLABLE")
	ErrOrderNotFound             = Reason("ORDER_NOT_FOUND")
	ErrOrderNotModifiable        = Reason("ORDER_NOT_MODIFIABLE")
	ErrOrderNotPayable           = Reason("ORDER_NOT_PAYABLE")
	ErrOrderStatusMismatch       = Reason("ORDER_STATUS_MISMATCH")
	ErrOrderTransitionNotAllowed = Reason("ORDER_TRANSITION_NOT_ALLOWED")
	ErrOrderVersionMismatch      = Reason("ORDER_VERSION_MISMATCH")
	ErrOutOfStock                = Reason("OUT_OF_STOCK")
	ErrOverloaded                = Reason("OVERLOADED")
	ErrPasswordQueueFull         = Reason("PASSWORD_QUEUE_FULL")
	ErrPasswordTooCommon         = Reason("PASSWORD_TOO_COMMON")
	ErrPaymentModeUnsupported    = Reason("PAYMENT_MODE_UNSUPPORTED")
	ErrPaymentNotFound           = Reason("PAYMENT_NOT_FOUND")
	ErrPaymentNotManual          = Reason("PAYMENT_NOT_MANUAL")
	ErrPriceChanged              = Reason("PRICE_CHANGED")
	ErrProductDeleted            = Reason("PRODUCT_DELETED")
	ErrProductNotFound           = Reason("PRODUCT_NOT_FOUND")
	ErrProductVersionMismatch    = Reason("PRODUCT_VERSION_MISMATCH")
	ErrRebuildNotFound           = Reason("REBUILD_NOT_FOUND")
	ErrRebuildUnderWay           = Reason("REBUILD_UNDER_WAY")
	ErrRecipientMissing          = Reason("RECIPIENT_MISSING")
	ErrRefreshTokenRefused       = Reason("REFRESH_TOKEN_REFUSED")
	ErrRefreshTokenReused        = Reason("REFRESH_TOKEN_REUSED")
	ErrReplayRunning             = Reason("REPLAY_RUNNING")
	ErrReplaySetEmpty            = Reason("REPLAY_SET_EMPTY")
	ErrReplayUnknown             = Reason("REPLAY_UNKNOWN")
	ErrRequestIDReused           = Reason("REQUEST_ID_REUSED")
	ErrRequestTooLarge           = Reason("REQUEST_TOO_LARGE")
	ErrRequestTooSlow            = Reason("REQUEST_TOO_SLOW")
	ErrReservationAlreadyExists  = Reason("RESERVATION_ALREADY_EXISTS")
	ErrReservationReleased       = Reason("RESERVATION_RELEASED")
	ErrReservationShipped        = Reason("RESERVATION_SHIPPED")
	ErrRoleRequired              = Reason("ROLE_REQUIRED")
	ErrSignInUnavailable         = Reason("SIGN_IN_UNAVAILABLE")
	ErrSKUAlreadyExists          = Reason("SKU_ALREADY_EXISTS")
	ErrShipmentAlreadyShipped    = Reason("SHIPMENT_ALREADY_SHIPPED")
	ErrShipmentCancelled         = Reason("SHIPMENT_CANCELLED")
	ErrShipmentEventInFuture     = Reason("SHIPMENT_EVENT_IN_FUTURE")
	ErrShipmentEventLimitReached = Reason("SHIPMENT_EVENT_LIMIT_REACHED")
	ErrShipmentNotFound          = Reason("SHIPMENT_NOT_FOUND")
	ErrShipmentNotShipped        = Reason("SHIPMENT_NOT_SHIPPED")
	ErrShipmentVersionMismatch   = Reason("SHIPMENT_VERSION_MISMATCH")
	ErrSignInDelayed             = Reason("SIGN_IN_DELAYED")
	ErrStockLimitExceeded        = Reason("STOCK_LIMIT_EXCEEDED")
	ErrSummaryTooLarge           = Reason("SUMMARY_TOO_LARGE")
	ErrTokenExpired              = Reason("TOKEN_EXPIRED")
	ErrTokenMissing              = Reason("TOKEN_MISSING")
	ErrTokenRevoked              = Reason("TOKEN_REVOKED")
	ErrUnknownSKU                = Reason("UNKNOWN_SKU")
	ErrUnsupportedEncoding       = Reason("UNSUPPORTED_ENCODING")
	ErrUserDisabled              = Reason("USER_DISABLED")
	ErrUserErased                = Reason("USER_ERASED")
	ErrUserIDTaken               = Reason("USER_ID_TAKEN")
	ErrUserNotFound              = Reason("USER_NOT_FOUND")
	ErrUserVersionMismatch       = Reason("USER_VERSION_MISMATCH")
	ErrValidityEmpty             = Reason("VALIDITY_EMPTY")
	ErrViewBehind                = Reason("VIEW_BEHIND")
	ErrWalletLimitExceeded       = Reason("WALLET_LIMIT_EXCEEDED")
	ErrWalletNotFound            = Reason("WALLET_NOT_FOUND")
)
