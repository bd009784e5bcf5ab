// The story of clients/STORY.md: one test a step, named as the step is. `dev/story typescript` starts what it runs against.
import { fromJson, type JsonValue } from "@bufbuild/protobuf";
import { Code, isReason, OpenOrderError, pages, toMinorUnits, toMoney } from "@openorder/client";
import {
    type EventMessage,
    EventReader,
    type EventReaderOptions,
    type OpenOrderEvent,
    UnreadableRecordError,
} from "@openorder/client/events";
import { CreateOrderRequestSchema, type Order, OrderStatus, ReservationMode } from "@openorder/client/order/v1";
import { CreateProductRequestSchema } from "@openorder/client/product/v1";
import type { CallOptions } from "@connectrpc/connect";
import { OTLPTraceExporter } from "@opentelemetry/exporter-trace-otlp-grpc";
import { resourceFromAttributes } from "@opentelemetry/resources";
import { BatchSpanProcessor } from "@opentelemetry/sdk-trace-base";
import { NodeTracerProvider } from "@opentelemetry/sdk-trace-node";
import { Consumer, Producer } from "@platformatic/kafka";
import assert from "node:assert/strict";
import { execFile } from "node:child_process";
import { randomUUID } from "node:crypto";
import { mkdir, readFile, writeFile } from "node:fs/promises";
import { after, test } from "node:test";
import { setTimeout as pause } from "node:timers/promises";
import { promisify } from "node:util";
import { inBrowser } from "./browser.js";
import { People } from "./people.js";
import { failure, gateway, open, type Person, run, variable } from "./system.js";

const execute = promisify(execFile);
const brokers = variable("STORY_KAFKA_BROKERS").split(",");
const topicPrefix = variable("STORY_TOPIC_PREFIX");
const control = (what: string) => execute(variable("STORY_CONTROL"), ["gateway", what]);

const home = new URL("../../", import.meta.url);
const told = await readFile(new URL("../story.json", home), "utf8");
const story = JSON.parse(told.replaceAll("{run}", run)) as {
    product: Priced;
    sold_out: Priced;
    wallet: { user_id: string; amount_minor: number };
    order: { customer_id: string; quantity: number };
    timeline: string[];
    cart: { customer_id: string; quantity: number };
    pages: { customer_id: string; orders: number; page_size: number };
    bad_input: { request: JsonValue; fields: string[] };
    deadline: { customer_id: string; timeout_ms: number; late_ms_max: number };
    killed_gateway: { customer_id: string; orders: number; callers: number };
    shipped: { customer_id: string };
    customer: Person;
    stranger: Person;
    program: Person;
    browser: Person;
    wrong_password: string;
    expired_token: { after_ms: number };
    revoked_token: { within_ms: number };
};
interface Priced {
    request: { sku: string };
    price_minor: number;
    currency: string;
}

/** An operator's, to whom nearly all of the story happens. */
const openorder = open(after);
await openorder.signIn(variable("STORY_OPERATOR_EMAIL"), variable("STORY_OPERATOR_PASSWORD"));
const people = new People(story, openorder, after);

const sku = story.product.request.sku;
/** The order that the story is about; made in the step `order`. */
let order: Order;

async function createProduct({ request, price_minor, currency }: Priced) {
    const message = fromJson(CreateProductRequestSchema, request);
    message.price = toMoney(BigInt(price_minor), currency);
    const { product } = await openorder.products.createProduct(message);
    assert.ok(product);
    return product;
}

async function createOrder(
    customerId: string,
    quantity = 1,
    requestId = "",
    options: CallOptions = {},
): Promise<Order> {
    const request = { customerId, requestId, lines: [{ sku, quantity }] };
    const answer = await openorder.orders.createOrder(request, options);
    assert.ok(answer.order);
    return answer.order;
}

async function all<T>(items: AsyncIterable<T>): Promise<T[]> {
    const found: T[] = [];
    for await (const item of items) found.push(item);
    return found;
}

const ordersOf = (customerId: string) => all(pages(openorder.orders.listOrders, { customerId }, "orders"));

