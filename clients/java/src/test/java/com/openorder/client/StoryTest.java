package com.openorder.client;

import static com.openorder.client.StoryTools.RUN;
import static com.openorder.client.StoryTools.STORY;
import static com.openorder.client.StoryTools.TOPIC;
import static com.openorder.client.StoryTools.control;
import static com.openorder.client.StoryTools.firstToken;
import static com.openorder.client.StoryTools.hasOurSpan;
import static com.openorder.client.StoryTools.number;
import static com.openorder.client.StoryTools.operator;
import static com.openorder.client.StoryTools.programOf;
import static com.openorder.client.StoryTools.putForeignRecords;
import static com.openorder.client.StoryTools.read;
import static com.openorder.client.StoryTools.reader;
import static com.openorder.client.StoryTools.runReadmeExample;
import static com.openorder.client.StoryTools.step;
import static com.openorder.client.StoryTools.text;
import static com.openorder.client.StoryTools.texts;
import static com.openorder.client.StoryTools.variable;
import static java.nio.charset.StandardCharsets.UTF_8;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertNotEquals;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import com.google.rpc.BadRequest;
import com.google.type.Money;
import com.openorder.cart.v1.AddItemRequest;
import com.openorder.cart.v1.Cart;
import com.openorder.cart.v1.CheckoutRequest;
import com.openorder.cart.v1.GetCartRequest;
import com.openorder.cart.v1.MergeCartRequest;
import com.openorder.client.events.Event;
import com.openorder.client.events.EventReader;
import com.openorder.client.events.UnreadableEventException;
import com.openorder.order.v1.CreateOrderRequest;
import com.openorder.order.v1.GetOrderRequest;
import com.openorder.order.v1.GetOrderTimelineRequest;
import com.openorder.order.v1.GetOrderTimelineResponse;
import com.openorder.order.v1.ListOrdersRequest;
import com.openorder.order.v1.ListOrdersResponse;
import com.openorder.order.v1.Order;
import com.openorder.order.v1.OrderConfirmed;
import com.openorder.order.v1.OrderCreated;
import com.openorder.order.v1.OrderPaid;
import com.openorder.order.v1.OrderPreparing;
import com.openorder.order.v1.OrderStatus;
import com.openorder.order.v1.OrderTimelineEntry;
import com.openorder.order.v1.RequestedLine;
import com.openorder.order.v1.ReservationMode;
import com.openorder.order.v1.UpdateOrderStatusRequest;
import com.openorder.payment.v1.ChargeWalletRequest;
import com.openorder.product.v1.CreateProductRequest;
import com.openorder.product.v1.GetProductRequest;
import io.opentelemetry.exporter.otlp.trace.OtlpGrpcSpanExporter;
import io.opentelemetry.sdk.OpenTelemetrySdk;
import io.opentelemetry.sdk.resources.Resource;
import io.opentelemetry.sdk.trace.SdkTracerProvider;
import io.opentelemetry.sdk.trace.export.BatchSpanProcessor;
import java.net.URI;
import java.net.http.HttpClient;
import java.net.http.HttpRequest;
import java.net.http.HttpResponse;
import java.nio.file.Path;
import java.time.Duration;
import java.time.Instant;
import java.util.ArrayList;
import java.util.HashSet;
import java.util.List;
import java.util.Set;
import java.util.UUID;
import java.util.concurrent.ConcurrentHashMap;
import java.util.concurrent.CountDownLatch;
import java.util.concurrent.ExecutorService;
import java.util.concurrent.Executors;
import java.util.concurrent.Future;
import java.util.concurrent.TimeUnit;
import java.util.concurrent.atomic.AtomicInteger;
import java.util.stream.Collectors;
import org.junit.jupiter.api.AfterAll;
import org.junit.jupiter.api.BeforeAll;
import org.junit.jupiter.api.DisplayName;
import org.junit.jupiter.api.MethodOrderer.OrderAnnotation;
import org.junit.jupiter.api.Tag;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.TestMethodOrder;
import org.junit.jupiter.api.Timeout;
import org.junit.jupiter.api.io.TempDir;

