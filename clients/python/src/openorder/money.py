"""Exact conversion between minor units (cents of EUR, yen of JPY, fils of KWD) and `google.type.Money`."""

from google.type.money_pb2 import Money

# Decimal places of the currencies in use, as in ISO 4217, list one; the same ones that OpenOrder takes.
_CURRENCIES = {
    0: "BIF CLP DJF GNF ISK JPY KMF KRW PYG RWF UGX UYI VND VUV XAF XOF XPF",
    2: """
        AED AFN ALL AMD AOA ARS AUD AWG AZN BAM BBD BDT BGN BMD BND BOB BRL BSD BTN BWP BYN BZD CAD CDF CHF CNY COP CRC
        CUP CVE CZK DKK DOP DZD EGP ERN ETB EUR FJD FKP GBP GEL GHS GIP GMD GTQ GYD HKD HNL HTG HUF IDR ILS INR IRR JMD
        KES KGS KHR KPW KYD KZT LAK LBP LKR LRD LSL MAD MDL MGA MKD MMK MNT MOP MRU MUR MVR MWK MXN MYR MZN NAD NGN NIO
        NOK NPR NZD PAB PEN PGK PHP PKR PLN QAR RON RSD RUB SAR SBD SCR SDG SEK SGD SHP SLE SOS SRD SSP STN SVC SYP SZL
        THB TJS TMT TOP TRY TTD TWD TZS UAH USD UYU UZS VED VES WST XCD XCG YER ZAR ZMW ZWG""",
    3: "BHD IQD JOD KWD LYD OMR TND",
    4: "CLF UYW",
}
_DECIMALS = {code: decimals for decimals, codes in _CURRENCIES.items() for code in codes.split()}
_NANOS = 10**9
_INT64_MIN, _INT64_MAX = -(2**63), 2**63 - 1


class MoneyError(ValueError):
    """An amount that does not exist: too precise for its currency, out of range, or of no known currency."""


def decimals(currency_code: str) -> int:
    """How many decimal places a currency has: 0 for JPY, 2 for EUR, 3 for KWD. Raises `MoneyError` for unknown ones."""
    try:
        return _DECIMALS[currency_code]
    except KeyError:
        raise MoneyError(f"{currency_code!r} is no ISO 4217 code of a currency in use") from None


def from_minor(amount_minor: int, currency_code: str) -> Money:
    """Minor units as Money: `from_minor(1999, "EUR")` is 19.99 EUR.

    Raises `MoneyError` for an unknown currency or an amount beyond 64 bits, `TypeError` for what is no `int`.
    """
    if not isinstance(amount_minor, int) or isinstance(amount_minor, bool):
        raise TypeError(f"minor units are an int, not {type(amount_minor).__name__}")
    minor_per_unit: int = 10 ** decimals(currency_code)
    if not _INT64_MIN <= amount_minor <= _INT64_MAX:
        raise MoneyError("beyond 64 bits of minor units")
    units, rest = divmod(abs(amount_minor), minor_per_unit)
    sign = -1 if amount_minor < 0 else 1
    return Money(currency_code=currency_code, units=sign * units, nanos=sign * rest * (_NANOS // minor_per_unit))


def to_minor(money: Money) -> int:
    """Money in minor units of its currency: 19.99 EUR is 1999.

    Raises `MoneyError` for an unknown currency, units and nanos of different signs, nanos out of ±999,999,999, more
    decimal places than the currency has, and an amount beyond 64 bits of minor units.
    """
    minor_per_unit: int = 10 ** decimals(money.currency_code)
    if abs(money.nanos) >= _NANOS:
        raise MoneyError("nanos are beyond ±999,999,999")
    if money.units * money.nanos < 0:
        raise MoneyError("units and nanos have different signs")
    total_nanos = abs(money.units) * _NANOS + abs(money.nanos)
    amount_minor, too_precise = divmod(total_nanos, _NANOS // minor_per_unit)
    if too_precise:
        raise MoneyError(f"more than the {decimals(money.currency_code)} decimal places of {money.currency_code}")
    if money.units < 0 or money.nanos < 0:
        amount_minor = -amount_minor
    if not _INT64_MIN <= amount_minor <= _INT64_MAX:
        raise MoneyError("beyond 64 bits of minor units")
    return amount_minor
