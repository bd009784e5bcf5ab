import { type DescMessage, type DescService, type Message } from "@bufbuild/protobuf";
import type { CallOptions } from "@connectrpc/connect";
import { pages } from "@openorder/client";
import { connect } from "@openorder/client/node";
import { InventoryService } from "@openorder/client/inventory/v1";
import { NotificationService } from "@openorder/client/notification/v1";
import { OperationsService } from "@openorder/client/operations/v1";
import { OrderService } from "@openorder/client/order/v1";
import { PaymentService } from "@openorder/client/payment/v1";
import { ProductService } from "@openorder/client/product/v1";
import assert from "node:assert/strict";
import { test } from "node:test";
import { serve } from "./server.js";

test("pages are asked for when they are needed, empty ones are passed over", async (t) => {
    const asked: [string, string, number][] = [];
    const bodies = [["a", "b"], [], ["c"], ["d"]];
    const server = await serve(t, (router) =>
        router.service(OrderService, {
            listOrders: ({ customerId, pageToken, pageSize }) => {
                asked.push([customerId, pageToken, pageSize]);
                const page = Number(pageToken || "0");
                const orders = bodies[page]!.map((orderId) => ({ orderId }));
                return { orders, nextPageToken: page + 1 < bodies.length ? String(page + 1) : "" };
            },
        }),
    );
    const openorder = connect(server.address);
    t.after(() => openorder.close());
    const seen: string[] = [];
    for await (const { orderId } of pages(openorder.orders.listOrders, { customerId: "anna", pageSize: 2 }, "orders")) {
        seen.push(orderId);
        if (orderId === "c") break;
        assert.ok(asked.length <= 3);
    }
    assert.deepEqual(seen, ["a", "b", "c"]);
    assert.deepEqual(asked, [
        ["anna", "", 2],
        ["anna", "1", 2],
        ["anna", "2", 2],
    ]);
});

type Paged = (
    request: { pageToken?: string },
    options?: CallOptions,
) => Promise<{ nextPageToken: string; [field: string]: unknown }>;

test("every list method of the contract has pages", async (t) => {
    const services: Record<string, DescService> = {
        inventory: InventoryService,
        notifications: NotificationService,
        operations: OperationsService,
        orders: OrderService,
        payments: PaymentService,
        products: ProductService,
    };
    const field = (message: DescMessage, name: string) => message.fields.find((field) => field.name === name);
    const methods = Object.entries(services).flatMap(([name, service]) =>
        service.methods
            .filter((method) => field(method.output, "next_page_token"))
            .map((method) => ({ name, service, method })),
    );
    const items = (output: DescMessage) => output.fields.find(({ fieldKind }) => fieldKind === "list")!.localName;
    const server = await serve(t, (router) => {
        for (const { method } of methods) {
            router.rpc(
                method as never,
                ((request: Message & { pageToken: string }) =>
                    request.pageToken === ""
                        ? { [items(method.output)]: [{}, {}], nextPageToken: "2" }
                        : { [items(method.output)]: [{}] }) as never,
            );
        }
    });
    const openorder = connect(server.address);
    t.after(() => openorder.close());
    assert.ok(methods.length >= 10, `${methods.length} methods`);
    for (const { name, method } of methods) {
        assert.ok(field(method.input, "page_token"), method.name);
        const call = (openorder as unknown as Record<string, Record<string, Paged>>)[name]![method.localName]!;
        let count = 0;
        for await (const _ of pages(call, {}, items(method.output) as never)) count++;
        assert.equal(count, 3, method.name);
    }
});