/**
 * The story of clients/STORY.md: a test a step, in its order, against the system that STORY_* name. Those about who calls
 * are in {@link StoryPeopleTest}, after these.
 */
@Tag("story")
@TestMethodOrder(OrderAnnotation.class)
@Timeout(120)
class StoryTest {
    private static OpenOrder client;
    /** The order of the steps that follow one. */
    private static Order order;

    private static Money price;

    @BeforeAll
    static void begin() {
        client = operator();
        firstToken(client);
    }

    @AfterAll
    static void end() {
        client.close();
    }

    private static CreateOrderRequest.Builder oneOf(String product, String customerId) {
        String sku = step(product).getAsJsonObject("request").get("sku").getAsString();
        return CreateOrderRequest.newBuilder()
                .setCustomerId(customerId)
                .addLines(RequestedLine.newBuilder().setSku(sku).setQuantity(1));
    }

    private static Order create(CreateOrderRequest.Builder request) {
        return client.orders().createOrder(request.build()).getOrder();
    }

    private static List<Order> ordersOf(String customerId, int pageSize) {
        ListOrdersRequest request =
                ListOrdersRequest.newBuilder().setCustomerId(customerId).setPageSize(pageSize).build();
        return Pages.of(client.orders()::listOrders, request, ListOrdersResponse::getOrdersList).stream().toList();
    }

    private static List<Order> watch(Order watched, OrderStatus until) {
        List<Order> seen = new ArrayList<>();
        try (OrderWatch watch = client.watchOrder(watched.getOrderId(), until)) {
            watch.forEachRemaining(seen::add);
        }
        for (int i = 1; i < seen.size(); i++) {
            assertTrue(seen.get(i).getStatusValue() >= seen.get(i - 1).getStatusValue());
            assertTrue(seen.get(i).getVersion() > seen.get(i - 1).getVersion());
        }
        return seen;
    }

    @Test
    @org.junit.jupiter.api.Order(1)
    @DisplayName("product")
    void product() throws Exception {
        for (String name : List.of("product", "sold_out")) {
            long minor = step(name).get("price_minor").getAsLong();
            Money asMoney = Moneys.ofMinor(minor, text(name, "currency"));
            CreateProductRequest.Builder request =
                    read(step(name).get("request"), CreateProductRequest.newBuilder()).setPrice(asMoney);
            client.products().createProduct(request.build());
            Money stored = client.products()
                    .getProduct(GetProductRequest.newBuilder().setSku(request.getSku()).build())
                    .getProduct()
                    .getPrice();
            assertEquals(asMoney, stored);
            assertEquals(minor, Moneys.toMinor(stored));
            if (name.equals("product")) price = stored;
        }
    }

    @Test
    @org.junit.jupiter.api.Order(2)
    @DisplayName("wallet")
    void wallet() {
        long minor = step("wallet").get("amount_minor").getAsLong();
        ChargeWalletRequest charge = ChargeWalletRequest.newBuilder()
                .setUserId(text("wallet", "user_id"))
                .setAmount(Moneys.ofMinor(minor, price.getCurrencyCode()))
                .build();
        assertEquals(minor, Moneys.toMinor(client.payments().chargeWallet(charge).getWallet().getBalance()));
    }

    @Test
    @org.junit.jupiter.api.Order(3)
    @DisplayName("order")
    void order() {
        int quantity = number("order", "quantity");
        CreateOrderRequest.Builder request = oneOf("product", text("order", "customer_id"));
        request.getLinesBuilder(0).setQuantity(quantity);
        assertEquals("", request.getRequestId());
        order = create(request);
        assertEquals(Math.multiplyExact(Moneys.toMinor(price), (long) quantity), Moneys.toMinor(order.getTotal()));
        assertEquals(price.getCurrencyCode(), order.getTotal().getCurrencyCode());
        assertTrue(order.getTraceId().matches("[0-9a-f]{32}"), order.getTraceId());
    }

    @Test
    @org.junit.jupiter.api.Order(4)
    @DisplayName("watch")
    void watch() {
        List<Order> seen = watch(order, OrderStatus.ORDER_STATUS_PREPARING);
        assertEquals(OrderStatus.ORDER_STATUS_PREPARING, seen.get(seen.size() - 1).getStatus());
    }

