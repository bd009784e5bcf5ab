package com.openorder.client;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertInstanceOf;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import com.google.protobuf.Timestamp;
import com.openorder.order.v1.GetOrderRequest;
import com.openorder.order.v1.OrderStatus;
import com.openorder.user.v1.RefreshTokenResponse;
import io.grpc.Status;
import io.grpc.stub.StreamObserver;
import java.time.Duration;
import java.time.Instant;
import java.util.ArrayList;
import java.util.Collections;
import java.util.LinkedHashSet;
import java.util.List;
import java.util.concurrent.CountDownLatch;
import java.util.concurrent.ExecutorService;
import java.util.concurrent.Executors;
import java.util.concurrent.Future;
import java.util.concurrent.TimeUnit;
import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.Timeout;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;
import org.junit.jupiter.params.provider.ValueSource;

/** Signing in. */
@Timeout(30)
class SessionTest {
    private static final int ATTEMPTS = 4;

    private final ExecutorService threads = Executors.newCachedThreadPool();
    private Shop shop;
    private OpenOrder client;

    @BeforeEach
    void open() throws Exception {
        shop = new Shop();
        client = options().build();
    }

    private OpenOrder.Builder options() {
        return OpenOrder.builder(shop.address())
                .maxAttempts(ATTEMPTS)
                .closeTimeout(Duration.ofMillis(1))
                .backoff(Duration.ofMillis(1), Duration.ofMillis(5));
    }

    @AfterEach
    void close() {
        client.close();
        shop.close();
        threads.shutdownNow();
    }

    private void signIn() {
        assertEquals("ada", client.signIn("ada@example.com", Shop.PASSWORD).getUserId());
    }

    /** The token that a call is made with. */
    private static String sent(OpenOrder client) {
        return client.orders().getOrder(GetOrderRequest.getDefaultInstance()).getOrder().getOrderId();
    }

    private List<String> sentTogether() throws Exception {
        List<Future<String>> calls = new ArrayList<>();
        for (int i = 0; i < 20; i++) calls.add(threads.submit(() -> sent(client)));
        List<String> tokens = new ArrayList<>();
        for (Future<String> call : calls) tokens.add(call.get(20, TimeUnit.SECONDS));
        return tokens;
    }

    /** Refreshes wait until this is counted down. */
    private CountDownLatch hold() {
        CountDownLatch release = new CountDownLatch(1);
        shop.onRefresh = attempt -> {
            try {
                assertTrue(release.await(20, TimeUnit.SECONDS));
            } catch (InterruptedException interrupted) {
                Thread.currentThread().interrupt();
            }
        };
        return release;
    }

    @Test
    void callsAreMadeAsWhoSignedInUntilTheySignOut() {
        assertEquals("", sent(client));
        OpenOrderException.Unauthenticated refused = assertThrows(
                OpenOrderException.Unauthenticated.class, () -> client.signIn("ada@example.com", "a guess"));
        assertEquals(Reason.CREDENTIALS_REFUSED, refused.getReason());
        assertFalse(refused instanceof OpenOrderException.SessionEnded);
        assertEquals("", sent(client));
        signIn();
        assertEquals("Bearer access-1", sent(client));
        client.signOut();
        client.signOut();
        assertEquals("", sent(client));
        // Once, and without the token.
        assertEquals(List.of("refresh-1"), shop.signOuts);
        assertEquals(List.of(), shop.refreshes);
    }

    @Test
    void aTokenIsRenewedWithinTheLastQuarterOfItsLifeBesideTheCalls() throws Exception {
        List<StreamObserver<RefreshTokenResponse>> begun = Collections.synchronizedList(new ArrayList<>());
        Session session = new Session((token, answer) -> begun.add(answer));
        Instant ends = Instant.now().plusMillis(2_000);
        session.begin(com.openorder.user.v1.Session.newBuilder()
                .setAccessToken("a")
                .setRefreshToken("r")
                .setAccessTokenExpireTime(
                        Timestamp.newBuilder().setSeconds(ends.getEpochSecond()).setNanos(ends.getNano()))
                .build());
        Instant from = ends.minusMillis(500 + 100);
        while (Instant.now().isBefore(from)) {
            assertEquals("a", session.token().get());
            assertEquals(0, begun.size());
            Thread.sleep(10);
        }
        while (begun.isEmpty()) {
            assertTrue(Instant.now().isBefore(ends.minusMillis(50)), "it was not renewed before nine tenths");
            assertEquals("a", session.token().get());
            Thread.sleep(5);
        }
        Thread.sleep(Math.max(1, Duration.between(Instant.now(), ends).toMillis() + 20));
        Future<String> waiting = session.token();
        assertFalse(waiting.isDone());
        begun.get(0).onNext(RefreshTokenResponse.newBuilder()
                .setSession(com.openorder.user.v1.Session.newBuilder().setAccessToken("b"))
                .build());
        begun.get(0).onCompleted();
        assertEquals("b", waiting.get(1, TimeUnit.SECONDS));
        assertEquals("b", session.token().get());
        assertEquals(1, begun.size());
    }

