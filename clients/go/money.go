package openorder

import (
	"errors"
	"fmt"
	"math"

	"github.com/bojanz/currency"
	"google.golang.org/genproto/googleapis/type/money"
)

// Errors of NewMoney and MinorUnits.
var (
	ErrCurrencyUnknown = errors.New("openorder: not the ISO 4217 code of a currency in use")
	ErrMoneyMalformed  = errors.New("openorder: nanos are beyond ±999,999,999, or their sign is not that of units")
	ErrMoneyTooPrecise = errors.New("openorder: finer than the currency's smallest unit")
	ErrMoneyOutOfRange = errors.New("openorder: more than 64 bits of minor units")
)

const nanosPerUnit = 1_000_000_000

// NewMoney is an amount of minor units of a currency, by its ISO 4217 code: 1999 and "EUR" are 19.99 €, 1999 and "JPY"
// are 1999 ¥.
func NewMoney(minorUnits int64, currencyCode string) (*money.Money, error) {
	minorPerUnit, err := minorPerUnit(currencyCode)
	if err != nil {
		return nil, err
	}
	return &money.Money{
		CurrencyCode: currencyCode,
		Units:        minorUnits / minorPerUnit,
		Nanos:        int32(minorUnits % minorPerUnit * (nanosPerUnit / minorPerUnit)),
	}, nil
}

// MinorUnits is an amount in minor units of its currency, exactly; an error where it has none.
func MinorUnits(amount *money.Money) (int64, error) {
	minorPerUnit, err := minorPerUnit(amount.GetCurrencyCode())
	if err != nil {
		return 0, err
	}
	units, nanos := amount.GetUnits(), int64(amount.GetNanos())
	if nanos <= -nanosPerUnit || nanos >= nanosPerUnit || (units > 0 && nanos < 0) || (units < 0 && nanos > 0) {
		return 0, ErrMoneyMalformed
	}
	nanosPerMinor := nanosPerUnit / minorPerUnit
	if nanos%nanosPerMinor != 0 {
		return 0, ErrMoneyTooPrecise
	}
	fraction := nanos / nanosPerMinor
	if units > (math.MaxInt64-max(fraction, 0))/minorPerUnit || units < (math.MinInt64-min(fraction, 0))/minorPerUnit {
		return 0, ErrMoneyOutOfRange
	}
	return units*minorPerUnit + fraction, nil
}

func minorPerUnit(currencyCode string) (int64, error) {
	digits, ok := currency.GetDigits(currencyCode)
	if !ok {
		return 0, fmt.Errorf("%w: %q", ErrCurrencyUnknown, currencyCode)
	}
	minor := int64(1)
	for range digits {
		minor *= 10
	}
	return minor, nil
}
