package com.openorder.client;

import com.google.type.Money;
import java.math.BigDecimal;
import java.util.Currency;

/**
 * Amounts of money as {@link Money}, as minor units (cents of a euro, yen, fils of a dinar) and as decimals: exact, or
 * not at all. How many decimal places a currency has is what {@link Currency} knows of ISO 4217.
 */
public final class Moneys {
    private Moneys() {}

    /**
     * An amount given in minor units: {@code ofMinor(1999, "EUR")} is 19.99 euros.
     *
     * @throws IllegalArgumentException no such currency, or one without minor units
     */
    public static Money ofMinor(long minorUnits, String currencyCode) {
        return of(BigDecimal.valueOf(minorUnits, decimalPlaces(currencyCode)), currencyCode);
    }

    /**
     * The amount in minor units of its currency.
     *
     * @throws ArithmeticException the amount has more decimal places than the currency, or its minor units do not fit
     * @throws IllegalArgumentException as {@link #toBigDecimal}
     */
    public static long toMinor(Money money) {
        int places = decimalPlaces(money.getCurrencyCode());
        return toBigDecimal(money).movePointRight(places).longValueExact();
    }

    /**
     * An amount given as a decimal: {@code of(new BigDecimal("19.99"), "EUR")}.
     *
     * @throws ArithmeticException the amount has more decimal places than the currency, or its units do not fit
     * @throws IllegalArgumentException no such currency, or one without minor units
     */
    public static Money of(BigDecimal amount, String currencyCode) {
        BigDecimal exact = amount.setScale(decimalPlaces(currencyCode));
        BigDecimal[] parts = exact.divideAndRemainder(BigDecimal.ONE);
        return Money.newBuilder()
                .setCurrencyCode(currencyCode)
                .setUnits(parts[0].longValueExact())
                .setNanos(parts[1].movePointRight(9).intValueExact())
                .build();
    }

    /**
     * The amount as a decimal with as many places as the currency has, or more where the amount has more.
     *
     * @throws IllegalArgumentException no such currency, or one without minor units; nanos beyond ±999,999,999; units
     *     and nanos of different signs
     */
    public static BigDecimal toBigDecimal(Money money) {
        long units = money.getUnits();
        int nanos = money.getNanos();
        if (nanos < -999_999_999 || nanos > 999_999_999) {
            throw new IllegalArgumentException("nanos must be within ±999,999,999: " + nanos);
        }
        if (Long.signum(units) * Integer.signum(nanos) < 0) {
            throw new IllegalArgumentException("units and nanos differ in sign: " + units + ", " + nanos);
        }
        int places = decimalPlaces(money.getCurrencyCode());
        BigDecimal amount = BigDecimal.valueOf(units).add(BigDecimal.valueOf(nanos, 9)).stripTrailingZeros();
        return amount.scale() < places ? amount.setScale(places) : amount;
    }

    private static int decimalPlaces(String currencyCode) {
        int places;
        try {
            places = Currency.getInstance(currencyCode).getDefaultFractionDigits();
        } catch (IllegalArgumentException unknown) {
            throw new IllegalArgumentException("no currency of ISO 4217: " + currencyCode, unknown);
        }
        if (places < 0) throw new IllegalArgumentException("a currency without minor units: " + currencyCode);
        return places;
    }
}
