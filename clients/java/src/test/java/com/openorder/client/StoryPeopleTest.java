package com.openorder.client;

import static com.openorder.client.StoryTools.STORY;
import static com.openorder.client.StoryTools.firstToken;
import static com.openorder.client.StoryTools.gateway;
import static com.openorder.client.StoryTools.number;
import static com.openorder.client.StoryTools.operator;
import static com.openorder.client.StoryTools.programOf;
import static com.openorder.client.StoryTools.read;
import static com.openorder.client.StoryTools.registration;
import static com.openorder.client.StoryTools.step;
import static com.openorder.client.StoryTools.text;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import com.google.type.Money;
import com.openorder.client.StoryTools.Given;
import com.openorder.client.StoryTools.Program;
import com.openorder.order.v1.CreateOrderRequest;
import com.openorder.order.v1.GetOrderRequest;
import com.openorder.order.v1.OrderStatus;
import com.openorder.order.v1.RequestedLine;
import com.openorder.payment.v1.ChargeWalletRequest;
import com.openorder.product.v1.CreateProductRequest;
import com.openorder.user.v1.AssignRoleRequest;
import com.openorder.user.v1.GetUserRequest;
import com.openorder.user.v1.ListUsersRequest;
import com.openorder.user.v1.SignOutRequest;
import com.openorder.user.v1.User;
import com.openorder.user.v1.UserRole;
import java.time.Duration;
import java.time.Instant;
import java.util.List;
import java.util.concurrent.CountDownLatch;
import java.util.concurrent.ExecutorService;
import java.util.concurrent.Executors;
import java.util.concurrent.Future;
import java.util.concurrent.TimeUnit;
import org.junit.jupiter.api.AfterAll;
import org.junit.jupiter.api.BeforeAll;
import org.junit.jupiter.api.DisplayName;
import org.junit.jupiter.api.MethodOrderer.OrderAnnotation;
import org.junit.jupiter.api.Order;
import org.junit.jupiter.api.Tag;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.TestMethodOrder;
import org.junit.jupiter.api.Timeout;
import org.junit.jupiter.api.function.Executable;

/** The steps of the story that are about who calls; the last ones, when the token of the beginning has ended. */
@Tag("story")
@TestMethodOrder(OrderAnnotation.class)
@Timeout(120)
class StoryPeopleTest {
    private static OpenOrder operator;
    private static OpenOrder nobody;
    private static OpenOrder customer;
    private static OpenOrder stranger;
    private static String customerId;
    private static String strangerId;
    private static String orderId;
    private static Given first;

    @BeforeAll
    static void begin() {
        operator = operator();
        nobody = gateway().build();
        customer = gateway().build();
        stranger = gateway().build();
        first = firstToken(nobody);
    }

    @AfterAll
    static void end() {
        for (OpenOrder client : List.of(operator, nobody, customer, stranger)) client.close();
    }

    private static User userOf(OpenOrder client, String userId) {
        return client.users().getUser(GetUserRequest.newBuilder().setUserId(userId).build()).getUser();
    }

    private static void refused(String reason, Executable call) {
        assertEquals(reason, assertThrows(OpenOrderException.class, call).getReason());
    }

    @Test
    @Order(1)
    @DisplayName("register")
    void register() {
        for (String person : List.of("customer", "stranger")) {
            User user = nobody.users().registerUser(registration(person).build()).getUser();
            assertEquals(List.of(UserRole.USER_ROLE_CUSTOMER), user.getRolesList());
            assertEquals(text(person, "email"), user.getEmail());
            if (person.equals("customer")) customerId = user.getUserId();
            else strangerId = user.getUserId();
        }
        refused(Reason.EMAIL_TAKEN, () -> nobody.users().registerUser(registration("customer").build()));
        refused(Reason.ROLE_REQUIRED, () -> nobody.users()
                .registerUser(registration("program").addRoles(UserRole.USER_ROLE_SERVICE).build()));
    }

    @Test
    @Order(2)
    @DisplayName("sign in")
    void signIn() {
        String email = text("customer", "email");
        String wrong = STORY.get("wrong_password").getAsString();
        refused(Reason.CREDENTIALS_REFUSED, () -> customer.signIn(email, wrong));
        refused(Reason.TOKEN_MISSING, () -> userOf(customer, customerId));
        assertEquals(customerId, customer.signIn(email, text("customer", "password")).getUserId());
        assertEquals(email, userOf(customer, customerId).getEmail());
        stranger.signIn(text("stranger", "email"), text("stranger", "password"));
        Program program = programOf(operator);
        try (OpenOrder keyed = gateway().bearerToken(program.key()).build()) {
            assertEquals(text("program", "email"), userOf(keyed, program.userId()).getEmail());
        }
    }

