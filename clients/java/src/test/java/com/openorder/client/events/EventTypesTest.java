package com.openorder.client.events;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertTrue;

import com.openorder.order.v1.OrderPaid;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.Set;
import java.util.TreeSet;
import java.util.regex.Matcher;
import java.util.regex.Pattern;
import java.util.stream.Stream;
import org.junit.jupiter.api.Test;

class EventTypesTest {
    /** A file of events that the list of files lacks is found here. */
    @Test
    void everyEventOfTheContractIsKnown() throws IOException {
        Set<String> types = new TreeSet<>();
        try (Stream<Path> files = Files.walk(Path.of("../../proto/openorder"))) {
            for (Path file : files.filter(path -> path.toString().endsWith(".proto")).toList()) {
                Matcher type = Pattern.compile("(?m)^    type: \"([a-z._]+)\"").matcher(Files.readString(file));
                while (type.find()) types.add(type.group(1));
            }
        }
        assertTrue(types.size() > 30, types.toString());
        assertEquals(types, new TreeSet<>(EventTypes.PARSERS.keySet()));
    }

    @Test
    void aTypeHasItsMessage() throws Exception {
        OrderPaid paid = OrderPaid.newBuilder().setOrderId("o-1").build();
        assertEquals(paid, EventTypes.PARSERS.get("order.lifecycle.paid").parseFrom(paid.toByteArray()));
    }
}