    @Test
    @org.junit.jupiter.api.Order(5)
    @DisplayName("timeline")
    void timeline() {
        List<Integer> pages = new ArrayList<>();
        GetOrderTimelineRequest request =
                GetOrderTimelineRequest.newBuilder().setOrderId(order.getOrderId()).setPageSize(2).build();
        List<String> types = Pages.of(
                        page -> {
                            GetOrderTimelineResponse response = client.orders().getOrderTimeline(page);
                            pages.add(response.getEventsCount());
                            return response;
                        },
                        request,
                        GetOrderTimelineResponse::getEventsList)
                .stream()
                .map(OrderTimelineEntry::getEventType)
                .toList();
        assertEquals(texts(STORY.getAsJsonArray("timeline")), types);
        assertTrue(pages.size() >= 2 && pages.stream().allMatch(count -> count <= 2), pages.toString());
    }

    @Test
    @org.junit.jupiter.api.Order(6)
    @DisplayName("cart")
    void cart() throws InterruptedException {
        String visitor = UUID.randomUUID().toString();
        String customer = text("cart", "customer_id");
        int quantity = number("cart", "quantity");
        String sku = step("product").getAsJsonObject("request").get("sku").getAsString();
        client.carts()
                .addItem(AddItemRequest.newBuilder()
                        .setVisitorId(visitor)
                        .setSku(sku)
                        .setQuantity(quantity)
                        .build());
        Cart merged = client.carts()
                .mergeCart(MergeCartRequest.newBuilder()
                        .setVisitorId(visitor)
                        .setCustomerId(customer)
                        .build())
                .getCart();
        assertEquals(Math.multiplyExact(Moneys.toMinor(price), (long) quantity), Moneys.toMinor(merged.getTotal()));
        Order ordered = client.carts()
                .checkout(CheckoutRequest.newBuilder()
                        .setCustomerId(customer)
                        .setExpectedVersion(merged.getVersion())
                        .setExpectedTotal(merged.getTotal())
                        .build())
                .getOrder();
        assertEquals(merged.getTotal(), ordered.getTotal());
        GetCartRequest left = GetCartRequest.newBuilder().setCustomerId(customer).build();
        Instant until = Instant.now().plusSeconds(60);
        while (client.carts().getCart(left).getCart().getLinesCount() > 0) {
            assertTrue(Instant.now().isBefore(until), "what was ordered is still in the cart");
            Thread.sleep(50);
        }
    }

    @Test
    @org.junit.jupiter.api.Order(7)
    @DisplayName("pages")
    void pages() {
        String customer = text("pages", "customer_id");
        List<String> made = new ArrayList<>();
        for (int i = 0; i < number("pages", "orders"); i++) {
            made.add(0, create(oneOf("product", customer)).getOrderId());
        }
        List<String> listed =
                ordersOf(customer, number("pages", "page_size")).stream().map(Order::getOrderId).toList();
        assertEquals(made, listed);
    }

    @Test
    @org.junit.jupiter.api.Order(8)
    @DisplayName("bad input")
    void badInput() throws Exception {
        CreateOrderRequest.Builder request =
                read(step("bad_input").get("request"), CreateOrderRequest.newBuilder());
        OpenOrderException.InvalidArgument refused =
                assertThrows(OpenOrderException.InvalidArgument.class, () -> create(request));
        assertEquals(
                new HashSet<>(texts(step("bad_input").getAsJsonArray("fields"))),
                refused.getFieldViolations().stream()
                        .map(BadRequest.FieldViolation::getField)
                        .collect(Collectors.toSet()));
        for (BadRequest.FieldViolation violation : refused.getFieldViolations()) {
            assertFalse(violation.getDescription().isEmpty() || violation.getReason().isEmpty());
        }
        // Of as many as there can be the first ones arrive: an error is metadata, of which gRPC's own limit is 8 KiB.
        CreateOrderRequest.Builder large = CreateOrderRequest.newBuilder().setCustomerId("?");
        for (int i = 0; i < 100; i++) large.addLines(RequestedLine.newBuilder().setSku("?".repeat(60)));
        OpenOrderException.InvalidArgument all =
                assertThrows(OpenOrderException.InvalidArgument.class, () -> create(large));
        // The customer, each SKU and quantity, and that a SKU stands there twice.
        int leftOut = Integer.parseInt(all.getMetadata().get("violations_left_out"));
        assertEquals(1 + 100 + 100 + 99, all.getFieldViolations().size() + leftOut);
        assertEquals("customer_id", all.getFieldViolations().get(0).getField());
    }

