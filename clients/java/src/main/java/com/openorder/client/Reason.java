package com.openorder.client;

/**
 * The reasons that OpenOrder's errors carry ({@link OpenOrderException#getReason()}), as the contract names them. More
 * may be added: an unknown one is there as text all the same.
 */
public final class Reason {
    // Of any call: the gateway's own.
    public static final String API_KEY_UNKNOWN = "API_KEY_UNKNOWN";
    public static final String CALLER_RATE_EXCEEDED = "CALLER_RATE_EXCEEDED";
    public static final String SIGN_IN_UNAVAILABLE = "SIGN_IN_UNAVAILABLE";
    public static final String TOKEN_EXPIRED = "TOKEN_EXPIRED";
    public static final String TOKEN_MISSING = "TOKEN_MISSING";
    public static final String TOKEN_REVOKED = "TOKEN_REVOKED";
    public static final String ANSWERS_UNREAD = "ANSWERS_UNREAD";
    public static final String ANSWER_TOO_LARGE = "ANSWER_TOO_LARGE";
    public static final String INVALID_ARGUMENT = "INVALID_ARGUMENT";
    public static final String MALFORMED_REQUEST = "MALFORMED_REQUEST";
    public static final String METADATA_TOO_LARGE = "METADATA_TOO_LARGE";
    public static final String OVERLOADED = "OVERLOADED";
    public static final String REQUEST_ID_REUSED = "REQUEST_ID_REUSED";
    public static final String REQUEST_TOO_LARGE = "REQUEST_TOO_LARGE";
    public static final String REQUEST_TOO_SLOW = "REQUEST_TOO_SLOW";
    public static final String ROLE_REQUIRED = "ROLE_REQUIRED";
    public static final String SHUTTING_DOWN = "SHUTTING_DOWN";
    public static final String UNSUPPORTED_ENCODING = "UNSUPPORTED_ENCODING";
    public static final String UPSTREAM_UNAVAILABLE = "UPSTREAM_UNAVAILABLE";

    // Orders.
    public static final String COMPENSATION_NOT_FAILED = "COMPENSATION_NOT_FAILED";
    public static final String CURRENCY_MISMATCH = "CURRENCY_MISMATCH";
    public static final String CUSTOMER_MISMATCH = "CUSTOMER_MISMATCH";
    public static final String MODIFICATION_UNDER_WAY = "MODIFICATION_UNDER_WAY";
    public static final String ORDER_HAS_COUPON = "ORDER_HAS_COUPON";
    public static final String ORDER_NOT_CANCELLABLE = "ORDER_NOT_CANCELLABLE";
    public static final String ORDER_NOT_FOUND = "ORDER_NOT_FOUND";
    public static final String ORDER_NOT_MODIFIABLE = "ORDER_NOT_MODIFIABLE";
    public static final String ORDER_STATUS_MISMATCH = "ORDER_STATUS_MISMATCH";
    public static final String ORDER_TRANSITION_NOT_ALLOWED = "ORDER_TRANSITION_NOT_ALLOWED";
    public static final String ORDER_VERSION_MISMATCH = "ORDER_VERSION_MISMATCH";
    public static final String OUT_OF_STOCK = "OUT_OF_STOCK";
    public static final String PAYMENT_MODE_UNSUPPORTED = "PAYMENT_MODE_UNSUPPORTED";
    public static final String PRICE_CHANGED = "PRICE_CHANGED";
    public static final String UNKNOWN_SKU = "UNKNOWN_SKU";

    // Products.
    public static final String PRODUCT_DELETED = "PRODUCT_DELETED";
    public static final String PRODUCT_NOT_FOUND = "PRODUCT_NOT_FOUND";
    public static final String PRODUCT_VERSION_MISMATCH = "PRODUCT_VERSION_MISMATCH";
    public static final String SKU_ALREADY_EXISTS = "SKU_ALREADY_EXISTS";

    // Inventory.
    public static final String RESERVATION_ALREADY_EXISTS = "RESERVATION_ALREADY_EXISTS";
    public static final String RESERVATION_RELEASED = "RESERVATION_RELEASED";
    public static final String RESERVATION_SHIPPED = "RESERVATION_SHIPPED";
    public static final String STOCK_LIMIT_EXCEEDED = "STOCK_LIMIT_EXCEEDED";

    // Payments.
    public static final String INSUFFICIENT_BALANCE = "INSUFFICIENT_BALANCE";
    public static final String NOT_YOUR_WALLET = "NOT_YOUR_WALLET";
    public static final String ORDER_ALREADY_PAID = "ORDER_ALREADY_PAID";
    public static final String ORDER_NOT_PAYABLE = "ORDER_NOT_PAYABLE";
    public static final String PAYMENT_NOT_FOUND = "PAYMENT_NOT_FOUND";
    public static final String PAYMENT_NOT_MANUAL = "PAYMENT_NOT_MANUAL";
    public static final String WALLET_LIMIT_EXCEEDED = "WALLET_LIMIT_EXCEEDED";
    public static final String WALLET_NOT_FOUND = "WALLET_NOT_FOUND";

    // Notifications.
    public static final String NOTIFICATION_IN_PROGRESS = "NOTIFICATION_IN_PROGRESS";
    public static final String NOTIFICATION_NOT_FOUND = "NOTIFICATION_NOT_FOUND";
    public static final String RECIPIENT_MISSING = "RECIPIENT_MISSING";

