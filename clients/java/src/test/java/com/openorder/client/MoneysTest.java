package com.openorder.client;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertThrows;

import com.google.type.Money;
import java.math.BigDecimal;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;

class MoneysTest {
    private static Money money(String currency, long units, int nanos) {
        return Money.newBuilder().setCurrencyCode(currency).setUnits(units).setNanos(nanos).build();
    }

    @ParameterizedTest
    @CsvSource({
        "EUR, 1999, 19, 990000000, 19.99",
        "EUR, -1999, -19, -990000000, -19.99",
        "EUR, 5, 0, 50000000, 0.05",
        "EUR, -5, 0, -50000000, -0.05",
        "EUR, 0, 0, 0, 0.00",
        "JPY, 1999, 1999, 0, 1999",
        "KRW, -7, -7, 0, -7",
        "KWD, 1999, 1, 999000000, 1.999",
        "BHD, -1, 0, -1000000, -0.001",
        "EUR, 9223372036854775807, 92233720368547758, 70000000, 92233720368547758.07",
        "JPY, -9223372036854775808, -9223372036854775808, 0, -9223372036854775808",
        "JPY, 9007199254740993, 9007199254740993, 0, 9007199254740993",
    })
    void minorUnitsAndMoneyAreTheSameAmount(String currency, long minor, long units, int nanos, BigDecimal decimal) {
        Money money = money(currency, units, nanos);
        assertEquals(money, Moneys.ofMinor(minor, currency));
        assertEquals(minor, Moneys.toMinor(money));
        assertEquals(decimal, Moneys.toBigDecimal(money));
        assertEquals(money, Moneys.of(decimal, currency));
    }

    @ParameterizedTest
    @CsvSource({
        "EUR, 19, 995000000", "EUR, 0, 1", "EUR, 0, -1", "JPY, 1, 500000000", "KWD, 0, 500000",
        "EUR, 92233720368547758, 80000000", "KWD, -9223372036854775808, 0"
    })
    void whatIsNoNumberOfMinorUnitsIsRefused(String currency, long units, int nanos) {
        assertThrows(ArithmeticException.class, () -> Moneys.toMinor(money(currency, units, nanos)));
    }

    @ParameterizedTest
    @CsvSource({
        "EUR, 1, -10000000", "EUR, -1, 10000000", "EUR, 1, 1000000000", "EUR, 0, -1000000000", "XXX, 1, 0", "eur, 1, 0",
        "'', 1, 0"
    })
    void whatIsNoAmountIsRefused(String currency, long units, int nanos) {
        assertThrows(IllegalArgumentException.class, () -> Moneys.toMinor(money(currency, units, nanos)));
    }

    @Test
    void aDecimalWithTooManyPlacesOrTooManyUnitsIsRefused() {
        assertThrows(ArithmeticException.class, () -> Moneys.of(new BigDecimal("19.995"), "EUR"));
        assertThrows(ArithmeticException.class, () -> Moneys.of(new BigDecimal("9223372036854775808"), "EUR"));
        assertEquals(money("EUR", 19, 990_000_000), Moneys.of(new BigDecimal("19.990"), "EUR"));
    }
}
