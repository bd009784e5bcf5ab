import { create } from "@bufbuild/protobuf";
import { decimalPlaces, MoneyError, MoneySchema, toMinorUnits, toMoney } from "@openorder/client";
import assert from "node:assert/strict";
import { test } from "node:test";

const money = (currencyCode: string, units: bigint, nanos = 0) => create(MoneySchema, { currencyCode, units, nanos });

const cases: [bigint, string, bigint, number][] = [
    [1999n, "EUR", 19n, 990_000_000],
    [1999n, "JPY", 1999n, 0],
    [1999n, "KRW", 1999n, 0],
    [1999n, "KWD", 1n, 999_000_000],
    [1n, "BHD", 0n, 1_000_000],
    [19_999n, "CLF", 1n, 999_900_000],
    [0n, "EUR", 0n, 0],
    [-1n, "EUR", 0n, -10_000_000],
    [-1999n, "EUR", -19n, -990_000_000],
    [-1999n, "JPY", -1999n, 0],
    [9_007_199_254_740_993n, "EUR", 90_071_992_547_409n, 930_000_000],
    [2n ** 63n - 1n, "JPY", 2n ** 63n - 1n, 0],
    [-(2n ** 63n), "JPY", -(2n ** 63n), 0],
    [(2n ** 63n - 1n) * 100n + 99n, "EUR", 2n ** 63n - 1n, 990_000_000],
];

for (const [minor, currency, units, nanos] of cases) {
    test(`${minor} minor units of ${currency}`, () => {
        assert.deepEqual(toMoney(minor, currency), money(currency, units, nanos));
        assert.equal(toMinorUnits(money(currency, units, nanos)), minor);
    });
}

test("decimal places", () => {
    assert.deepEqual(["EUR", "JPY", "KWD", "UYW"].map(decimalPlaces), [2, 0, 3, 4]);
});

const refused: [string, () => unknown][] = [
    ["a third decimal place of EUR", () => toMinorUnits(money("EUR", 1n, 1_000_000))],
    ["a decimal place of JPY", () => toMinorUnits(money("JPY", 1n, 100_000_000))],
    ["a fourth decimal place of KWD", () => toMinorUnits(money("KWD", 1n, 100_000))],
    ["positive units with negative nanos", () => toMinorUnits(money("EUR", 1n, -10_000_000))],
    ["negative units with positive nanos", () => toMinorUnits(money("EUR", -1n, 10_000_000))],
    ["nanos of a whole unit", () => toMinorUnits(money("EUR", 0n, 1_000_000_000))],
    ["nanos of a negative whole unit", () => toMinorUnits(money("EUR", 0n, -1_000_000_000))],
    ["units beyond 64 bits", () => toMoney(2n ** 63n, "JPY")],
    ["negative units beyond 64 bits", () => toMoney(-(2n ** 63n) - 1n, "JPY")],
    ["a currency in small letters", () => toMoney(1n, "eur")],
    ["no currency", () => toMinorUnits(money("", 1n))],
];

for (const [what, convert] of refused) {
    test(`${what} is refused`, () => assert.throws(convert, MoneyError));
}
