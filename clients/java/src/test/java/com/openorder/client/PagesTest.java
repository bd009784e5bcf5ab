package com.openorder.client;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertThrows;

import com.openorder.order.v1.GetOrderRequest;
import com.openorder.order.v1.ListOrdersRequest;
import com.openorder.order.v1.ListOrdersResponse;
import com.openorder.order.v1.Order;
import java.util.ArrayList;
import java.util.List;
import java.util.Map;
import org.junit.jupiter.api.Test;

class PagesTest {
    private static final Map<String, ListOrdersResponse> PAGES =
            Map.of("", page("p2", "a", "b"), "p2", page("p3"), "p3", page("p4", "c"), "p4", page(""));
    private final List<ListOrdersRequest> asked = new ArrayList<>();

    private static ListOrdersResponse page(String nextPageToken, String... orderIds) {
        ListOrdersResponse.Builder page = ListOrdersResponse.newBuilder().setNextPageToken(nextPageToken);
        for (String id : orderIds) page.addOrders(Order.newBuilder().setOrderId(id));
        return page.build();
    }

    private ListOrdersResponse list(ListOrdersRequest request) {
        asked.add(request);
        return PAGES.get(request.getPageToken());
    }

    private final ListOrdersRequest request =
            ListOrdersRequest.newBuilder().setCustomerId("anna").setPageSize(2).build();

    @Test
    void allPagesAreOneList() {
        Pages<Order> orders = Pages.of(this::list, request, ListOrdersResponse::getOrdersList);
        assertEquals(List.of("a", "b", "c"), orders.stream().map(Order::getOrderId).toList());
        assertEquals(List.of("", "p2", "p3", "p4"), asked.stream().map(ListOrdersRequest::getPageToken).toList());
        for (ListOrdersRequest page : asked) {
            assertEquals(request, page.toBuilder().clearPageToken().build());
        }
        List<String> again = new ArrayList<>();
        for (Order order : orders) again.add(order.getOrderId());
        assertEquals(List.of("a", "b", "c"), again);
    }

    @Test
    void aPageIsAskedForWhenItIsNeeded() {
        Pages<Order> orders = Pages.of(this::list, request, ListOrdersResponse::getOrdersList);
        assertEquals(0, asked.size());
        assertEquals(2, orders.stream().limit(2).count());
        assertEquals(1, asked.size());
    }

    @Test
    void aMethodWithoutPagesIsRefused() {
        assertThrows(
                IllegalArgumentException.class,
                () -> Pages.of(r -> page(""), GetOrderRequest.getDefaultInstance(), ListOrdersResponse::getOrdersList));
    }
}
