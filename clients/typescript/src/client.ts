import { type Client, createClient, type Transport } from "@connectrpc/connect";
import { reliable } from "./calls.js";
import { AnalyticsService } from "./gen/openorder/analytics/v1/index.js";
import { CartService } from "./gen/openorder/cart/v1/index.js";
import { HistoryService } from "./gen/openorder/history/v1/index.js";
import { InventoryService } from "./gen/openorder/inventory/v1/index.js";
import { NotificationService } from "./gen/openorder/notification/v1/index.js";
import { OperationsService } from "./gen/openorder/operations/v1/index.js";
import { type Order, OrderService, OrderStatus } from "./gen/openorder/order/v1/index.js";
import { PaymentService } from "./gen/openorder/payment/v1/index.js";
import { ProductService } from "./gen/openorder/product/v1/index.js";
import { PromotionService } from "./gen/openorder/promotion/v1/index.js";
import { ShippingService } from "./gen/openorder/shipping/v1/index.js";
import { UserService } from "./gen/openorder/user/v1/index.js";
import { defaultRetryPolicy, type RetryPolicy } from "./retry.js";
import { watch } from "./watch.js";

/** What holds for all calls of a client. */
export interface ClientOptions {
    /** Deadline of a call over all its attempts, in milliseconds, where the call has no `timeoutMs` of its own; 10,000. */
    readonly timeoutMs?: number;
    /** What differs from {@link defaultRetryPolicy}. */
    readonly retry?: Partial<RetryPolicy>;
}

/**
 * The services of OpenOrder. A method takes a request and, as an option, `{ timeoutMs, signal, headers }`, and fails with
 * an `OpenOrderError`. Its comment in the contract says what it does.
 */
export interface OpenOrder {
    readonly orders: Client<typeof OrderService>;
    readonly products: Client<typeof ProductService>;
    readonly inventory: Client<typeof InventoryService>;
    readonly payments: Client<typeof PaymentService>;
    readonly notifications: Client<typeof NotificationService>;
    readonly promotions: Client<typeof PromotionService>;
    readonly shipments: Client<typeof ShippingService>;
    readonly analytics: Client<typeof AnalyticsService>;
    readonly history: Client<typeof HistoryService>;
    readonly carts: Client<typeof CartService>;
    readonly users: Client<typeof UserService>;
    readonly operations: Client<typeof OperationsService>;
    /**
     * The order as it stands and after each change, until it has reached `until`, is past it, or is DELIVERED, CANCELLED or
     * REJECTED. Without `until`, only these end it.
     *
     * A stream that breaks is opened again, and no order comes twice. After `retry.maxAttempts` streams without
     * progress, the last one's error is thrown.
     *
     * @throws OpenOrderError
     */
    watchOrder(
        orderId: string,
        until?: OrderStatus,
        options?: { signal?: AbortSignal },
    ): AsyncGenerator<Order, void, undefined>;
}

/** A client over any transport of Connect; `connect` of `@openorder/client/node` makes one for Node.js. */
export function client(transport: Transport, options: ClientOptions = {}): OpenOrder {
    const timeoutMs = options.timeoutMs ?? 10_000;
    const policy = { ...defaultRetryPolicy, ...options.retry };
    const calls = reliable(transport, timeoutMs, policy);
    const orders = createClient(OrderService, calls);
    return {
        orders,
        products: createClient(ProductService, calls),
        inventory: createClient(InventoryService, calls),
        payments: createClient(PaymentService, calls),
        notifications: createClient(NotificationService, calls),
        promotions: createClient(PromotionService, calls),
        shipments: createClient(ShippingService, calls),
        analytics: createClient(AnalyticsService, calls),
        history: createClient(HistoryService, calls),
        carts: createClient(CartService, calls),
        users: createClient(UserService, calls),
        operations: createClient(OperationsService, calls),
        watchOrder: (orderId, until = OrderStatus.UNSPECIFIED, { signal } = {}) =>
            watch(orders, orderId, until, timeoutMs, policy, signal),
    };
}