    @Test
    void aTokenThatHasEndedIsRenewedOnceForAllCalls() throws Exception {
        shop.life = Duration.ofMillis(200);
        signIn();
        shop.life = Duration.ofMinutes(1);
        CountDownLatch release = hold();
        Thread.sleep(300);
        threads.submit(() -> {
            Thread.sleep(200);
            release.countDown();
            return null;
        });
        assertEquals(Collections.nCopies(20, "Bearer access-2"), sentTogether());
        assertEquals(List.of("refresh-1"), shop.refreshes);
    }

    @Test
    void whereTheClocksDifferATokenIsGoodUntilItIsRefused() {
        shop.life = Duration.ofMinutes(-1);
        signIn();
        for (int i = 0; i < 3; i++) assertEquals("Bearer access-1", sent(client));
        assertEquals(List.of(), shop.refreshes);
    }

    @ParameterizedTest
    @ValueSource(strings = {Reason.TOKEN_EXPIRED, Reason.TOKEN_REVOKED})
    void aCallThatIsRefusedForItsTokenIsSentOnceMore(String reason) throws Exception {
        signIn();
        shop.refuse(reason, 1);
        assertEquals(Collections.nCopies(20, "Bearer access-2"), sentTogether());
        assertEquals(List.of("refresh-1"), shop.refreshes);
    }

    @Test
    void itIsNotSentAThirdTime() {
        signIn();
        shop.refuse(Reason.TOKEN_EXPIRED, 99);
        OpenOrderException.Unauthenticated refused =
                assertThrows(OpenOrderException.Unauthenticated.class, () -> sent(client));
        assertEquals(Reason.TOKEN_EXPIRED, refused.getReason());
        assertFalse(refused instanceof OpenOrderException.SessionEnded);
        assertEquals(List.of("Bearer access-1", "Bearer access-2"), shop.orders);
    }

    @ParameterizedTest
    @CsvSource({
        "TOKEN_REVOKED, REFRESH_TOKEN_REFUSED, TOKEN_REVOKED",
        "TOKEN_EXPIRED, REFRESH_TOKEN_REFUSED, REFRESH_TOKEN_REFUSED",
        "TOKEN_EXPIRED, REFRESH_TOKEN_REUSED, REFRESH_TOKEN_REUSED"
    })
    void aSessionThatHasEndedFailsAllCalls(String call, String refresh, String reason) {
        signIn();
        shop.onRefresh = attempt -> {
            throw Shop.no(refresh);
        };
        shop.refuse(call, 1);
        for (int i = 0; i < 3; i++) {
            OpenOrderException.SessionEnded ended =
                    assertThrows(OpenOrderException.SessionEnded.class, () -> sent(client));
            assertEquals(reason, ended.getReason());
            assertEquals(Status.Code.UNAUTHENTICATED, ended.getCode());
            try (OrderWatch watch = client.watchOrder("1", OrderStatus.ORDER_STATUS_PAID)) {
                ended = assertThrows(OpenOrderException.SessionEnded.class, watch::hasNext);
                assertEquals(reason, ended.getReason());
            }
        }
        assertEquals(1, shop.orders.size());
        assertEquals(1, shop.refreshes.size());
        shop.onRefresh = attempt -> {};
        signIn();
        assertEquals("Bearer access-2", sent(client));
    }

    @Test
    void aRefreshThatFailsEndsNothingAndIsNotBegunAgainAtOnce() throws Exception {
        signIn();
        shop.onRefresh = attempt -> {
            if (attempt <= ATTEMPTS) throw Status.UNAVAILABLE.asRuntimeException();
        };
        shop.refuse(Reason.TOKEN_EXPIRED, 1);
        for (int i = 0; i < 5; i++) assertThrows(OpenOrderException.Unavailable.class, () -> sent(client));
        assertEquals(ATTEMPTS, shop.refreshes.size());
        Thread.sleep(Session.PAUSE.toMillis() + 50);
        assertEquals("Bearer access-2", sent(client));
        assertEquals(List.of("refresh-1"), List.copyOf(new LinkedHashSet<>(shop.refreshes)));
    }

    @Test
    void aCallWaitsForATokenUntilItsDeadlineAndTheRefreshGoesOn() {
        signIn();
        CountDownLatch release = hold();
        shop.refuse(Reason.TOKEN_EXPIRED, 1);
        long begin = System.nanoTime();
        assertThrows(OpenOrderException.DeadlineExceeded.class, () -> client.orders()
                .withDeadlineAfter(300, TimeUnit.MILLISECONDS)
                .getOrder(GetOrderRequest.getDefaultInstance()));
        long tookMillis = (System.nanoTime() - begin) / 1_000_000;
        assertTrue(tookMillis >= 290 && tookMillis < 2_000, tookMillis + " ms");
        release.countDown();
        assertEquals("Bearer access-2", sent(client));
        assertEquals(List.of("refresh-1"), shop.refreshes);
    }