test("register", () => people.register());
test("sign in", () => people.signIn());

test("product", async () => {
    const { productId } = await createProduct(story.product);
    await createProduct(story.sold_out);
    const { product } = await openorder.products.getProduct({ key: { case: "productId", value: productId } });
    assert.ok(product?.price);
    assert.deepEqual(product.price, toMoney(BigInt(story.product.price_minor), story.product.currency));
    assert.equal(toMinorUnits(product.price), BigInt(story.product.price_minor));
});

test("wallet", async () => {
    const amount = toMoney(BigInt(story.wallet.amount_minor), story.product.currency);
    const { wallet } = await openorder.payments.chargeWallet({ userId: story.wallet.user_id, amount });
    assert.ok(wallet?.balance);
    assert.equal(toMinorUnits(wallet.balance), BigInt(story.wallet.amount_minor));
});

test("order", async () => {
    order = await createOrder(story.order.customer_id, story.order.quantity);
    assert.equal(order.status, OrderStatus.PENDING, order.statusReason);
    assert.ok(order.total);
    assert.equal(toMinorUnits(order.total), BigInt(story.product.price_minor) * BigInt(story.order.quantity));
    assert.match(order.traceId, /^[0-9a-f]{32}$/);
});

test("watch", async () => {
    const statuses = (await all(openorder.watchOrder(order.orderId, OrderStatus.PREPARING))).map(
        ({ status }) => status,
    );
    assert.deepEqual(
        statuses,
        [...statuses].sort((a, b) => a - b),
    );
    assert.equal(statuses.at(-1), OrderStatus.PREPARING);
});

test("timeline", async () => {
    const request = { orderId: order.orderId, pageSize: 2 };
    const entries = await all(pages(openorder.orders.getOrderTimeline, request, "events"));
    assert.deepEqual(
        entries.map(({ eventType }) => eventType),
        story.timeline,
    );
});

test("cart", async () => {
    const visitorId = randomUUID();
    const { customer_id: customerId, quantity } = story.cart;
    await openorder.carts.addItem({ visitorId, sku, quantity });
    const { cart } = await openorder.carts.mergeCart({ visitorId, customerId });
    assert.ok(cart?.total);
    assert.equal(toMinorUnits(cart.total), BigInt(story.product.price_minor) * BigInt(quantity));
    const { total: expectedTotal, version: expectedVersion } = cart;
    const { order } = await openorder.carts.checkout({ customerId, expectedVersion, expectedTotal });
    assert.deepEqual(order?.total, expectedTotal);
    const until = Date.now() + 60_000;
    while ((await openorder.carts.getCart({ customerId })).cart?.lines.length !== 0) {
        assert.ok(Date.now() < until, "what was ordered is still in the cart");
        await pause(50);
    }
});

test("pages", async () => {
    const { customer_id: customerId, orders, page_size: pageSize } = story.pages;
    const made: string[] = [];
    for (let i = 0; i < orders; i++) made.push((await createOrder(customerId)).orderId);
    const listed = await all(pages(openorder.orders.listOrders, { customerId, pageSize }, "orders"));
    assert.deepEqual(
        listed.map(({ orderId }) => orderId),
        made.reverse(),
    );
});

test("bad input", async () => {
    const error = await failure(
        openorder.orders.createOrder(fromJson(CreateOrderRequestSchema, story.bad_input.request)),
    );
    assert.equal(error.code, Code.InvalidArgument);
    assert.deepEqual(error.violations.map(({ field }) => field).sort(), [...story.bad_input.fields].sort());
    for (const { description, reason } of error.violations) assert.ok(description && reason);
});

test("reused request id", async () => {
    const first = await createOrder(story.order.customer_id, 1, `reused-${run}`);
    const again = await createOrder(story.order.customer_id, 1, `reused-${run}`);
    assert.equal(again.orderId, first.orderId);
    const error = await failure(createOrder(story.order.customer_id, 2, `reused-${run}`));
    assert.ok(isReason(error, "REQUEST_ID_REUSED"), error.reason);
    assert.equal(error.code, Code.AlreadyExists);
});

