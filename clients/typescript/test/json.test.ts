import { create, fromJson, fromJsonString, toJson, toJsonString } from "@bufbuild/protobuf";
import { toMoney } from "@openorder/client";
import { OrderSchema } from "@openorder/client/order/v1";
import assert from "node:assert/strict";
import { test } from "node:test";

// Beyond 2^53, where a number of JavaScript is not exact any more.
const version = 9_007_199_254_740_993n;

test("64-bit numbers go through JSON as they are", () => {
    const order = create(OrderSchema, { orderId: "1", version, total: toMoney(2n ** 62n, "JPY") });
    const text = toJsonString(OrderSchema, order);
    assert.match(text, /"version":"9007199254740993"/);
    assert.match(text, /"units":"4611686018427387904"/);
    assert.deepEqual(fromJsonString(OrderSchema, text), order);
    assert.deepEqual(fromJson(OrderSchema, JSON.parse(JSON.stringify(toJson(OrderSchema, order)))), order);
});

test("a message that is given to JSON.stringify loses no digits: it is refused", () => {
    assert.throws(() => JSON.stringify(create(OrderSchema, { version })), TypeError);
});