    @Test
    void aWatchOutlivesItsToken() {
        signIn();
        List<String> tokens = new ArrayList<>();
        try (OrderWatch watch = client.watchOrder("1", OrderStatus.ORDER_STATUS_PAID)) {
            while (watch.hasNext()) {
                tokens.add(watch.next().getOrderId());
                if (tokens.contains("Bearer access-2")) break;
                if (tokens.size() == 2) shop.refuse(Reason.TOKEN_REVOKED, 1);
            }
        }
        assertEquals(List.of("Bearer access-1", "Bearer access-2"), List.copyOf(new LinkedHashSet<>(tokens)));
        assertEquals(List.of("refresh-1"), shop.refreshes);
    }

    @Test
    void whoSignsOutWhileATokenIsRenewedIsSignedOut() throws Exception {
        signIn();
        CountDownLatch release = hold();
        shop.refuse(Reason.TOKEN_EXPIRED, 1);
        Future<OpenOrderException> call =
                threads.submit(() -> assertThrows(OpenOrderException.Unauthenticated.class, () -> sent(client)));
        while (shop.refreshes.isEmpty()) Thread.sleep(1);
        client.signOut();
        release.countDown();
        assertFalse(call.get(10, TimeUnit.SECONDS) instanceof OpenOrderException.SessionEnded);
        assertEquals("", sent(client));
    }

    @Test
    void anApiKeyIsSentAndNotRenewed() {
        try (OpenOrder keyed = options().bearerToken("access-5").build()) {
            assertEquals("Bearer access-5", sent(keyed));
            assertThrows(IllegalStateException.class, () -> keyed.signIn("ada@example.com", Shop.PASSWORD));
            shop.refuse(Reason.TOKEN_EXPIRED, 5);
            assertThrows(OpenOrderException.Unauthenticated.class, () -> sent(keyed));
            assertEquals(2, shop.orders.size() + shop.refreshes.size());
        }
        // The tests run without the variable; the story's README runs with it.
        try (OpenOrder environment = options().environmentToken().build()) {
            assertEquals("", sent(environment));
        }
    }

    @ParameterizedTest
    @ValueSource(strings = {"", "secret\n", "a secret", "sécret"})
    void whatIsNoTokenIsRefusedAndNotShown(String token) {
        IllegalArgumentException refused =
                assertThrows(IllegalArgumentException.class, () -> options().bearerToken(token));
        assertFalse(refused.getMessage().contains("cret"));
        if (token.isEmpty()) return;
        try (OpenOrder given = options().bearerToken(() -> token).build()) {
            OpenOrderException.Unauthenticated failed =
                    assertThrows(OpenOrderException.Unauthenticated.class, () -> sent(given));
            for (Throwable cause = failed; cause != null; cause = cause.getCause()) {
                assertFalse(cause.toString().contains("cret"), cause.toString());
            }
            assertEquals(List.of(), shop.orders);
        }
    }

    @Test
    void aPasswordIsNotSentInTheClearUnlessThatIsSaid() {
        try (OpenOrder open = OpenOrder.connect("192.0.2.1:8080")) {
            IllegalStateException refused = assertThrows(
                    IllegalStateException.class, () -> open.signIn("ada@example.com", Shop.PASSWORD));
            assertFalse(refused.getMessage().contains(Shop.PASSWORD));
        }
        OpenOrder.builder("192.0.2.1:8080").bearerToken("t").insecureCredentials().build().close();
        try (OpenOrder said = OpenOrder.builder("192.0.2.1:8080")
                .insecureCredentials()
                .closeTimeout(Duration.ofMillis(1))
                .defaultDeadline(Duration.ofMillis(5))
                .build()) {
            assertThrows(OpenOrderException.class, () -> said.signIn("ada@example.com", Shop.PASSWORD));
        }
    }

    @Test
    void tokensStandInNoText() {
        signIn();
        sent(client);
        shop.onRefresh = attempt -> {
            throw Shop.no(Reason.REFRESH_TOKEN_REUSED);
        };
        shop.refuse(Reason.TOKEN_EXPIRED, 1);
        OpenOrderException ended = assertThrows(OpenOrderException.class, () -> sent(client));
        assertInstanceOf(OpenOrderException.SessionEnded.class, ended);
        List<String> texts = new ArrayList<>(List.of(client.toString(), String.valueOf(ended.getTrailers())));
        for (Throwable cause = ended; cause != null; cause = cause.getCause()) texts.add(cause.toString());
        for (String text : texts) {
            for (String secret : List.of("access-", "refresh-", Shop.PASSWORD)) {
                assertFalse(text.contains(secret), text);
            }
        }
    }
}
