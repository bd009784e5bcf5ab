import { create } from "@bufbuild/protobuf";
import { type CallOptions, type Client, createClient, type Transport } from "@connectrpc/connect";
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
import { type User, UserSchema, UserService } from "./gen/openorder/user/v1/index.js";
import { defaultRetryPolicy, RetryBudget, type RetryPolicy } from "./retry.js";
import { checkToken, ClientSession, type Credential, given } from "./session.js";
import { watch } from "./watch.js";

/** How long a refresh may take, all its attempts together, in milliseconds. */
const REFRESH_MS = 10_000;

/** What holds for all calls of a client. */
export interface ClientOptions {
    /** Deadline of a call over all its attempts, in milliseconds, where the call has no `timeoutMs` of its own; 10,000. */
    readonly timeoutMs?: number;
    /** What differs from {@link defaultRetryPolicy}. */
    readonly retry?: Partial<RetryPolicy>;
    /**
     * Sent as `authorization: Bearer …`: an API key or an access token, or a function that gives one. Who signs in by password
     * uses `signIn` instead.
     */
    readonly credential?: Credential;
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
    /**
     * Signs in by password: from then on, all calls are made as this user, with access tokens that are renewed before they
     * end. It takes the place of the session of before, which is not ended by that.
     *
     * A call that is refused because its token has ended, or was revoked, is sent once more with a new one. When there is
     * none, because the session has ended, that call and all later ones fail with a `SessionEndedError`.
     *
     * @throws OpenOrderError `CREDENTIALS_REFUSED`, `SIGN_IN_DELAYED`.
     * @throws TypeError where the client has a credential, and where the password would go to another machine without TLS.
     */
    signIn(email: string, password: string, options?: CallOptions): Promise<User>;
    /**
     * Ends the session, and forgets its tokens also where the service cannot be told: then it throws why. Without a session
     * it does nothing.
     *
     * @throws OpenOrderError
     */
    signOut(options?: CallOptions): Promise<void>;
}

/**
 * A client over any transport of Connect; `connect` of `@openorder/client/node` makes one for Node.js, and that of
 * `@openorder/client/web` for browsers. That it encrypts what is secret is the transport's own business.
 */
export function client(transport: Transport, options: ClientOptions = {}): OpenOrder {
    return clientFor(transport, options);
}

/** @param openTo where what is sent can be read on the way; not given: nowhere. */
export function clientFor(transport: Transport, options: ClientOptions, openTo?: string): OpenOrder {
    const { credential } = options;
    if (credential === "") throw new TypeError("the credential is empty");
    if (typeof credential === "string") checkToken(credential);
    if (credential !== undefined && openTo !== undefined) {
        throw new TypeError(`a credential is not sent to ${openTo} without TLS`);
    }
    const timeoutMs = options.timeoutMs ?? 10_000;
    const policy = { ...defaultRetryPolicy, ...options.retry };
    const budget = new RetryBudget(policy);
    // What needs no token, and what gives one.
    const signing = createClient(UserService, reliable(transport, { timeoutMs, policy, budget }));
    const session = new ClientSession(
        async (refreshToken) => (await signing.refreshToken({ refreshToken }, { timeoutMs: REFRESH_MS })).session,
    );
    const tokens = credential === undefined ? session : given(credential);
    const calls = reliable(transport, { timeoutMs, policy, budget, tokens });
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
        async signIn(email, password, callOptions) {
            if (credential !== undefined) throw new TypeError("the client has a credential, and needs no session");
            if (openTo !== undefined) throw new TypeError(`a password is not sent to ${openTo} without TLS`);
            const answer = await signing.authenticate({ email, password }, callOptions);
            session.begin(answer.session);
            return answer.user ?? create(UserSchema);
        },
        async signOut(callOptions) {
            const refreshToken = session.forget();
            if (refreshToken === "") return;
            await signing.signOut({ target: { case: "refreshToken", value: refreshToken } }, callOptions);
        },
    };
}