test("missing order", async () => {
    const error = await failure(openorder.orders.getOrder({ orderId: "01a2b3c4-5d6e-7f80-9123-456789abcdef" }));
    assert.equal(error.code, Code.NotFound);
    assert.equal(error.reason, "ORDER_NOT_FOUND");
    assert.equal(error.domain, "openorder");
});

test("deadline", async () => {
    const { customer_id: customerId, timeout_ms: timeoutMs, late_ms_max: lateMs } = story.deadline;
    const requestId = `deadline-${run}`;
    await control("freeze");
    let error: OpenOrderError;
    let tookMs: number;
    try {
        const begun = performance.now();
        error = await failure(createOrder(customerId, 1, requestId, { timeoutMs }));
        tookMs = performance.now() - begun;
    } finally {
        await control("thaw");
    }
    assert.equal(error.code, Code.DeadlineExceeded);
    // A timer of Node.js may be a millisecond early.
    assert.ok(tookMs >= timeoutMs - 1 && tookMs <= timeoutMs + lateMs, `${tookMs} ms`);
    const { orderId } = await createOrder(customerId, 1, requestId);
    assert.deepEqual(
        (await ordersOf(customerId)).map((order) => order.orderId),
        [orderId],
    );
});

test("out of stock", async () => {
    const { sku } = story.sold_out.request;
    const request = { customerId: story.order.customer_id, lines: [{ sku, quantity: 1 }] };
    const error = await failure(
        openorder.orders.createOrder({ ...request, reservationMode: ReservationMode.IMMEDIATE }),
    );
    assert.ok(isReason(error, "OUT_OF_STOCK"), error.reason);
    const { order } = await openorder.orders.createOrder(request);
    const last = (await all(openorder.watchOrder(order!.orderId))).at(-1);
    assert.equal(last?.status, OrderStatus.REJECTED);
    assert.equal(last?.statusReason, "OUT_OF_STOCK");
});

test("not mine", () => people.notMine(sku));

test("killed gateway", async () => {
    const { customer_id: customerId, orders, callers } = story.killed_gateway;
    const made: string[] = [];
    let left = orders;
    let killed: Promise<unknown> | undefined;
    const caller = async () => {
        while (left-- > 0) {
            made.push((await createOrder(customerId)).orderId);
            if (made.length >= orders / 3) killed ??= control("kill");
        }
    };
    await Promise.all(Array.from({ length: callers }, caller));
    await killed;
    assert.equal(made.length, orders);
    assert.deepEqual((await ordersOf(customerId)).map(({ orderId }) => orderId).sort(), made.sort());
});

test("watch through a killed gateway", async () => {
    const { orderId } = await createOrder(story.shipped.customer_id);
    const seen: OrderStatus[] = [];
    let broken: Promise<unknown> | undefined;
    for await (const { status } of openorder.watchOrder(orderId, OrderStatus.DELIVERED)) {
        seen.push(status);
        if (status !== OrderStatus.PREPARING) continue;
        broken = control("kill").then(async () => {
            const { PREPARING, SHIPPED, DELIVERED } = OrderStatus;
            await openorder.orders.updateOrderStatus({ orderId, previousStatus: PREPARING, currentStatus: SHIPPED });
            await openorder.orders.updateOrderStatus({ orderId, previousStatus: SHIPPED, currentStatus: DELIVERED });
        });
    }
    assert.ok(broken, "the order was never PREPARING");
    await broken;
    assert.equal(seen.at(-1), OrderStatus.DELIVERED);
    assert.deepEqual(
        seen,
        [...new Set(seen)].sort((a, b) => a - b),
    );
});

