// The core needs no Node.js: another transport is all that a browser takes.
import { createRouterTransport } from "@connectrpc/connect";
import { client } from "@openorder/client";
import { OrderService } from "@openorder/client/order/v1";
import assert from "node:assert/strict";
import { readdirSync, readFileSync } from "node:fs";
import { test } from "node:test";

const dist = new URL("../dist/", import.meta.url);

/** The modules that a module of the package leads to, outside of it. */
function imports(file: URL, seen = new Set<string>()): Set<string> {
    if (seen.has(file.href)) return new Set();
    seen.add(file.href);
    const outside = new Set<string>();
    for (const [, name = ""] of readFileSync(file, "utf8").matchAll(/(?:from|import) "([^"]+)"/g)) {
        if (!name.startsWith(".")) outside.add(name);
        else for (const other of imports(new URL(name, file), seen)) outside.add(other);
    }
    return outside;
}

test("the core, the web client and the contract import no module of Node.js, Kafka or OpenTelemetry", () => {
    const allowed = [
        "@bufbuild/protobuf",
        "@bufbuild/protobuf/codegenv2",
        "@bufbuild/protobuf/wkt",
        "@connectrpc/connect",
    ];
    assert.deepEqual([...imports(new URL("index.js", dist))].sort(), allowed);
    assert.deepEqual([...imports(new URL("web.js", dist))].sort(), [...allowed, "@connectrpc/connect-web"]);
    assert.ok(imports(new URL("node.js", dist)).has("@connectrpc/connect-node"));
    assert.ok(!imports(new URL("node.js", dist)).has("@platformatic/kafka"));
    for (const name of readdirSync(new URL("gen/openorder", dist))) {
        for (const used of imports(new URL(`gen/openorder/${name}/v1/index.js`, dist)))
            assert.ok(allowed.includes(used), used);
    }
});

test("any transport will do", async () => {
    const transport = createRouterTransport((router) =>
        router.service(OrderService, { createOrder: ({ requestId }) => ({ order: { orderId: requestId } }) }),
    );
    const { order } = await client(transport).orders.createOrder({});
    assert.match(order?.orderId ?? "", /^[0-9a-f-]{36}$/);
});

test("the page is one file, and asks no other host by itself", () => {
    const page = readFileSync(new URL("browser/index.html", import.meta.url), "utf8");
    assert.ok(!page.includes(' src="') && !page.includes("@import"), "it loads nothing");
    assert.equal(page.match(/<script/g)?.length, 1);
    assert.ok(!/\b(?:require|import)\s*\(?"/.test(page), "it imports nothing");
});
