package com.openorder.client;

import com.google.protobuf.Descriptors.FieldDescriptor;
import com.google.protobuf.Message;
import java.util.Collections;
import java.util.Iterator;
import java.util.List;
import java.util.NoSuchElementException;
import java.util.function.Function;
import java.util.stream.Stream;
import java.util.stream.StreamSupport;

/**
 * What a list method returns, over all its pages. A page is asked for when the one before it is used up; each iterator
 * begins with the first page of the request.
 *
 * <pre>{@code
 * for (Order order : Pages.of(client.orders()::listOrders, request, ListOrdersResponse::getOrdersList)) { … }
 * }</pre>
 *
 * <p>Iterating throws what the method throws, {@link OpenOrderException}.
 *
 * @param <T> what is listed
 */
public final class Pages<T> implements Iterable<T> {
    private final Function<String, Page<T>> pages;

    private record Page<T>(Iterator<T> items, String nextPageToken) {}

    private Pages(Function<String, Page<T>> pages) {
        this.pages = pages;
    }

    /**
     * All that the method lists.
     *
     * @param method a method whose request has {@code page_token}, and whose response has {@code next_page_token}
     * @param request the conditions and the page size; {@code page_token} is the first page's, and usually empty
     * @param items what of a response is listed
     * @throws IllegalArgumentException the request has no {@code page_token}
     */
    public static <Q extends Message, P extends Message, T> Pages<T> of(
            Function<? super Q, ? extends P> method, Q request, Function<? super P, List<T>> items) {
        FieldDescriptor pageToken = request.getDescriptorForType().findFieldByName("page_token");
        if (pageToken == null) throw new IllegalArgumentException("no page_token in " + request.getDescriptorForType());
        return new Pages<>(token -> {
            @SuppressWarnings("unchecked") // a builder of a Q builds a Q
            Q asked = token == null ? request : (Q) request.toBuilder().setField(pageToken, token).build();
            P response = method.apply(asked);
            FieldDescriptor next = response.getDescriptorForType().findFieldByName("next_page_token");
            return new Page<>(items.apply(response).iterator(), (String) response.getField(next));
        });
    }

    /** The items as a stream, as lazily as by the iterator. */
    public Stream<T> stream() {
        return StreamSupport.stream(spliterator(), false);
    }

    @Override
    public Iterator<T> iterator() {
        return new Iterator<>() {
            private Page<T> page = new Page<>(Collections.emptyIterator(), null);
            private boolean begun;

            @Override
            public boolean hasNext() {
                // A page may be empty and not the last.
                while (!page.items.hasNext() && (!begun || !page.nextPageToken.isEmpty())) {
                    page = pages.apply(page.nextPageToken);
                    begun = true;
                }
                return page.items.hasNext();
            }

            @Override
            public T next() {
                if (!hasNext()) throw new NoSuchElementException();
                return page.items.next();
            }
        };
    }
}