test("events", async () => {
    const topic = `${topicPrefix}order.lifecycle.v1`;
    const first = await firstRecord(topic, order.orderId);
    const headers = (type: string, id: string) =>
        new Map(
            Object.entries({ ce_type: type, ce_id: id, ce_source: "/story" }).map((it) => [
                Buffer.from(it[0]),
                Buffer.from(it[1]),
            ]),
        );
    const junk = Buffer.from("this is no protobuf");
    const { key, partition } = first;
    const producer = new Producer({ clientId: "story", bootstrapBrokers: brokers });
    try {
        await producer.send({
            messages: [
                {
                    topic,
                    partition,
                    key,
                    value: junk,
                    headers: headers("order.lifecycle.unheard_of", `unknown-${run}`),
                },
                { topic, partition, key, value: junk },
                { topic, partition, key, value: junk, headers: headers("order.lifecycle.paid", `unreadable-${run}`) },
                { topic, partition, key, value: first.value, headers: first.headers, timestamp: first.timestamp },
                // Behind all of them, and the last one that is read.
                {
                    topic,
                    partition,
                    key,
                    value: first.value,
                    headers: headers("order.lifecycle.created", `last-${run}`),
                },
            ],
        });
    } finally {
        await producer.close();
    }

    const unreadable: UnreadableRecordError[] = [];
    const found: OpenOrderEvent[] = [];
    const options: EventReaderOptions = {
        brokers,
        group: `story-${run}`,
        topics: ["order.lifecycle.v1"],
        topicPrefix,
        onUnreadable: (error) => void unreadable.push(error),
    };
    const reader = new EventReader({ ...options, signal: AbortSignal.timeout(30_000) });
    for await (const event of reader) {
        if (event.id === `last-${run}`) break;
        if (event.key === order.orderId) found.push(event);
    }
    assert.deepEqual(
        found.map(({ type }) => type),
        story.timeline,
    );
    const names: EventMessage["$typeName"][] = found.map(({ message }) => message.$typeName);
    assert.deepEqual(
        names,
        ["Created", "Confirmed", "Paid", "Preparing"].map((name) => `openorder.order.v1.Order${name}`),
    );
    const paid = found[2]?.message;
    assert.ok(
        paid?.$typeName === "openorder.order.v1.OrderPaid" && paid.paymentId !== "" && paid.orderId === order.orderId,
    );
    const positions = found.map(({ position }) => position ?? 0n);
    for (const [i, position] of positions.entries()) assert.ok(position > (positions[i - 1] ?? 0n), positions.join());
    for (const event of found) {
        assert.equal(event.topic, "order.lifecycle.v1");
        assert.equal(event.source, "/openorder/order");
        assert.ok(Math.abs(event.time.getTime() - Date.now()) < 600_000);
    }
    // What was left by `break` comes again, what was handled does not.
    const again = new EventReader({ ...options, signal: AbortSignal.timeout(30_000) });
    const repeated: OpenOrderEvent[] = [];
    for await (const event of again) {
        repeated.push(event);
        if (event.id === `last-${run}`) break;
    }
    assert.equal(repeated.at(-1)?.id, `last-${run}`);
    assert.deepEqual(
        repeated.filter(({ key, id }) => key === order.orderId && id !== `last-${run}`),
        [],
    );
    const { onUnreadable: _, ...strict } = options;
    const refusing = new EventReader({ ...strict, group: `story-strict-${run}`, signal: AbortSignal.timeout(30_000) });
    await assert.rejects(all(refusing), UnreadableRecordError);
    // A story that was told to the same system before has left records of its own.
    const ours = unreadable.filter(({ record }) => record.id === `unreadable-${run}`);
    assert.deepEqual(
        ours.map(({ value }) => value),
        [junk],
    );
    assert.ok(reader.skipped >= 2 && reader.copies >= 1, `${reader.skipped} skipped, ${reader.copies} copies`);
});

/** The first record of an order, as it stands in the topic. */
async function firstRecord(topic: string, key: string) {
    const consumer = new Consumer({ clientId: "story", groupId: `story-first-${run}`, bootstrapBrokers: brokers });
    const stream = await consumer.consume({ topics: [topic], mode: "earliest", autocommit: false });
    for await (const record of stream) {
        if (record.key.toString() !== key) continue;
        await consumer.close(true);
        return record;
    }
    throw new Error("the topic ended");
}

