"""TLS and credentials."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import grpc
import pytest
import trustme

import openorder
from openorder import TLS, RetryPolicy, errors
from openorder.order.v1.order_service_pb2 import CreateOrderRequest, GetOrderRequest, WatchOrderResponse
from tests.unit.gateway import Refusal, Start, order_made

ONCE = RetryPolicy(max_attempts=1)


@dataclass
class Keys:
    ca: bytes
    server: grpc.ServerCredentials
    client_certificate: bytes
    client_key: bytes


def make_keys(require_client: bool = False) -> Keys:
    ca = trustme.CA()
    server, client = ca.issue_cert("127.0.0.1"), ca.issue_cert("client@example.com")
    pair = server.private_key_pem.bytes(), b"".join(blob.bytes() for blob in server.cert_chain_pems)
    root = ca.cert_pem.bytes()
    credentials = grpc.ssl_server_credentials([pair], root if require_client else None, require_client)
    chain = b"".join(blob.bytes() for blob in client.cert_chain_pems)
    return Keys(root, credentials, chain, client.private_key_pem.bytes())


def test_a_token_goes_over_tls(start_gateway: Start) -> None:
    keys = make_keys()
    gateway = start_gateway(order_made("7"), credentials=keys.server)
    with openorder.connect(gateway.address, tls=TLS(ca_certificates=keys.ca), credential="secret") as client:
        assert client.orders.CreateOrder(CreateOrderRequest()).order.order_id == "7"
    assert gateway.asked[0].metadata["authorization"] == "Bearer secret"


async def test_a_token_goes_over_tls_with_asyncio(start_gateway: Start) -> None:
    keys = make_keys()
    gateway = start_gateway(order_made("7"), [WatchOrderResponse()], credentials=keys.server)

    async def token() -> str:
        return "secret"

    async with openorder.aio.connect(gateway.address, tls=TLS(ca_certificates=keys.ca), credential=token) as client:
        assert (await client.orders.CreateOrder(CreateOrderRequest())).order.order_id == "7"
        assert [order async for order in client.watch_order("7")] == []
    assert [asked.metadata["authorization"] for asked in gateway.asked] == ["Bearer secret"] * 2


def test_an_authority_that_is_not_known_is_refused(start_gateway: Start) -> None:
    gateway = start_gateway(order_made(), credentials=make_keys().server)
    other = make_keys().ca
    with (
        openorder.connect(gateway.address, tls=TLS(ca_certificates=other), credential="secret", retry=ONCE) as client,
        pytest.raises(errors.Unavailable),
    ):
        client.orders.CreateOrder(CreateOrderRequest())
    assert gateway.asked == []


def test_a_certificate_of_ones_own(start_gateway: Start) -> None:
    keys = make_keys(require_client=True)
    gateway = start_gateway(order_made("7"), credentials=keys.server)
    with (
        openorder.connect(gateway.address, tls=TLS(ca_certificates=keys.ca), retry=ONCE) as client,
        pytest.raises(errors.Unavailable),
    ):
        client.orders.CreateOrder(CreateOrderRequest())
    tls = TLS(keys.ca, keys.client_certificate, keys.client_key)
    with openorder.connect(gateway.address, tls=tls) as client:
        assert client.orders.CreateOrder(CreateOrderRequest()).order.order_id == "7"


def test_a_function_gives_a_token_for_each_attempt(start_gateway: Start) -> None:
    gateway = start_gateway(Refusal(grpc.StatusCode.UNAVAILABLE), order_made(), [WatchOrderResponse()])
    tokens = iter("abc")
    with openorder.connect(gateway.address, credential=lambda: next(tokens)) as client:
        client.orders.CreateOrder(CreateOrderRequest())
        assert list(client.watch_order("7")) == []
    assert [asked.metadata["authorization"] for asked in gateway.asked] == ["Bearer a", "Bearer b", "Bearer c"]


def test_what_the_function_raises_is_raised(start_gateway: Start) -> None:
    def token() -> str:
        raise LookupError("no token")

    gateway = start_gateway(order_made())
    with openorder.connect(gateway.address, credential=token) as client, pytest.raises(LookupError):
        client.orders.GetOrder(GetOrderRequest())
    assert gateway.asked == []


@pytest.mark.parametrize("connect", [openorder.connect, openorder.aio.connect], ids=["sync", "aio"])
@pytest.mark.parametrize(
    "address",
    [
        "gateway.example.com:8080",
        "10.0.0.1:8080",
        "0.0.0.0:8080",
        "[2001:db8::1]:8080",
        "127.0.0.1.example.com:8080",
        "localhost.example.com:8080",
        "dns:///gateway.example.com:8080",
        "dns://127.0.0.1/gateway.example.com:8080",
        "ipv4:127.0.0.1:8080,10.0.0.1:8080",
        "",
    ],
)
def test_a_token_is_not_sent_in_plaintext_to_another_machine(connect: Callable[..., Any], address: str) -> None:
    with pytest.raises(ValueError, match="without TLS"):
        connect(address, credential="secret")


@pytest.mark.parametrize(
    "address",
    ["127.0.0.1:8080", "127.1.2.3:8080", "localhost:8080", "[::1]:8080", "dns:///localhost:8080", "unix:/run/x.sock"],
)
def test_a_token_is_sent_in_plaintext_to_this_machine(address: str) -> None:
    openorder.connect(address, credential="secret").close()


def test_a_token_does_not_go_to_a_proxy(start_gateway: Start, monkeypatch: pytest.MonkeyPatch) -> None:
    gateway = start_gateway(order_made("7"))
    monkeypatch.setenv("http_proxy", "http://127.0.0.1:1")
    asked_for = [("grpc.enable_http_proxy", 1)]
    with (
        openorder.connect(gateway.address, retry=ONCE, channel_options=asked_for) as client,
        pytest.raises(errors.Unavailable),
    ):
        client.orders.CreateOrder(CreateOrderRequest())
    with openorder.connect(gateway.address, credential="secret", retry=ONCE) as client:
        assert client.orders.CreateOrder(CreateOrderRequest()).order.order_id == "7"


@pytest.mark.parametrize("connect", [openorder.connect, openorder.aio.connect], ids=["sync", "aio"])
def test_a_key_stands_in_no_text(connect: Callable[..., Any]) -> None:
    assert "secret" not in repr(TLS(b"ca", b"chain", b"secret"))
    for token in ("", "secret\n", "a secret", "sécret"):
        with pytest.raises(ValueError, match="credential") as raised:
            connect("127.0.0.1:1", credential=token)
        assert "cret" not in str(raised.value)


def test_a_token_is_sent_in_plaintext_to_others_where_that_is_said() -> None:
    openorder.connect("gateway.example.com:8080", credential="t", insecure_credentials=True).close()
