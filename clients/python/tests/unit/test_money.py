import pytest
from google.type.money_pb2 import Money

from openorder import money


@pytest.mark.parametrize(
    ("amount_minor", "currency", "units", "nanos"),
    [
        (1999, "EUR", 19, 990_000_000),
        (-1999, "EUR", -19, -990_000_000),
        (-5, "EUR", 0, -50_000_000),
        (0, "EUR", 0, 0),
        (1999, "JPY", 1999, 0),
        (-7, "KRW", -7, 0),
        (1999, "KWD", 1, 999_000_000),
        (-1, "BHD", 0, -1_000_000),
        (12345, "CLF", 1, 234_500_000),
        (2**63 - 1, "EUR", 92_233_720_368_547_758, 70_000_000),
        (-(2**63), "JPY", -(2**63), 0),
    ],
)
def test_minor_units_and_back(amount_minor: int, currency: str, units: int, nanos: int) -> None:
    amount = money.from_minor(amount_minor, currency)
    assert amount == Money(currency_code=currency, units=units, nanos=nanos)
    assert money.to_minor(amount) == amount_minor


@pytest.mark.parametrize(
    ("currency", "units", "nanos", "why"),
    [
        ("EUR", 1, 5_000_000, "decimal places"),
        ("EUR", 0, 1, "decimal places"),
        ("JPY", 1, 500_000_000, "decimal places"),
        ("KWD", 1, 500_000, "decimal places"),
        ("EUR", 1, -10_000_000, "signs"),
        ("EUR", -1, 10_000_000, "signs"),
        ("EUR", 0, 1_000_000_000, "nanos"),
        ("EUR", 0, -1_000_000_000, "nanos"),
        ("EUR", 2**63 - 1, 0, "64 bits"),
        ("EUR", -(2**63), 0, "64 bits"),
        ("XAU", 1, 0, "ISO 4217"),
        ("eur", 1, 0, "ISO 4217"),
        ("", 1, 0, "ISO 4217"),
    ],
)
def test_amounts_that_do_not_exist(currency: str, units: int, nanos: int, why: str) -> None:
    with pytest.raises(money.MoneyError, match=why):
        money.to_minor(Money(currency_code=currency, units=units, nanos=nanos))


def test_minor_units_that_do_not_exist() -> None:
    for amount_minor in (2**63, -(2**63) - 1):
        with pytest.raises(money.MoneyError, match="64 bits"):
            money.from_minor(amount_minor, "EUR")
    for no_int in (19.99, 20.0, "1999", True):
        with pytest.raises(TypeError):
            money.from_minor(no_int, "EUR")  # type: ignore[arg-type]


def test_decimals() -> None:
    assert [money.decimals(code) for code in ("JPY", "EUR", "KWD", "CLF")] == [0, 2, 3, 4]