    // Coupons.
    public static final String COUPONS_NOT_SUPPORTED = "COUPONS_NOT_SUPPORTED";
    public static final String COUPON_ALREADY_USED = "COUPON_ALREADY_USED";
    public static final String COUPON_CODE_ALREADY_EXISTS = "COUPON_CODE_ALREADY_EXISTS";
    public static final String COUPON_EXPIRED = "COUPON_EXPIRED";
    public static final String COUPON_LIMIT_REACHED = "COUPON_LIMIT_REACHED";
    public static final String COUPON_MINIMUM_NOT_REACHED = "COUPON_MINIMUM_NOT_REACHED";
    public static final String COUPON_NOT_APPLICABLE = "COUPON_NOT_APPLICABLE";
    public static final String COUPON_NOT_FOUND = "COUPON_NOT_FOUND";
    public static final String COUPON_NOT_VALID_YET = "COUPON_NOT_VALID_YET";
    public static final String COUPON_RELEASED = "COUPON_RELEASED";
    public static final String COUPON_SOLD_OUT = "COUPON_SOLD_OUT";
    public static final String COUPON_VERSION_MISMATCH = "COUPON_VERSION_MISMATCH";
    public static final String ISSUE_LIMIT_BELOW_ISSUED = "ISSUE_LIMIT_BELOW_ISSUED";
    public static final String NOT_YOUR_COUPON = "NOT_YOUR_COUPON";
    public static final String VALIDITY_EMPTY = "VALIDITY_EMPTY";

    // Users and sign-in.
    public static final String API_KEY_LIMIT_REACHED = "API_KEY_LIMIT_REACHED";
    public static final String API_KEY_NOT_ALLOWED = "API_KEY_NOT_ALLOWED";
    public static final String API_KEY_NOT_FOUND = "API_KEY_NOT_FOUND";
    public static final String CREDENTIALS_REFUSED = "CREDENTIALS_REFUSED";
    public static final String CURRENT_PASSWORD_WRONG = "CURRENT_PASSWORD_WRONG";
    public static final String EMAIL_TAKEN = "EMAIL_TAKEN";
    public static final String OPERATOR_IS_ONESELF = "OPERATOR_IS_ONESELF";
    public static final String PASSWORD_QUEUE_FULL = "PASSWORD_QUEUE_FULL";
    public static final String PASSWORD_TOO_COMMON = "PASSWORD_TOO_COMMON";
    public static final String REFRESH_TOKEN_REFUSED = "REFRESH_TOKEN_REFUSED";
    public static final String REFRESH_TOKEN_REUSED = "REFRESH_TOKEN_REUSED";
    public static final String SIGN_IN_DELAYED = "SIGN_IN_DELAYED";
    public static final String USER_DISABLED = "USER_DISABLED";
    public static final String USER_ERASED = "USER_ERASED";
    public static final String USER_ID_TAKEN = "USER_ID_TAKEN";
    public static final String USER_NOT_FOUND = "USER_NOT_FOUND";
    public static final String USER_VERSION_MISMATCH = "USER_VERSION_MISMATCH";

    // Shipments.
    public static final String CARRIER_EVENT_ID_REUSED = "CARRIER_EVENT_ID_REUSED";
    public static final String SHIPMENT_ALREADY_SHIPPED = "SHIPMENT_ALREADY_SHIPPED";
    public static final String SHIPMENT_CANCELLED = "SHIPMENT_CANCELLED";
    public static final String SHIPMENT_EVENT_IN_FUTURE = "SHIPMENT_EVENT_IN_FUTURE";
    public static final String SHIPMENT_EVENT_LIMIT_REACHED = "SHIPMENT_EVENT_LIMIT_REACHED";
    public static final String SHIPMENT_NOT_FOUND = "SHIPMENT_NOT_FOUND";
    public static final String SHIPMENT_NOT_SHIPPED = "SHIPMENT_NOT_SHIPPED";
    public static final String SHIPMENT_VERSION_MISMATCH = "SHIPMENT_VERSION_MISMATCH";

    // Analytics.
    public static final String REBUILD_NOT_FOUND = "REBUILD_NOT_FOUND";
    public static final String REBUILD_UNDER_WAY = "REBUILD_UNDER_WAY";
    public static final String SUMMARY_TOO_LARGE = "SUMMARY_TOO_LARGE";

    // History.
    public static final String VIEW_BEHIND = "VIEW_BEHIND";

    // Carts.
    public static final String CART_BUSY = "CART_BUSY";
    public static final String CART_EMPTY = "CART_EMPTY";
    public static final String CART_LINE_LIMIT_REACHED = "CART_LINE_LIMIT_REACHED";
    public static final String CART_LINE_NOT_FOUND = "CART_LINE_NOT_FOUND";
    public static final String CART_QUANTITY_LIMIT_REACHED = "CART_QUANTITY_LIMIT_REACHED";
    public static final String CART_VERSION_MISMATCH = "CART_VERSION_MISMATCH";

    // Operations.
    public static final String ALREADY_IN_REPLAY = "ALREADY_IN_REPLAY";
    public static final String DEAD_LETTER_UNKNOWN = "DEAD_LETTER_UNKNOWN";
    public static final String DISCARD_SET_EMPTY = "DISCARD_SET_EMPTY";
    public static final String EVENTS_PRUNED = "EVENTS_PRUNED";
    public static final String NOT_A_DEAD_LETTER = "NOT_A_DEAD_LETTER";
    public static final String NOT_SUBSCRIBED = "NOT_SUBSCRIBED";
    public static final String REPLAY_RUNNING = "REPLAY_RUNNING";
    public static final String REPLAY_SET_EMPTY = "REPLAY_SET_EMPTY";
    public static final String REPLAY_UNKNOWN = "REPLAY_UNKNOWN";

    private Reason() {}
}