    @Test
    @org.junit.jupiter.api.Order(9)
    @DisplayName("reused request id")
    void reusedRequestId() {
        CreateOrderRequest.Builder request =
                oneOf("product", text("order", "customer_id")).setRequestId("reused-" + RUN);
        assertEquals(create(request).getOrderId(), create(request).getOrderId());
        request.getLinesBuilder(0).setQuantity(2);
        OpenOrderException.AlreadyExists refused =
                assertThrows(OpenOrderException.AlreadyExists.class, () -> create(request));
        assertEquals(Reason.REQUEST_ID_REUSED, refused.getReason());
    }

    @Test
    @org.junit.jupiter.api.Order(10)
    @DisplayName("missing order")
    void missingOrder() {
        GetOrderRequest request =
                GetOrderRequest.newBuilder().setOrderId(UUID.randomUUID().toString()).build();
        OpenOrderException.NotFound missing =
                assertThrows(OpenOrderException.NotFound.class, () -> client.orders().getOrder(request));
        assertEquals(Reason.ORDER_NOT_FOUND, missing.getReason());
        assertEquals("openorder", missing.getDomain());
    }

    @Test
    @org.junit.jupiter.api.Order(11)
    @DisplayName("deadline")
    void deadline() throws Exception {
        int timeoutMillis = number("deadline", "timeout_ms");
        String customer = text("deadline", "customer_id");
        CreateOrderRequest.Builder request = oneOf("product", customer);
        OpenOrderException.DeadlineExceeded late;
        control("freeze");
        try {
            long begin = System.nanoTime();
            late = assertThrows(OpenOrderException.DeadlineExceeded.class, () -> client.orders()
                    .withDeadlineAfter(timeoutMillis, TimeUnit.MILLISECONDS)
                    .createOrder(request.build()));
            long tookMillis = (System.nanoTime() - begin) / 1_000_000;
            int atMost = timeoutMillis + number("deadline", "late_ms_max");
            assertTrue(tookMillis >= timeoutMillis && tookMillis <= atMost, "took " + tookMillis + " ms");
        } finally {
            control("thaw");
        }
        Order made = create(request.setRequestId(late.getRequestId()));
        assertEquals(List.of(made.getOrderId()), ordersOf(customer, 0).stream().map(Order::getOrderId).toList());
    }

    @Test
    @org.junit.jupiter.api.Order(12)
    @DisplayName("out of stock")
    void outOfStock() {
        String customer = text("order", "customer_id");
        OpenOrderException.FailedPrecondition refused = assertThrows(
                OpenOrderException.FailedPrecondition.class,
                () -> create(oneOf("sold_out", customer)
                        .setReservationMode(ReservationMode.RESERVATION_MODE_IMMEDIATE)));
        assertEquals(Reason.OUT_OF_STOCK, refused.getReason());
        List<Order> seen = watch(create(oneOf("sold_out", customer)), OrderStatus.ORDER_STATUS_PREPARING);
        Order last = seen.get(seen.size() - 1);
        assertEquals(OrderStatus.ORDER_STATUS_REJECTED, last.getStatus());
        assertEquals(Reason.OUT_OF_STOCK, last.getStatusReason());
    }