    @Test
    @Order(3)
    @DisplayName("not mine")
    void notMine() throws Exception {
        CreateProductRequest.Builder product =
                read(step("product").get("request"), CreateProductRequest.newBuilder());
        // Of its own: it stands beside the story of the other class, whichever is told first.
        product.setSku("of-people-" + product.getSku())
                .setPrice(Moneys.ofMinor(number("product", "price_minor"), text("product", "currency")));
        operator.products().createProduct(product.build());
        Money amount = Moneys.ofMinor(number("wallet", "amount_minor"), text("product", "currency"));
        ChargeWalletRequest charge =
                ChargeWalletRequest.newBuilder().setUserId(customerId).setAmount(amount).build();
        customer.payments().chargeWallet(charge);
        CreateOrderRequest request = CreateOrderRequest.newBuilder()
                .setCustomerId(customerId)
                .addLines(RequestedLine.newBuilder().setSku(product.getSku()).setQuantity(1))
                .build();
        orderId = customer.orders().createOrder(request).getOrder().getOrderId();
        OrderStatus last = OrderStatus.ORDER_STATUS_UNSPECIFIED;
        try (OrderWatch watch = customer.watchOrder(orderId, OrderStatus.ORDER_STATUS_PREPARING)) {
            while (watch.hasNext()) last = watch.next().getStatus();
        }
        assertEquals(OrderStatus.ORDER_STATUS_PREPARING, last);

        GetOrderRequest get = GetOrderRequest.newBuilder().setOrderId(orderId).build();
        refused(Reason.ORDER_NOT_FOUND, () -> stranger.orders().getOrder(get));
        try (OrderWatch watch = stranger.watchOrder(orderId, OrderStatus.ORDER_STATUS_PREPARING)) {
            refused(Reason.ORDER_NOT_FOUND, watch::hasNext);
        }
        refused(Reason.NOT_YOUR_WALLET, () -> stranger.payments().chargeWallet(charge));
        refused(Reason.CUSTOMER_MISMATCH, () -> stranger.orders().createOrder(request));
    }

    @Test
    @Order(4)
    @DisplayName("expired token")
    void expiredToken() throws Exception {
        Instant ended = first.time().plusMillis(number("expired_token", "after_ms"));
        Thread.sleep(Math.max(0, Duration.between(Instant.now(), ended).toMillis()));
        try (OpenOrder old = gateway().bearerToken(first.token()).build()) {
            refused(Reason.TOKEN_EXPIRED, () -> userOf(old, customerId));
        }
        assertEquals(customerId, userOf(operator, customerId).getUserId());
    }

    @Test
    @Order(5)
    @DisplayName("revoked token")
    void revokedToken() throws Exception {
        int withinMillis = number("revoked_token", "within_ms");
        operator.users()
                .assignRole(AssignRoleRequest.newBuilder()
                        .setUserId(strangerId)
                        .addRoles(UserRole.USER_ROLE_CUSTOMER)
                        .addRoles(UserRole.USER_ROLE_VIEWER)
                        .build());
        Instant assigned = Instant.now().plusMillis(withinMillis);
        while (!mayListUsers(stranger)) {
            assertTrue(Instant.now().isBefore(assigned), "the session has the roles of before");
            Thread.sleep(50);
        }

        ExecutorService thread = Executors.newSingleThreadExecutor();
        CountDownLatch watching = new CountDownLatch(1);
        Future<OpenOrderException> watched = thread.submit(() -> {
            try (OrderWatch watch = customer.watchOrder(orderId, OrderStatus.ORDER_STATUS_DELIVERED)) {
                return assertThrows(OpenOrderException.SessionEnded.class, () -> {
                    while (watch.hasNext()) {
                        watch.next();
                        watching.countDown();
                    }
                });
            }
        });
        assertTrue(watching.await(60, TimeUnit.SECONDS));
        operator.users().signOut(SignOutRequest.newBuilder().setUserId(customerId).build());
        Instant until = Instant.now().plusMillis(withinMillis);
        OpenOrderException ended = assertThrows(OpenOrderException.SessionEnded.class, () -> {
            while (Instant.now().isBefore(until)) {
                userOf(customer, customerId);
                Thread.sleep(50);
            }
        });
        assertTrue(List.of(Reason.TOKEN_REVOKED, Reason.REFRESH_TOKEN_REFUSED).contains(ended.getReason()));
        watched.get(withinMillis, TimeUnit.MILLISECONDS);
        thread.shutdown();
        customer.signIn(text("customer", "email"), text("customer", "password"));
        assertEquals(customerId, userOf(customer, customerId).getUserId());
        customer.signOut();
        refused(Reason.TOKEN_MISSING, () -> userOf(customer, customerId));
    }

    private static boolean mayListUsers(OpenOrder client) {
        try {
            return client.users().listUsers(ListUsersRequest.newBuilder().setPageSize(1).build()).getUsersCount() == 1;
        } catch (OpenOrderException.PermissionDenied refused) {
            assertEquals(Reason.ROLE_REQUIRED, refused.getReason());
            return false;
        }
    }
}
