// What is written by hand from the contract's comments, compared with them.
import type { Message } from "@bufbuild/protobuf";
import { knownReasons } from "@openorder/client";
import { eventSchemas } from "@openorder/client/events";
import { withRequestId } from "../dist/calls.js";
import { files } from "../dist/gen/files.js";
import assert from "node:assert/strict";
import { readdirSync, readFileSync } from "node:fs";
import { test } from "node:test";

const repository = new URL("../../../", import.meta.url);
const folder = new URL("proto/openorder/", repository);
const protos = readdirSync(folder, { recursive: true, encoding: "utf8" })
    // Who may call a method is nothing to this client.
    .filter((name) => name.endsWith(".proto") && !/^(internal|access)\//.test(name))
    .map((name) => ({ name: `openorder/${name}`, text: readFileSync(new URL(name, folder), "utf8") }));

const CODES =
    /^(OK|CANCELLED|UNKNOWN|INVALID_ARGUMENT|DEADLINE_EXCEEDED|NOT_FOUND|ALREADY_EXISTS|PERMISSION_DENIED|RESOURCE_EXHAUSTED|FAILED_PRECONDITION|ABORTED|OUT_OF_RANGE|UNIMPLEMENTED|INTERNAL|UNAVAILABLE|DATA_LOSS|UNAUTHENTICATED)$/;
/** Reasons in a text, which are in UPPER_SNAKE. */
const reasonsIn = (text: string) => (text.match(/\b[A-Z]+(_[A-Z]+)+\b/g) ?? []).filter((word) => !CODES.test(word));

test("all files of the contract are generated", () => {
    assert.deepEqual(files.map(({ name }) => `${name}.proto`).sort(), protos.map(({ name }) => name).sort());
});

test("the table of reasons holds what the contract's comments name, and the gateway's", () => {
    const named = new Set<string>();
    for (const { text } of protos) {
        // A comment, and the method, service or value that it is about.
        for (const [, comment = ""] of text.matchAll(/((?:^ *\/\/.*\n)+) *(?:rpc|service|PAYMENT_MODE_MANUAL)\b/gm)) {
            const said = comment.replaceAll(/\n *\/\/ ?/g, " ");
            for (const reason of reasonsIn(said.slice(said.search(/\breasons?\b/i)))) named.add(reason);
        }
    }
    const calling = readFileSync(new URL("docs/calling.md", repository), "utf8");
    for (const line of calling.split("\n").filter((line) => line.startsWith("|"))) {
        for (const reason of [...reasonsIn(line), ...(line.match(/OVERLOADED/g) ?? [])]) named.add(reason);
    }
    assert.deepEqual([...knownReasons].sort(), [...named].sort());
});

test("a request id is made where the contract says that the caller chooses it, and nowhere else", () => {
    const chosen: string[] = [];
    for (const { name, text } of protos) {
        const prefix = name.slice(0, name.lastIndexOf("/")).replaceAll("/", ".");
        for (const [, message, body = ""] of text.matchAll(/^message (\w+) \{\n([^]*?)^\}/gm)) {
            if (/\/\/ Chosen by the caller(?:.*\n *\/\/)*.*\n +string request_id = /.test(body))
                chosen.push(`${prefix}.${message}`);
        }
    }
    const made = files
        .flatMap((file) => file.services.flatMap((service) => service.methods.map(({ input }) => input)))
        .filter((input) => (withRequestId(input, {}) as Message & { requestId?: string }).requestId)
        .map(({ typeName }) => typeName);
    assert.ok(made.length >= 14, `${made.length} methods`);
    assert.deepEqual(made.sort(), chosen.sort());
});

test("the table of events is that of the documentation", () => {
    const documentation = readFileSync(new URL("docs/consuming-events.md", repository), "utf8");
    const rows = [...documentation.matchAll(/^\| `([a-z_.]+)` \| `(openorder\.\S+)` \|/gm)].map(([, type, name]) => [
        type,
        name,
    ]);
    assert.ok(rows.length > 30);
    assert.deepEqual([...eventSchemas].map(([type, { typeName }]) => [type, typeName]).sort(), rows.sort());
});
