package com.openorder.client.events;

import com.google.protobuf.Descriptors.Descriptor;
import com.google.protobuf.Descriptors.FileDescriptor;
import com.google.protobuf.Internal;
import com.google.protobuf.Message;
import com.google.protobuf.Parser;
import com.openorder.event.v1.OptionsProto;
import com.openorder.inventory.v1.InventoryEventsProto;
import com.openorder.notification.v1.NotificationEventsProto;
import com.openorder.order.v1.OrderEventsProto;
import com.openorder.payment.v1.PaymentEventsProto;
import com.openorder.product.v1.ProductEventsProto;
import com.openorder.promotion.v1.PromotionEventsProto;
import com.openorder.shipping.v1.ShippingEventsProto;
import com.openorder.user.v1.UserEventsProto;
import java.util.HashMap;
import java.util.List;
import java.util.Map;

/** The message of each event type, as the messages' option {@code openorder.event.v1.event} says. */
final class EventTypes {
    private static final List<FileDescriptor> FILES = List.of(
            InventoryEventsProto.getDescriptor(),
            NotificationEventsProto.getDescriptor(),
            OrderEventsProto.getDescriptor(),
            PaymentEventsProto.getDescriptor(),
            ProductEventsProto.getDescriptor(),
            PromotionEventsProto.getDescriptor(),
            ShippingEventsProto.getDescriptor(),
            UserEventsProto.getDescriptor());

    static final Map<String, Parser<? extends Message>> PARSERS = parsers();

    private EventTypes() {}

    private static Map<String, Parser<? extends Message>> parsers() {
        Map<String, Parser<? extends Message>> parsers = new HashMap<>();
        for (FileDescriptor file : FILES) {
            for (Descriptor message : file.getMessageTypes()) {
                if (!message.getOptions().hasExtension(OptionsProto.event)) continue;
                String type = message.getOptions().getExtension(OptionsProto.event).getType();
                parsers.put(type, parser(file.getOptions().getJavaPackage() + '.' + message.getName()));
            }
        }
        return Map.copyOf(parsers);
    }

    private static Parser<? extends Message> parser(String className) {
        try {
            return Internal.getDefaultInstance(Class.forName(className).asSubclass(Message.class)).getParserForType();
        } catch (ClassNotFoundException missing) {
            throw new IllegalStateException("the generated code is incomplete", missing);
        }
    }
}
