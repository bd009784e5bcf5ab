package com.openorder.client;

import com.google.protobuf.Descriptors.Descriptor;
import com.google.protobuf.Descriptors.FieldDescriptor;
import com.google.protobuf.Message;
import java.util.UUID;

/** Request ids of requests that have none. */
final class RequestIds {
    private RequestIds() {}

    /** The same request; with a new id, where the caller left the choice to the client. */
    @SuppressWarnings("unchecked") // a builder of a Q builds a Q
    static <Q> Q fill(Q request) {
        if (!(request instanceof Message) || !of(request).isEmpty()) return request;
        Message message = (Message) request;
        if (!isChosenByTheCaller(message.getDescriptorForType())) return request;
        String id = UUID.randomUUID().toString();
        return (Q) message.toBuilder().setField(field(message), id).build();
    }

    /** The request's id; empty where it has none. */
    static String of(Object request) {
        FieldDescriptor field = request instanceof Message ? field((Message) request) : null;
        return field == null ? "" : (String) ((Message) request).getField(field);
    }

    /**
     * Whether {@code request_id} names the intent of the call itself. In the conditions of a list it is one to look
     * for, and in CancelReplay it is the replay's: there, empty means empty.
     */
    static boolean isChosenByTheCaller(Descriptor request) {
        return request.findFieldByName("request_id") != null
                && request.findFieldByName("page_token") == null
                && !request.getFullName().equals("openorder.operations.v1.CancelReplayRequest");
    }

    private static FieldDescriptor field(Message message) {
        return message.getDescriptorForType().findFieldByName("request_id");
    }
}
