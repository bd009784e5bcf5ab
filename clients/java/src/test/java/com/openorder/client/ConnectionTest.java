package com.openorder.client;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertThrows;

import com.openorder.order.v1.CreateOrderRequest;
import io.grpc.Status;
import io.grpc.TlsServerCredentials;
import java.io.File;
import java.nio.file.Files;
import java.nio.file.Path;
import java.security.KeyStore;
import java.time.Duration;
import java.util.Base64;
import java.util.List;
import java.util.concurrent.TimeUnit;
import java.util.concurrent.atomic.AtomicInteger;
import org.junit.jupiter.api.BeforeAll;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.Timeout;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.ValueSource;

/** TLS and credentials. */
@Timeout(30)
class ConnectionTest {
    private static final CreateOrderRequest REQUEST = CreateOrderRequest.getDefaultInstance();

    @TempDir
    static Path folder;

    private static Certificate ofServer;
    private static Certificate ofClient;
    private static Certificate ofStranger;

    /** A certificate that nobody but itself has signed, and its key. */
    private record Certificate(File chain, File key) {}

    @BeforeAll
    static void makeCertificates() throws Exception {
        ofServer = certificate("server");
        ofClient = certificate("client");
        ofStranger = certificate("stranger");
    }

    private static Certificate certificate(String name) throws Exception {
        Path store = folder.resolve(name + ".p12");
        Process keytool = new ProcessBuilder(
                        Path.of(System.getProperty("java.home"), "bin", "keytool").toString(),
                        "-genkeypair", "-keystore", store.toString(), "-storetype", "PKCS12", "-storepass", "secret",
                        "-alias", name, "-dname", "CN=" + name, "-keyalg", "EC", "-validity", "2",
                        "-ext", "san=ip:127.0.0.1", "-ext", "bc=ca:true")
                .redirectErrorStream(true)
                .start();
        String said = new String(keytool.getInputStream().readAllBytes());
        assertEquals(0, keytool.waitFor(), said);
        KeyStore keys = KeyStore.getInstance(store.toFile(), "secret".toCharArray());
        return new Certificate(
                pem(name + ".pem", "CERTIFICATE", keys.getCertificate(name).getEncoded()),
                pem(name + ".key", "PRIVATE KEY", keys.getKey(name, "secret".toCharArray()).getEncoded()));
    }

    private static File pem(String file, String what, byte[] content) throws Exception {
        String base64 = Base64.getMimeEncoder(64, "\n".getBytes()).encodeToString(content);
        String text = "-----BEGIN " + what + "-----\n" + base64 + "\n-----END " + what + "-----\n";
        return Files.writeString(folder.resolve(file), text).toFile();
    }

    private static void call(OpenOrder.Builder options) {
        try (OpenOrder client = options.maxAttempts(1).build()) {
            client.orders().withDeadlineAfter(10, TimeUnit.SECONDS).createOrder(REQUEST);
        }
    }

    @Test
    void tlsWithAnOwnCa() throws Exception {
        TlsServerCredentials.Builder credentials =
                TlsServerCredentials.newBuilder().keyManager(ofServer.chain, ofServer.key);
        try (TestServer server = new TestServer(credentials.build(), 0)) {
            call(OpenOrder.builder(server.address()).tls(ofServer.chain).bearerToken("t"));
            assertEquals(List.of("Bearer t"), server.authorizations);
            assertThrows(
                    OpenOrderException.Unavailable.class,
                    () -> call(OpenOrder.builder(server.address()).tls(ofStranger.chain)));
            assertThrows(
                    OpenOrderException.Unavailable.class, () -> call(OpenOrder.builder(server.address()).tls()));
            assertThrows(OpenOrderException.Unavailable.class, () -> call(OpenOrder.builder(server.address())));
            assertEquals(1, server.requests.size());
        }
    }

    @Test
    void tlsWithACertificateOfTheClientsOwn() throws Exception {
        TlsServerCredentials.Builder credentials = TlsServerCredentials.newBuilder()
                .keyManager(ofServer.chain, ofServer.key)
                .trustManager(ofClient.chain)
                .clientAuth(TlsServerCredentials.ClientAuth.REQUIRE);
        try (TestServer server = new TestServer(credentials.build(), 0)) {
            call(OpenOrder.builder(server.address())
                    .tls(ofServer.chain)
                    .clientCertificate(ofClient.chain, ofClient.key));
            assertThrows(
                    OpenOrderException.Unavailable.class,
                    () -> call(OpenOrder.builder(server.address()).tls(ofServer.chain)));
            assertThrows(
                    OpenOrderException.Unavailable.class,
                    () -> call(OpenOrder.builder(server.address())
                            .tls(ofServer.chain)
                            .clientCertificate(ofStranger.chain, ofStranger.key)));
            assertEquals(1, server.requests.size());
        }
    }

    @Test
    void aTokenIsAskedForBeforeEachAttempt() throws Exception {
        try (TestServer server = new TestServer()) {
            server.createOrder = attempt -> {
                if (attempt == 1) throw Status.UNAVAILABLE.asRuntimeException();
                return com.openorder.order.v1.Order.getDefaultInstance();
            };
            AtomicInteger tokens = new AtomicInteger();
            try (OpenOrder client = OpenOrder.builder(server.address())
                    .bearerToken(() -> "t" + tokens.incrementAndGet())
                    .backoff(Duration.ofMillis(1), Duration.ofMillis(1))
                    .build()) {
                client.orders().createOrder(REQUEST);
            }
            assertEquals(List.of("Bearer t1", "Bearer t2"), server.authorizations);
        }
    }

    @Test
    void withoutATokenNothingIsSent() throws Exception {
        try (TestServer server = new TestServer();
                OpenOrder client = OpenOrder.builder(server.address())
                        .bearerToken(() -> {
                            throw new IllegalStateException("expired");
                        })
                        .build()) {
            assertThrows(OpenOrderException.Unauthenticated.class, () -> client.orders().createOrder(REQUEST));
            assertEquals(0, server.authorizations.size());
        }
    }

    @ParameterizedTest
    @ValueSource(
            strings = {
                "10.0.0.1:8080", "orders.example:443", "localhost.example:8080", "127.0.0.1.example:8080",
                "dns:///127.0.0.1:8080", "dns://10.0.0.1/127.0.0.1:8080", "127.0.0.1:8080@orders.example",
                "[::2]:8080", ""
            })
    void aTokenIsNotSentInTheClear(String address) throws Exception {
        assertThrows(
                IllegalArgumentException.class, () -> OpenOrder.builder(address).bearerToken("t").build());
        if (address.endsWith(":443")) OpenOrder.builder(address).bearerToken("t").tls().build().close();
    }

    @ParameterizedTest
    @ValueSource(strings = {"127.0.0.1:8080", "127.8.0.1:8080", "localhost:8080", "[::1]:8080"})
    void loopbackIsNoNetwork(String address) {
        OpenOrder.builder(address).bearerToken("t").build().close();
    }
}
