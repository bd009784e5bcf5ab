import type { CallOptions } from "@connectrpc/connect";

/** The fields of a response that are lists. */
type Lists<Response> = {
    [Field in keyof Response]: Response[Field] extends readonly unknown[] ? Field : never;
}[keyof Response];
type Item<List> = List extends readonly (infer Element)[] ? Element : never;

/**
 * All items of a list method, page by page, each page when it is needed:
 *
 * ```ts
 * for await (const order of pages(openorder.orders.listOrders, { customerId: "anna" }, "orders")) { … }
 * ```
 *
 * A page may be empty and not the last one. Each page is a call with a deadline of its own.
 *
 * @param method a method that answers with `nextPageToken`.
 * @param request its request: `pageSize` says how many items a page has; `pageToken` where to begin.
 * @param field the field of the response that holds the items.
 * @throws OpenOrderError as the method does.
 */
export async function* pages<
    Request extends { pageToken?: string },
    Response extends { nextPageToken: string },
    Field extends Lists<Response>,
>(
    method: (request: Request, options?: CallOptions) => Promise<Response>,
    request: NoInfer<Request>,
    field: Field,
    options?: CallOptions,
): AsyncGenerator<Item<Response[Field]>, void, undefined> {
    for (let pageToken = request.pageToken ?? ""; ;) {
        const page = await method({ ...request, pageToken }, options);
        yield* page[field] as Iterable<Item<Response[Field]>>;
        pageToken = page.nextPageToken;
        if (pageToken === "") return;
    }
}
