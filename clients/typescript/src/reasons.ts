/**
 * The reasons that the contract names, with the code each comes with: `Reasons:` in the comments of `proto/`, and
 * `docs/calling.md` for the gateway's own. They are stable; more are added at any time.
 */
const REASONS = [
    // Orders
    "COMPENSATION_NOT_FAILED", // failed precondition
    "CURRENCY_MISMATCH", // failed precondition
    "CUSTOMER_MISMATCH", // permission denied
    "MODIFICATION_UNDER_WAY", // failed precondition
    "ORDER_HAS_COUPON", // failed precondition
    "ORDER_NOT_CANCELLABLE", // failed precondition
    "ORDER_NOT_FOUND", // not found
    "ORDER_NOT_MODIFIABLE", // failed precondition
    "ORDER_STATUS_MISMATCH", // failed precondition
    "ORDER_TRANSITION_NOT_ALLOWED", // failed precondition
    "ORDER_VERSION_MISMATCH", // aborted
    "OUT_OF_STOCK", // failed precondition
    "PAYMENT_MODE_UNSUPPORTED", // invalid argument
    "PRICE_CHANGED", // failed precondition
    "UNKNOWN_SKU", // failed precondition, or not found
    // Products
    "PRODUCT_DELETED", // failed precondition
    "PRODUCT_NOT_FOUND", // not found
    "PRODUCT_VERSION_MISMATCH", // aborted
    "SKU_ALREADY_EXISTS", // already exists
    // Stock
    "RESERVATION_ALREADY_EXISTS", // already exists
    "RESERVATION_RELEASED", // failed precondition
    "RESERVATION_SHIPPED", // failed precondition
    "STOCK_LIMIT_EXCEEDED", // out of range
    // Payments
    "INSUFFICIENT_BALANCE", // failed precondition
    "NOT_YOUR_WALLET", // permission denied
    "ORDER_ALREADY_PAID", // failed precondition
    "ORDER_NOT_PAYABLE", // failed precondition
    "PAYMENT_NOT_FOUND", // not found
    "PAYMENT_NOT_MANUAL", // failed precondition
    "WALLET_LIMIT_EXCEEDED", // out of range
    "WALLET_NOT_FOUND", // not found
    // Notifications
    "NOTIFICATION_IN_PROGRESS", // failed precondition
    "NOTIFICATION_NOT_FOUND", // not found
    "RECIPIENT_MISSING", // failed precondition
    // Coupons
    "COUPONS_NOT_SUPPORTED", // failed precondition
    "COUPON_ALREADY_USED", // failed precondition
    "COUPON_CODE_ALREADY_EXISTS", // already exists
    "COUPON_EXPIRED", // failed precondition
    "COUPON_LIMIT_REACHED", // failed precondition
    "COUPON_MINIMUM_NOT_REACHED", // failed precondition
    "COUPON_NOT_APPLICABLE", // failed precondition
    "COUPON_NOT_FOUND", // not found
    "COUPON_NOT_VALID_YET", // failed precondition
    "COUPON_RELEASED", // failed precondition
    "COUPON_SOLD_OUT", // failed precondition
    "COUPON_VERSION_MISMATCH", // aborted
    "ISSUE_LIMIT_BELOW_ISSUED", // failed precondition
    "NOT_YOUR_COUPON", // permission denied
    "VALIDITY_EMPTY", // failed precondition
    // Users and sign-in
    "API_KEY_LIMIT_REACHED", // failed precondition
    "API_KEY_NOT_ALLOWED", // permission denied
    "API_KEY_NOT_FOUND", // not found
    "CREDENTIALS_REFUSED", // unauthenticated
    "CURRENT_PASSWORD_WRONG", // failed precondition
    "EMAIL_TAKEN", // already exists
    "OPERATOR_IS_ONESELF", // failed precondition
    "PASSWORD_QUEUE_FULL", // resource exhausted
    "PASSWORD_TOO_COMMON", // failed precondition
    "REFRESH_TOKEN_REFUSED", // unauthenticated
    "REFRESH_TOKEN_REUSED", // unauthenticated
    "SIGN_IN_DELAYED", // resource exhausted
    "USER_DISABLED", // failed precondition
    "USER_ERASED", // failed precondition
    "USER_ID_TAKEN", // already exists
    "USER_NOT_FOUND", // not found
    "USER_VERSION_MISMATCH", // aborted
    // Shipments
    "CARRIER_EVENT_ID_REUSED", // already exists
    "SHIPMENT_ALREADY_SHIPPED", // failed precondition
    "SHIPMENT_CANCELLED", // failed precondition
    "SHIPMENT_EVENT_IN_FUTURE", // failed precondition
    "SHIPMENT_EVENT_LIMIT_REACHED", // failed precondition
    "SHIPMENT_NOT_FOUND", // not found
    "SHIPMENT_NOT_SHIPPED", // failed precondition
    "SHIPMENT_VERSION_MISMATCH", // aborted
    // Analytics
    "REBUILD_NOT_FOUND", // not found
    "REBUILD_UNDER_WAY", // failed precondition
    "SUMMARY_TOO_LARGE", // failed precondition
    // History
    "VIEW_BEHIND", // aborted
    // Carts
    "CART_BUSY", // aborted
    "CART_EMPTY", // failed precondition
    "CART_LINE_LIMIT_REACHED", // failed precondition
    "CART_LINE_NOT_FOUND", // not found
    "CART_QUANTITY_LIMIT_REACHED", // failed precondition
    "CART_VERSION_MISMATCH", // aborted
    // Operations
    "ALREADY_IN_REPLAY", // failed precondition
    "DEAD_LETTER_UNKNOWN", // not found
    "DISCARD_SET_EMPTY", // failed precondition
    "EVENTS_PRUNED", // failed precondition
    "NOT_A_DEAD_LETTER", // failed precondition
    "NOT_SUBSCRIBED", // failed precondition
    "REPLAY_RUNNING", // failed precondition
    "REPLAY_SET_EMPTY", // failed precondition
    "REPLAY_UNKNOWN", // not found
    // All services
    "REQUEST_ID_REUSED", // already exists
    "ROLE_REQUIRED", // permission denied
    // The gateway
    "API_KEY_UNKNOWN", // unauthenticated
    "CALLER_RATE_EXCEEDED", // resource exhausted
    "SIGN_IN_UNAVAILABLE", // unavailable
    "TOKEN_EXPIRED", // unauthenticated
    "TOKEN_MISSING", // unauthenticated
    "TOKEN_REVOKED", // unauthenticated
    "ANSWERS_UNREAD", // resource exhausted
    "ANSWER_TOO_LARGE", // resource exhausted
    "MALFORMED_REQUEST", // invalid argument
    "METADATA_TOO_LARGE", // resource exhausted
    "OVERLOADED", // resource exhausted
    "REQUEST_TOO_LARGE", // resource exhausted
    "REQUEST_TOO_SLOW", // deadline exceeded
    "UNSUPPORTED_ENCODING", // unimplemented
] as const;

/** A reason that the contract names. */
export type KnownReason = (typeof REASONS)[number];

/** A reason: one that the contract names, or one that this version does not know yet. */
export type Reason = KnownReason | (string & {});

/** All reasons that this version knows. */
export const knownReasons: readonly KnownReason[] = REASONS;
