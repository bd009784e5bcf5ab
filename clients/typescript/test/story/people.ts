// Who calls in the story, each by a client of its own, and the steps that are about that.
import { isReason, type KnownReason, type OpenOrder, SessionEndedError, toMoney } from "@openorder/client";
import { OrderStatus } from "@openorder/client/order/v1";
import { UserRole } from "@openorder/client/user/v1";
import assert from "node:assert/strict";
import { setTimeout as pause } from "node:timers/promises";
import { failure, open, type Person } from "./system.js";

interface Story {
    product: { currency: string };
    wallet: { amount_minor: number };
    customer: Person;
    stranger: Person;
    program: Person;
    wrong_password: string;
    expired_token: { after_ms: number };
    revoked_token: { within_ms: number };
}

export class People {
    readonly #customer: OpenOrder;
    readonly #stranger: OpenOrder;
    /** Without a token. */
    readonly #nobody: OpenOrder;
    #customerId = "";
    #strangerId = "";
    #orderId = "";
    /** An access token that nobody renews, and when it was given. */
    #first = "";
    #firstAtMs = 0;
    /** The API key of a program that acts for customers. */
    key = "";

    constructor(
        private readonly story: Story,
        private readonly operator: OpenOrder,
        private readonly after: (end: () => void) => void,
    ) {
        this.#customer = open(after);
        this.#stranger = open(after);
        this.#nobody = open(after);
    }

    #self() {
        return { userId: this.#customerId };
    }

    async register() {
        const { customer, stranger, program } = this.story;
        const request = ({ email, password, display_name: displayName }: Person) => ({ email, password, displayName });
        for (const person of [customer, stranger]) {
            const { user } = await this.#nobody.users.registerUser(request(person));
            assert.deepEqual(user?.roles, [UserRole.CUSTOMER]);
            assert.equal(user.email, person.email);
            if (person === customer) this.#customerId = user.userId;
            else this.#strangerId = user.userId;
        }
        assert.ok(isReason(await failure(this.#nobody.users.registerUser(request(customer))), "EMAIL_TAKEN"));
        const withRole = { ...request(program), roles: [UserRole.SERVICE] };
        assert.ok(isReason(await failure(this.#nobody.users.registerUser(withRole)), "ROLE_REQUIRED"));
        await this.operator.users.registerUser(withRole);
    }

    async signIn() {
        const { customer, stranger, program, wrong_password: wrong } = this.story;
        assert.ok(isReason(await failure(this.#customer.signIn(customer.email, wrong)), "CREDENTIALS_REFUSED"));
        assert.ok(isReason(await failure(this.#customer.users.getUser(this.#self())), "TOKEN_MISSING"));
        assert.equal((await this.#customer.signIn(customer.email, customer.password)).userId, this.#customerId);
        assert.equal((await this.#customer.users.getUser(this.#self())).user?.email, customer.email);
        await this.#stranger.signIn(stranger.email, stranger.password);
        const { email, password } = customer;
        const { session } = await this.#nobody.users.authenticate({ email, password });
        this.#first = session!.accessToken;
        this.#firstAtMs = performance.now();

        const { users } = await this.operator.users.listUsers({ email: program.email });
        const userId = users[0]!.userId;
        this.key = (await this.operator.users.createApiKey({ userId, displayName: "story" })).key;
        const { user } = await open(this.after, { credential: this.key }).users.getUser({ userId });
        assert.equal(user?.email, program.email);
    }

    async notMine(sku: string) {
        const amount = toMoney(BigInt(this.story.wallet.amount_minor), this.story.product.currency);
        await this.#customer.payments.chargeWallet({ ...this.#self(), amount });
        const request = { customerId: this.#customerId, lines: [{ sku, quantity: 1 }] };
        const orderId = (await this.#customer.orders.createOrder(request)).order!.orderId;
        this.#orderId = orderId;
        let last: OrderStatus | undefined;
        for await (const { status } of this.#customer.watchOrder(orderId, OrderStatus.PREPARING)) last = status;
        assert.equal(last, OrderStatus.PREPARING);

        const { orders, payments } = this.#stranger;
        assert.ok(isReason(await failure(orders.getOrder({ orderId })), "ORDER_NOT_FOUND"));
        assert.ok(isReason(await failure(this.#stranger.watchOrder(orderId).next()), "ORDER_NOT_FOUND"));
        assert.ok(isReason(await failure(payments.chargeWallet({ ...this.#self(), amount })), "NOT_YOUR_WALLET"));
        assert.ok(isReason(await failure(orders.createOrder(request)), "CUSTOMER_MISMATCH"));
    }

    async expiredToken() {
        await pause(Math.max(0, this.#firstAtMs + this.story.expired_token.after_ms - performance.now()));
        const old = open(this.after, { credential: this.#first });
        assert.ok(isReason(await failure(old.users.getUser(this.#self())), "TOKEN_EXPIRED"));
        assert.equal((await this.#customer.users.getUser(this.#self())).user?.userId, this.#customerId);
    }

    async revokedToken() {
        const { customer, revoked_token: bound } = this.story;
        const roles = [UserRole.CUSTOMER, UserRole.VIEWER];
        await this.operator.users.assignRole({ userId: this.#strangerId, roles });
        const listed = await this.#unlessFor(bound.within_ms, "ROLE_REQUIRED", () =>
            this.#stranger.users.listUsers({ pageSize: 1 }),
        );
        assert.equal(listed.users.length, 1);

        const ends = { signal: AbortSignal.timeout(2 * bound.within_ms) };
        const orders = this.#customer.watchOrder(this.#orderId, OrderStatus.DELIVERED, ends);
        assert.equal((await orders.next()).done, false);
        const watched = failure(orders.next());
        const target = { case: "userId", value: this.#customerId } as const;
        await this.operator.users.signOut({ target });
        const until = performance.now() + bound.within_ms;
        let error: unknown;
        while (error === undefined && performance.now() < until) {
            await pause(50);
            error = await this.#customer.users.getUser(this.#self()).then(() => undefined, (cause: unknown) => cause);
        }
        assert.ok(error instanceof SessionEndedError, String(error));
        assert.ok(isReason(error, "TOKEN_REVOKED") || isReason(error, "REFRESH_TOKEN_REFUSED"), error.message);
        assert.ok((await watched) instanceof SessionEndedError, "the watch ends, too");
        await this.#customer.signIn(customer.email, customer.password);
        assert.equal((await this.#customer.users.getUser(this.#self())).user?.userId, this.#customerId);
        await this.#customer.signOut();
        assert.ok(isReason(await failure(this.#customer.users.getUser(this.#self())), "TOKEN_MISSING"));
    }
    /** What a call answers that is refused so for a while. */
    async #unlessFor<T>(withinMs: number, reason: KnownReason, call: () => Promise<T>): Promise<T> {
        for (const until = performance.now() + withinMs; ; await pause(50)) {
            try {
                return await call();
            } catch (error) {
                if (!isReason(error, reason) || performance.now() > until) throw error;
            }
        }
    }
}
