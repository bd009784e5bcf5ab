package openorder

import (
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"testing"

	"google.golang.org/genproto/googleapis/type/money"
	"google.golang.org/protobuf/encoding/protojson"
	"google.golang.org/protobuf/proto"

	orderv1 "github.com/openorder/openorder/clients/go/openorder/order/v1"
)

func TestMoney(t *testing.T) {
	for _, test := range []struct {
		minor    int64
		currency string
		units    int64
		nanos    int32
	}{
		{1999, "EUR", 19, 990_000_000},
		{-1999, "EUR", -19, -990_000_000},
		{-5, "EUR", 0, -50_000_000},
		{0, "EUR", 0, 0},
		{1999, "JPY", 1999, 0},
		{-1, "KRW", -1, 0},
		{1999, "KWD", 1, 999_000_000},
		{-1, "BHD", 0, -1_000_000},
		{1, "IQD", 0, 1_000_000}, // CLDR, and so golang.org/x/text, has 0 decimals
		{12345, "CLF", 1, 234_500_000},
		{math.MaxInt64, "EUR", 92233720368547758, 70_000_000},
		{math.MinInt64, "EUR", -92233720368547758, -80_000_000},
		{math.MinInt64, "JPY", math.MinInt64, 0},
	} {
		t.Run(fmt.Sprint(test.minor, test.currency), func(t *testing.T) {
			amount, err := NewMoney(test.minor, test.currency)
			must(t, err)
			want := &money.Money{CurrencyCode: test.currency, Units: test.units, Nanos: test.nanos}
			if !proto.Equal(amount, want) {
				t.Errorf("got %v, want %v", amount, want)
			}
			minor, err := MinorUnits(want)
			must(t, err)
			equal(t, "minor units", minor, test.minor)
		})
	}
}

func TestMoneyThatIsNone(t *testing.T) {
	for name, test := range map[string]struct {
		amount *money.Money
		err    error
	}{
		"too precise":            {&money.Money{CurrencyCode: "EUR", Nanos: 5_000_000}, ErrMoneyTooPrecise},
		"too precise for a yen":  {&money.Money{CurrencyCode: "JPY", Units: 1, Nanos: 10_000_000}, ErrMoneyTooPrecise},
		"too precise for 3":      {&money.Money{CurrencyCode: "KWD", Nanos: -100_000}, ErrMoneyTooPrecise},
		"signs":                  {&money.Money{CurrencyCode: "EUR", Units: 1, Nanos: -10_000_000}, ErrMoneyMalformed},
		"the other way round":    {&money.Money{CurrencyCode: "EUR", Units: -1, Nanos: 10_000_000}, ErrMoneyMalformed},
		"nanos beyond a unit":    {&money.Money{CurrencyCode: "EUR", Nanos: 1_000_000_000}, ErrMoneyMalformed},
		"out of range":           {&money.Money{CurrencyCode: "EUR", Units: 92233720368547759}, ErrMoneyOutOfRange},
		"out of range by a cent": {&money.Money{CurrencyCode: "EUR", Units: 92233720368547758, Nanos: 80_000_000}, ErrMoneyOutOfRange},
		"below the range":        {&money.Money{CurrencyCode: "EUR", Units: -92233720368547758, Nanos: -90_000_000}, ErrMoneyOutOfRange},
		"lower case":             {&money.Money{CurrencyCode: "eur"}, ErrCurrencyUnknown},
		"no currency":            {&money.Money{CurrencyCode: "ABC"}, ErrCurrencyUnknown},
		"nothing":                {nil, ErrCurrencyUnknown},
	} {
		t.Run(name, func(t *testing.T) {
			if minor, err := MinorUnits(test.amount); !errors.Is(err, test.err) {
				t.Errorf("%d, %v", minor, err)
			}
		})
	}
	if _, err := NewMoney(1, "XXXX"); !errors.Is(err, ErrCurrencyUnknown) {
		t.Error(err)
	}
}

// Beyond 2^53 a number in JSON loses digits in other programs: protobuf's JSON has text there.
func TestJSONOf64Bits(t *testing.T) {
	order := &orderv1.Order{Version: 1<<53 + 1, Total: &money.Money{CurrencyCode: "EUR", Units: math.MaxInt64}}
	text, err := protojson.Marshal(order)
	must(t, err)
	fields := map[string]any{}
	must(t, json.Unmarshal(text, &fields))
	equal[any](t, "version", fields["version"], "9007199254740993")
	read := &orderv1.Order{}
	must(t, protojson.Unmarshal(text, read))
	equal(t, "the same order", proto.Equal(order, read), true)
}
