package com.openorder.client;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertTrue;

import com.google.protobuf.Descriptors.Descriptor;
import com.google.protobuf.Descriptors.FileDescriptor;
import com.google.protobuf.util.JsonFormat;
import com.openorder.analytics.v1.AnalyticsServiceProto;
import com.openorder.cart.v1.CartServiceProto;
import com.openorder.history.v1.HistoryServiceProto;
import com.openorder.inventory.v1.InventoryServiceProto;
import com.openorder.notification.v1.NotificationServiceProto;
import com.openorder.operations.v1.OperationsServiceProto;
import com.openorder.order.v1.CreateOrderRequest;
import com.openorder.order.v1.Order;
import com.openorder.order.v1.OrderServiceProto;
import com.openorder.payment.v1.PaymentServiceProto;
import com.openorder.product.v1.ProductServiceProto;
import com.openorder.promotion.v1.PromotionServiceProto;
import com.openorder.shipping.v1.ShippingServiceProto;
import com.openorder.user.v1.UserServiceProto;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.Set;
import java.util.TreeSet;
import java.util.regex.Matcher;
import java.util.regex.Pattern;
import java.util.stream.Stream;
import org.junit.jupiter.api.Test;

/** What the hand-written part repeats of the contract, compared with it. */
class ContractTest {
    private static final Path PROTO = Path.of("../../proto/openorder");

    private static String services() throws IOException {
        StringBuilder all = new StringBuilder();
        try (Stream<Path> files = Files.walk(PROTO)) {
            for (Path file : files.filter(path -> path.toString().endsWith("_service.proto"))
                    .filter(path -> !path.toString().contains("internal"))
                    .toList()) {
                all.append(Files.readString(file));
            }
        }
        return all.toString();
    }

    @Test
    void everyReasonThatTheContractNamesIsAConstant() throws Exception {
        Set<String> named = new TreeSet<>();
        // "Reasons: A (NOT_FOUND), B and C (ABORTED: in words)." up to the end of the comment.
        Matcher comments = Pattern.compile("Reasons?( \\(\\w+\\))?:(?:(?!\\n *(rpc|///? *\\n)).)*", Pattern.DOTALL)
                .matcher(services());
        while (comments.find()) {
            String words = comments.group().replaceFirst("Reasons?( \\(\\w+\\))?:", "").replaceAll("\\([A-Z_]+", "(");
            Matcher reasons = Pattern.compile("\\b[A-Z]+(_[A-Z]+)+\\b").matcher(words);
            while (reasons.find()) named.add(reasons.group());
        }
        // Statuses and steps that the comments speak of.
        named.removeAll(Set.of("COMPENSATION_FAILED"));
        assertTrue(named.size() > 30, named.toString());
        for (String reason : named) {
            assertEquals(reason, Reason.class.getField(reason).get(null));
        }
    }

    @Test
    void requestIdsAreFilledInWhereTheContractSaysTheCallerChoosesThem() throws IOException {
        Set<String> chosen = new TreeSet<>();
        Matcher messages = Pattern.compile("(?m)^message (\\w+) \\{(.*?)^\\}", Pattern.DOTALL).matcher(services());
        while (messages.find()) {
            if (Pattern.compile("Chosen by the caller[^;]*?(;[^;]*?)?string request_id =", Pattern.DOTALL)
                    .matcher(messages.group(2))
                    .find()) {
                chosen.add(messages.group(1));
            }
        }
        Set<String> filled = new TreeSet<>();
        for (FileDescriptor file : new FileDescriptor[] {
            AnalyticsServiceProto.getDescriptor(),
            CartServiceProto.getDescriptor(),
            InventoryServiceProto.getDescriptor(),
            NotificationServiceProto.getDescriptor(),
            OperationsServiceProto.getDescriptor(),
            OrderServiceProto.getDescriptor(),
            PaymentServiceProto.getDescriptor(),
            ProductServiceProto.getDescriptor(),
            PromotionServiceProto.getDescriptor(),
            ShippingServiceProto.getDescriptor(),
            UserServiceProto.getDescriptor(),
            HistoryServiceProto.getDescriptor()
        }) {
            for (Descriptor message : file.getMessageTypes()) {
                if (RequestIds.isChosenByTheCaller(message)) filled.add(message.getName());
            }
        }
        assertTrue(chosen.size() > 10, chosen.toString());
        assertEquals(chosen, filled);
    }

    @Test
    void theReadmeNamesTheVersionsOfTheBuild() throws IOException {
        String build = Files.readString(Path.of("pom.xml"));
        Matcher version = Pattern.compile("<version>(.*?)</version>").matcher(Files.readString(Path.of("README.md")));
        int versions = 0;
        for (; version.find(); versions++) assertTrue(build.contains('>' + version.group(1) + '<'), version.group());
        assertEquals(3, versions);
    }

    @Test
    void numbersOf64BitsSurviveJson() throws IOException {
        Order order = Order.newBuilder()
                .setVersion(9_007_199_254_740_993L) // 2^53 + 1, no double
                .setTotal(Moneys.ofMinor(Long.MAX_VALUE, "JPY"))
                .build();
        String json = JsonFormat.printer().print(order);
        assertTrue(json.contains("\"9007199254740993\"") && json.contains("\"9223372036854775807\""), json);
        Order.Builder read = Order.newBuilder();
        JsonFormat.parser().merge(json, read);
        assertEquals(order, read.build());
    }

    @Test
    void aCopyIsFilledInAndNotTheCallersRequest() {
        CreateOrderRequest request = CreateOrderRequest.getDefaultInstance();
        CreateOrderRequest filled = RequestIds.fill(request);
        assertEquals("", request.getRequestId());
        assertEquals(36, filled.getRequestId().length());
    }
}
