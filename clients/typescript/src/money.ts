import { create } from "@bufbuild/protobuf";
import { type Money, MoneySchema } from "./gen/google/type/money_pb.js";

/** Decimal places of the currencies that do not have two: ISO 4217, list one, "minor unit". */
const DECIMALS: Readonly<Record<number, string>> = {
    0: "BIF CLP DJF GNF ISK JPY KMF KRW PYG RWF UGX UYI VND VUV XAF XOF XPF",
    3: "BHD IQD JOD KWD LYD OMR TND",
    4: "CLF UYW",
};
const DECIMALS_BY_CODE = new Map(
    Object.entries(DECIMALS).flatMap(([places, codes]) =>
        codes.split(" ").map((code) => [code, Number(places)] as const),
    ),
);
const NANOS_PER_UNIT = 1_000_000_000n;
const INT64_MAX = 2n ** 63n - 1n;

/** An amount that cannot be told exactly as Money or in minor units. */
export class MoneyError extends RangeError {
    override readonly name = "MoneyError";
}

/**
 * Decimal places of a currency: 2 for EUR, 0 for JPY, 3 for KWD. Whether there is such a currency, the services judge.
 *
 * @throws MoneyError for anything but three capital letters.
 */
export function decimalPlaces(currencyCode: string): number {
    if (!/^[A-Z]{3}$/.test(currencyCode)) {
        throw new MoneyError(`a currency is three capital letters of ISO 4217, not ${JSON.stringify(currencyCode)}`);
    }
    return DECIMALS_BY_CODE.get(currencyCode) ?? 2;
}

/**
 * Money of an amount in minor units: `toMoney(1999n, "EUR")` is 19.99 EUR.
 *
 * @throws MoneyError for a currency that is none, and for units beyond 64 bits.
 */
export function toMoney(minorUnits: bigint, currencyCode: string): Money {
    const minorPerUnit = 10n ** BigInt(decimalPlaces(currencyCode));
    const units = minorUnits / minorPerUnit;
    if (units > INT64_MAX || units < -INT64_MAX - 1n) throw new MoneyError(`${minorUnits} is out of range`);
    const nanos = Number((minorUnits % minorPerUnit) * (NANOS_PER_UNIT / minorPerUnit));
    return create(MoneySchema, { currencyCode, units, nanos });
}

/**
 * An amount in minor units: 1999n for 19.99 EUR, 1999n for 1999 JPY.
 *
 * @throws MoneyError for more decimal places than the currency has, for units and nanos of different signs, and for nanos
 *   of a whole unit or more.
 */
export function toMinorUnits(money: Money): bigint {
    const minorPerUnit = 10n ** BigInt(decimalPlaces(money.currencyCode));
    const nanos = BigInt(money.nanos);
    if (nanos >= NANOS_PER_UNIT || nanos <= -NANOS_PER_UNIT) throw new MoneyError(`${nanos} nanos are out of range`);
    if ((money.units > 0n && nanos < 0n) || (money.units < 0n && nanos > 0n)) {
        throw new MoneyError(`${money.units} units and ${nanos} nanos differ in sign`);
    }
    const nanosPerMinor = NANOS_PER_UNIT / minorPerUnit;
    if (nanos % nanosPerMinor !== 0n) throw new MoneyError(`${money.currencyCode} has no place for ${nanos} nanos`);
    return money.units * minorPerUnit + nanos / nanosPerMinor;
}
