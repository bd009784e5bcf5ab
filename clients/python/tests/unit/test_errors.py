import pickle
import re
from pathlib import Path
from typing import Any

import grpc
import pytest
from google.rpc import error_details_pb2

import openorder
from openorder import errors
from openorder.order.v1.order_service_pb2 import CreateOrderRequest, GetOrderRequest
from tests.unit.gateway import Refusal, Start, error_info, retry_after

ROOT = Path(__file__).parents[4]


def refused(start: Start, refusal: Refusal) -> errors.OpenOrderError:
    gateway = start(refusal)
    with openorder.connect(gateway.address) as client, pytest.raises(errors.OpenOrderError) as raised:
        client.orders.CreateOrder(CreateOrderRequest())
    return raised.value


def test_an_error_tells_all_that_the_server_said(start_gateway: Start) -> None:
    info = error_info("PRICE_CHANGED", total="20.00 EUR")
    violation = error_details_pb2.BadRequest.FieldViolation(field="lines[0].sku", description="is odd", reason="ODD")
    bad = error_details_pb2.BadRequest(field_violations=[violation])
    code = grpc.StatusCode.FAILED_PRECONDITION
    error = refused(start_gateway, Refusal(code, (info, bad, retry_after(1.5)), "the price changed"))
    assert isinstance(error, errors.PriceChanged)
    assert isinstance(error, errors.FailedPrecondition)
    assert isinstance(error, grpc.RpcError)
    assert (error.code(), error.message, error.details()) == (code, "the price changed", "the price changed")
    assert (error.reason, error.domain, error.metadata) == ("PRICE_CHANGED", "openorder", {"total": "20.00 EUR"})
    assert error.field_violations == (errors.FieldViolation("lines[0].sku", "is odd", "ODD"),)
    assert error.retry_delay_seconds == 1.5
    assert str(error) == "FAILED_PRECONDITION PRICE_CHANGED: the price changed (lines[0].sku: is odd)"


def test_an_unknown_reason_is_carried_as_text(start_gateway: Start) -> None:
    error = refused(start_gateway, Refusal(grpc.StatusCode.NOT_FOUND, (error_info("MOON_NOT_FOUND"),)))
    assert type(error) is errors.NotFound
    assert error.reason == "MOON_NOT_FOUND"


@pytest.mark.parametrize("code", [grpc.StatusCode.NOT_FOUND, grpc.StatusCode.FAILED_PRECONDITION], ids=lambda c: c.name)
def test_a_reason_with_two_codes_is_caught_by_either(start_gateway: Start, code: grpc.StatusCode) -> None:
    error = refused(start_gateway, Refusal(code, (error_info("UNKNOWN_SKU"),)))
    assert isinstance(error, errors.UnknownSku)
    assert isinstance(error, errors.BY_CODE[code])
    assert isinstance(error, errors.NotFound) == (code == grpc.StatusCode.NOT_FOUND)


def test_details_that_cannot_be_read_do_not_hide_the_error() -> None:
    for trailers in ([("grpc-status-details-bin", b"\xff\xff")], [("grpc-status-details-bin", "text")], None):
        error = errors.OpenOrderError(grpc.StatusCode.NOT_FOUND, None, trailers, "no")
        assert (error.message, error.reason, error.field_violations) == ("no", "", ())


def test_an_error_can_be_pickled(start_gateway: Start) -> None:
    error = refused(start_gateway, Refusal(grpc.StatusCode.NOT_FOUND, (error_info("ORDER_NOT_FOUND"),)))
    copy = pickle.loads(pickle.dumps(error))
    assert type(copy) is type(error)
    assert isinstance(copy, errors.OrderNotFound)
    assert (copy.reason, str(copy)) == (error.reason, str(error))


async def test_asyncio_raises_the_same(start_gateway: Start) -> None:
    gateway = start_gateway(Refusal(grpc.StatusCode.NOT_FOUND, (error_info("ORDER_NOT_FOUND"),)))
    async with openorder.aio.connect(gateway.address) as client:
        with pytest.raises(errors.OrderNotFound) as raised:
            await client.orders.GetOrder(GetOrderRequest())
        assert isinstance(raised.value, grpc.aio.AioRpcError)
        call = client.orders.GetOrder(GetOrderRequest())
        assert await call.code() == grpc.StatusCode.NOT_FOUND


def test_many_violations_fit_into_an_answer(start_gateway: Start) -> None:
    violations = [
        error_details_pb2.BadRequest.FieldViolation(field=f"lines[{number}].quantity", description="x" * 100)
        for number in range(250)
    ]
    bad = error_details_pb2.BadRequest(field_violations=violations)
    error = refused(start_gateway, Refusal(grpc.StatusCode.INVALID_ARGUMENT, (bad,)))
    assert len(error.field_violations) == 250


def test_a_future_raises_the_same(start_gateway: Start) -> None:
    gateway = start_gateway(Refusal(grpc.StatusCode.NOT_FOUND, (error_info("ORDER_NOT_FOUND"),)))
    with openorder.connect(gateway.address) as client:
        future: Any = client.orders.GetOrder.future(GetOrderRequest())
        with pytest.raises(errors.OrderNotFound):
            future.result()


def test_there_is_a_class_for_each_code() -> None:
    assert errors.BY_CODE.keys() == set(grpc.StatusCode) - {grpc.StatusCode.OK}


def test_the_known_reasons_are_those_of_the_contract() -> None:
    named = set()
    for proto in (ROOT / "proto/openorder").rglob("*.proto"):
        if "internal" in proto.parts:
            continue
        for comment in re.findall(r"(?:^ *//.*\n)+", proto.read_text(), re.MULTILINE):
            text = re.sub(r"\n? *// ?", " ", comment)
            for sentence in re.findall(r"[Rr]easons?\b(?: \([A-Z_]+\))?:? ([A-Z][A-Z_]+_.*?)(?:\. |\.?$|$)", text):
                named |= set(re.findall(r"[A-Z]+(?:_[A-Z]+)+", sentence))
    calling = (ROOT / "docs/calling.md").read_text()
    named |= set(re.findall(r"`[A-Z_]+`, `([A-Z_]+)`", calling)) | set(re.findall(r"\(`([A-Z_]+)` where", calling))
    codes = {code.name for code in grpc.StatusCode}
    # The step of a saga, and why orders end (`status_reason`): no reasons of a refusal.
    others = {"COMPENSATION_FAILED", "PAYMENT_DEADLINE_EXCEEDED", "CANCELLED_BY_CUSTOMER"}
    assert errors.BY_REASON.keys() == named - codes - others