    @Test
    @org.junit.jupiter.api.Order(13)
    @DisplayName("killed gateway")
    void killedGateway() throws Exception {
        int orders = number("killed_gateway", "orders");
        String customer = text("killed_gateway", "customer_id");
        Set<String> made = ConcurrentHashMap.newKeySet();
        AtomicInteger begun = new AtomicInteger();
        CountDownLatch third = new CountDownLatch(orders / 3);
        ExecutorService callers = Executors.newFixedThreadPool(number("killed_gateway", "callers"));
        List<Future<?>> all = new ArrayList<>();
        for (int i = 0; i < number("killed_gateway", "callers"); i++) {
            all.add(callers.submit(() -> {
                while (begun.incrementAndGet() <= orders) {
                    made.add(create(oneOf("product", customer)).getOrderId());
                    third.countDown();
                }
            }));
        }
        assertTrue(third.await(60, TimeUnit.SECONDS));
        control("kill");
        for (Future<?> caller : all) caller.get(60, TimeUnit.SECONDS);
        callers.shutdown();
        assertEquals(orders, made.size());
        List<String> listed = ordersOf(customer, 500).stream().map(Order::getOrderId).toList();
        assertEquals(orders, listed.size());
        assertEquals(made, new HashSet<>(listed));
    }

    @Test
    @org.junit.jupiter.api.Order(14)
    @DisplayName("watch through a killed gateway")
    void watchThroughAKilledGateway() throws Exception {
        Order shipped = create(oneOf("product", text("shipped", "customer_id")));
        ExecutorService watcher = Executors.newSingleThreadExecutor();
        CountDownLatch preparing = new CountDownLatch(1);
        Future<List<OrderStatus>> statuses = watcher.submit(() -> {
            List<OrderStatus> seen = new ArrayList<>();
            try (OrderWatch watch = client.watchOrder(shipped.getOrderId(), OrderStatus.ORDER_STATUS_DELIVERED)) {
                while (watch.hasNext()) {
                    seen.add(watch.next().getStatus());
                    if (seen.contains(OrderStatus.ORDER_STATUS_PREPARING)) preparing.countDown();
                }
            }
            return seen;
        });
        assertTrue(preparing.await(60, TimeUnit.SECONDS));
        control("kill");
        move(shipped, OrderStatus.ORDER_STATUS_PREPARING, OrderStatus.ORDER_STATUS_SHIPPED);
        move(shipped, OrderStatus.ORDER_STATUS_SHIPPED, OrderStatus.ORDER_STATUS_DELIVERED);
        List<OrderStatus> seen = statuses.get(60, TimeUnit.SECONDS);
        watcher.shutdown();
        assertEquals(OrderStatus.ORDER_STATUS_DELIVERED, seen.get(seen.size() - 1));
        assertEquals(seen.stream().distinct().toList(), seen);
    }

    private static void move(Order moved, OrderStatus from, OrderStatus to) {
        client.orders().updateOrderStatus(UpdateOrderStatusRequest.newBuilder()
                .setOrderId(moved.getOrderId())
                .setPreviousStatus(from)
                .setCurrentStatus(to)
                .build());
    }

    @Test
    @org.junit.jupiter.api.Order(15)
    @DisplayName("events")
    void events() throws Exception {
        String foreignKey = "nobody-" + RUN;
        putForeignRecords(foreignKey, order.getOrderId());
        List<Event> read = new ArrayList<>();
        List<UnreadableEventException> unreadable = new ArrayList<>();
        try (EventReader reader = reader("story-java")
                .onUnreadable(e -> {
                    if (foreignKey.equals(new String(e.getRecord().key(), UTF_8))) unreadable.add(e);
                })
                .build()) {
            reader.run(event -> {
                if (event.key().equals(order.getOrderId())) read.add(event);
            });
            // At least: this is not the only story that is told here.
            assertTrue(reader.passedOver() >= 2 && reader.copies() >= 1);
        }
        assertEquals(texts(STORY.getAsJsonArray("timeline")), read.stream().map(Event::type).toList());
        assertEquals(
                List.of(OrderCreated.class, OrderConfirmed.class, OrderPaid.class, OrderPreparing.class),
                read.stream().map(event -> event.message().getClass()).toList());
        for (int i = 0; i < read.size(); i++) {
            Event event = read.get(i);
            assertEquals("/openorder/order", event.source());
            assertEquals(TOPIC, event.topic());
            UUID.fromString(event.id());
            Duration age = Duration.between(event.time(), Instant.now());
            assertTrue(age.toMinutes() < 30 && !age.minusSeconds(-5).isNegative(), age.toString());
            if (i == 0) continue;
            assertTrue(event.position().getAsLong() > read.get(i - 1).position().getAsLong());
            assertTrue(event.offset() > read.get(i - 1).offset());
        }
        OrderCreated created = (OrderCreated) read.get(0).message();
        assertEquals(order.getTotal(), created.getTotal());
        assertEquals(1, unreadable.size());
        anUnreadableRecordIsThrownByDefault();

        anEventWhoseHandlerThrowsComesAgain();
        // The group has committed everything: a second reader of it finds nothing.
        try (EventReader reader = reader("story-java").onUnreadable(e -> {}).build()) {
            reader.run(event -> assertNotEquals(order.getOrderId(), event.key()));
        }
    }