test("trace", async () => {
    const exporter = new OTLPTraceExporter({ url: variable("STORY_OTLP_ENDPOINT") });
    const provider = new NodeTracerProvider({
        resource: resourceFromAttributes({ "service.name": "story-typescript" }),
        // Room for all: the topic is read from its beginning, and has the orders of other stories too.
        spanProcessors: [new BatchSpanProcessor(exporter, { maxQueueSize: 100_000 })],
    });
    provider.register();
    let handled = 0;
    const reader = new EventReader({
        brokers,
        group: `story-trace-${run}`,
        topics: ["order.lifecycle.v1"],
        topicPrefix,
        onUnreadable: () => undefined,
        signal: AbortSignal.timeout(60_000),
    });
    await reader.run((event) => {
        if (event.key === order.orderId && ++handled === story.timeline.length) reader.close();
    });
    assert.equal(handled, story.timeline.length);
    await provider.shutdown();

    for (let left = 300; ; left--) {
        const spans = await spansOf(order.traceId);
        const ours = spans.filter(({ service }) => service === "story-typescript");
        const ids = new Set(spans.map(({ id }) => id));
        if (
            ours.length >= story.timeline.length &&
            ours.every(({ parent }) => parent !== undefined && ids.has(parent))
        ) {
            for (const { kind } of ours) assert.equal(kind, "consumer");
            break;
        }
        assert.ok(left > 0, `of ${spans.length} spans, ${JSON.stringify(ours)} are the story's`);
        await pause(200);
    }
});

interface JaegerTrace {
    processes: Record<string, { serviceName: string }>;
    spans: {
        spanID: string;
        processID: string;
        references: { refType: string; spanID: string }[];
        tags: { key: string; value: unknown }[];
    }[];
}

async function spansOf(traceId: string) {
    const answer = await fetch(`${variable("STORY_JAEGER_URL")}/api/traces/${traceId}`);
    const { data } = (await answer.json()) as { data: JaegerTrace[] | null };
    return (data ?? []).flatMap(({ processes, spans }) =>
        spans.map(({ spanID, processID, references, tags }) => ({
            id: spanID,
            service: processes[processID]?.serviceName,
            kind: tags.find(({ key }) => key === "span.kind")?.value,
            parent: references.find(({ refType }) => refType === "CHILD_OF")?.spanID,
        })),
    );
}

test("readme", async () => {
    const readme = await readFile(new URL("README.md", home), "utf8");
    const example = /^```ts\n(.*?connect\(.*?)^```$/ms.exec(readme)?.[1];
    assert.ok(example, "the README has no example");
    assert.ok(example.includes('"127.0.0.1:8080"') && example.includes('"127.0.0.1:19092"'));
    const folder = new URL("build/readme/", home);
    await mkdir(folder, { recursive: true });
    const here = example.replaceAll("127.0.0.1:8080", gateway).replaceAll("127.0.0.1:19092", brokers[0]!);
    await writeFile(new URL("example.ts", folder), here);
    const settings = {
        extends: "../../tsconfig.json",
        compilerOptions: { rootDir: ".", outDir: "out" },
        include: ["*.ts"],
    };
    await writeFile(new URL("tsconfig.json", folder), JSON.stringify(settings));
    await execute("node_modules/.bin/tsc", ["--project", "build/readme"], { cwd: home });
    const env = { ...process.env, OPENORDER_TOPIC_PREFIX: topicPrefix, OPENORDER_TOKEN: people.key };
    const { stdout } = await execute(process.execPath, ["build/readme/out/example.js"], {
        cwd: home,
        env,
        timeout: 60_000,
    });
    assert.match(stdout, /PREPARING/);
});

test("browser", (t) =>
    inBrowser(t, {
        sku,
        person: story.browser,
        wrongPassword: story.wrong_password,
        key: people.key,
        operator: openorder,
        kill: () => control("kill"),
    }));

test("expired token", () => people.expiredToken());
test("revoked token", () => people.revokedToken());