    private static void anUnreadableRecordIsThrownByDefault() {
        try (EventReader reader = reader("strict").build()) {
            for (int run = 0; run < 2; run++) {
                assertThrows(UnreadableEventException.class, () -> reader.run(event -> {}));
            }
        }
    }

    private static void anEventWhoseHandlerThrowsComesAgain() {
        List<String> handled = new ArrayList<>();
        EventReader.Handler<IllegalStateException> third = event -> {
            if (handled.size() == 2) throw new IllegalStateException(place(event));
            handled.add(place(event));
        };
        String failed;
        try (EventReader reader = reader("failing").onUnreadable(e -> {}).build()) {
            failed = assertThrows(IllegalStateException.class, () -> reader.run(third)).getMessage();
            assertEquals(failed, assertThrows(IllegalStateException.class, () -> reader.run(third)).getMessage());
        }
        // In another process, as it were: what was handled was committed, and nothing else.
        try (EventReader reader = reader("failing").onUnreadable(e -> {}).build()) {
            List<String> rest = new ArrayList<>();
            reader.run(event -> rest.add(place(event)));
            assertTrue(rest.contains(failed));
            assertFalse(rest.contains(handled.get(0)) || rest.contains(handled.get(1)));
        }
    }

    private static String place(Event event) {
        return event.partition() + "@" + event.offset();
    }

    @Test
    @org.junit.jupiter.api.Order(16)
    @DisplayName("trace")
    void trace() throws Exception {
        OtlpGrpcSpanExporter exporter =
                OtlpGrpcSpanExporter.builder().setEndpoint(variable("STORY_OTLP_ENDPOINT")).build();
        try (OpenTelemetrySdk openTelemetry = OpenTelemetrySdk.builder()
                        .setTracerProvider(SdkTracerProvider.builder()
                                .setResource(Resource.builder().put("service.name", "story-java").build())
                                // Room for all: the topic is read from its beginning, and has other stories' orders too.
                                .addSpanProcessor(BatchSpanProcessor.builder(exporter)
                                        .setMaxQueueSize(100_000)
                                        .build())
                                .build())
                        .build();
                EventReader reader = reader("traced")
                        .openTelemetry(openTelemetry)
                        .onUnreadable(e -> {})
                        .build()) {
            reader.run(event -> {
                if (event.message() instanceof OrderPreparing && event.key().equals(order.getOrderId())) reader.stop();
            });
        }
        URI uri = URI.create(variable("STORY_JAEGER_URL") + "/api/traces/" + order.getTraceId());
        HttpClient http = HttpClient.newHttpClient();
        String answer = "";
        for (int i = 0; i < 60; i++) {
            answer = http.send(HttpRequest.newBuilder(uri).build(), HttpResponse.BodyHandlers.ofString()).body();
            if (hasOurSpan(answer)) return;
            Thread.sleep(1_000);
        }
        throw new AssertionError("no span of story-java with its parent in the trace: " + answer);
    }

    @Test
    @org.junit.jupiter.api.Order(17)
    @DisplayName("readme")
    void readme(@TempDir Path folder) throws Exception {
        String printed = runReadmeExample(folder, programOf(client).key());
        assertTrue(printed.contains("\nORDER_STATUS_PREPARING\n"), printed);
        assertTrue(printed.contains(" order.lifecycle.preparing\n"), printed);
        assertTrue(printed.contains(" costs 38.00\n"), printed);
    }
}
