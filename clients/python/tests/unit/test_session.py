"""Signing in: both clients, against a gRPC server in this process."""

import asyncio
import inspect
import math
import pickle
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import grpc
import pytest

import openorder
from openorder import RetryPolicy, errors
from openorder._session import _PAUSE_SECONDS, Refresh, Tokens
from openorder.order.v1.order_service_pb2 import GetOrderRequest
from openorder.user.v1.user_pb2 import Session
from tests.unit.gateway import Refusal
from tests.unit.shop import PASSWORD, Shop, no, shops

FAST = RetryPolicy(max_attempts=4, initial_backoff_seconds=0.001, max_backoff_seconds=0.005)


@pytest.fixture
def shop() -> Iterator[Shop]:
    with shops() as shop:
        yield shop


class Caller:
    """Either client, as if it were the synchronous one: one event loop in a thread of its own."""

    def __init__(self, shop: Shop, is_async: bool, **options: Any) -> None:
        self._loop = asyncio.new_event_loop() if is_async else None
        options = {"retry": FAST, "deadline_seconds": 5.0, **options}
        if self._loop is None:
            self.client: Any = openorder.connect(shop.address, **options)
            return
        self._thread = threading.Thread(target=self._loop.run_forever)
        self._thread.start()

        async def connect() -> Any:
            return openorder.aio.connect(shop.address, **options)

        self.client = self.wait(connect())

    def wait(self, work: Any) -> Any:
        if self._loop is None or not inspect.isawaitable(work):
            return work

        async def run() -> Any:
            return await work

        return asyncio.run_coroutine_threadsafe(run(), self._loop).result(30)

    def do(self, method: str, *arguments: Any, **options: Any) -> Any:
        """Calls a method of the client. A call of grpc.aio is begun in its loop."""
        if self._loop is None:
            return getattr(self.client, method)(*arguments, **options)

        async def run() -> Any:
            return await getattr(self.client, method)(*arguments, **options)

        return self.wait(run())

    def sent(self, timeout: float | None = None) -> str:
        """The token that a call is made with."""
        if self._loop is None:
            return str(self.client.orders.GetOrder(GetOrderRequest(), timeout=timeout).order.order_id)

        async def run() -> Any:
            return await self.client.orders.GetOrder(GetOrderRequest(), timeout=timeout)

        return str(self.wait(run()).order.order_id)

    def watch(self, until: Callable[[str], bool]) -> None:
        """Watches an order until it says so of the token that a stream was begun with."""
        if self._loop is None:
            for order in self.client.watch_order("1", timeout_seconds=20):
                if until(order.order_id):
                    return
            return

        async def run() -> None:
            async for order in self.client.watch_order("1", timeout_seconds=20):
                if until(order.order_id):
                    return

        self.wait(run())

    def close(self) -> None:
        self.do("close")
        if self._loop is not None:
            self._loop.call_soon_threadsafe(self._loop.stop)
            self._thread.join()
            self._loop.run_until_complete(self._loop.shutdown_asyncgens())
            self._loop.close()


Open = Callable[..., Caller]


@pytest.fixture(params=[False, True], ids=["sync", "aio"])
def open_client(request: pytest.FixtureRequest, shop: Shop) -> Iterator[Open]:
    callers = []

    def start(is_signed_in: bool = True, **options: Any) -> Caller:
        caller = Caller(shop, request.param, **options)
        callers.append(caller)
        if is_signed_in:
            assert caller.do("sign_in", "ada@example.com", PASSWORD).user_id == "ada"
        return caller

    yield start
    for caller in callers:
        caller.close()


def together(call: Callable[[], Any], count: int = 20) -> list[Any]:
    with ThreadPoolExecutor(count) as callers:
        return [future.result(30) for future in [callers.submit(call) for _ in range(count)]]


def held(shop: Shop) -> threading.Event:
    """A refresh that waits until it is let go."""
    release = threading.Event()

    def wait(_: int) -> None:
        release.wait(20)

    shop.on_refresh = wait
    return release


def test_calls_are_made_as_who_signed_in_until_they_sign_out(shop: Shop, open_client: Open) -> None:
    caller = open_client(False)
    assert caller.sent() == ""
    with pytest.raises(errors.CredentialsRefused) as raised:
        caller.do("sign_in", "ada@example.com", "a guess")
    assert not isinstance(raised.value, errors.SessionEnded)
    assert caller.sent() == ""
    caller.do("sign_in", "ada@example.com", PASSWORD)
    assert caller.sent() == "Bearer access-1"
    caller.do("sign_out")
    caller.do("sign_out")
    assert caller.sent() == ""
    assert shop.sign_outs == ["refresh-1"], "once, and without the token"
    assert shop.refreshes == []


def test_a_token_is_renewed_within_the_last_quarter_of_its_life(monkeypatch: pytest.MonkeyPatch) -> None:
    now = 1_000.0
    monkeypatch.setattr("openorder._session.time.monotonic", lambda: now)
    for part in (0.75, 0.9):
        monkeypatch.setattr("openorder._session.random.uniform", lambda low, high, part=part: part)
        tokens = Tokens()
        begun: list[str] = []
        session = Session(access_token="a", refresh_token="r")
        session.access_token_expire_time.FromNanoseconds(int((time.time() + 100) * 1e9))
        now = 1_000.0
        tokens.begin(session)

        def refresh(token: str, begun: list[str] = begun) -> Refresh:
            begun.append(token)
            return Refresh(threading.Event())

        now = 1_000.0 + part * 100 - 0.5
        assert tokens.ask(refresh) == "a"
        assert begun == []
        now = 1_000.0 + part * 100 + 0.5
        for _ in range(3):
            assert tokens.ask(refresh) == "a", "calls go on with the old one"
        assert begun == ["r"]
        now = 1_101.0
        assert isinstance(tokens.ask(refresh), Refresh), "and wait when it has ended"
        assert begun == ["r"]


def test_where_the_clocks_differ_a_token_is_good_until_it_is_refused(shop: Shop, open_client: Open) -> None:
    shop.life_seconds = -60
    caller = open_client()
    assert [caller.sent() for _ in range(3)] == ["Bearer access-1"] * 3
    assert shop.refreshes == []
    tokens = Tokens()
    tokens.begin(Session(access_token="a"))
    assert tokens._renew_at == math.inf


def test_a_token_that_has_ended_is_renewed_once_for_all_calls(shop: Shop, open_client: Open) -> None:
    shop.life_seconds = 0.2
    caller = open_client()
    shop.life_seconds = 60
    release = held(shop)
    time.sleep(0.3)
    threading.Timer(0.2, release.set).start()
    assert together(caller.sent) == ["Bearer access-2"] * 20
    assert shop.refreshes == ["refresh-1"], "without an access token"


@pytest.mark.parametrize("reason", ["TOKEN_EXPIRED", "TOKEN_REVOKED"])
def test_a_call_that_is_refused_for_its_token_is_sent_once_more(shop: Shop, open_client: Open, reason: str) -> None:
    caller = open_client()
    shop.refuse(reason)
    assert together(caller.sent) == ["Bearer access-2"] * 20
    assert shop.refreshes == ["refresh-1"]


def test_it_is_not_sent_a_third_time(shop: Shop, open_client: Open) -> None:
    caller = open_client()
    shop.refuse("TOKEN_EXPIRED", 99)
    with pytest.raises(errors.TokenExpired) as raised:
        caller.sent()
    assert not isinstance(raised.value, errors.SessionEnded)
    assert shop.orders == ["Bearer access-1", "Bearer access-2"]


@pytest.mark.parametrize(
    ("call", "refresh", "reason"),
    [
        ("TOKEN_REVOKED", "REFRESH_TOKEN_REFUSED", errors.TokenRevoked),
        ("TOKEN_EXPIRED", "REFRESH_TOKEN_REFUSED", errors.RefreshTokenRefused),
        ("TOKEN_EXPIRED", "REFRESH_TOKEN_REUSED", errors.RefreshTokenReused),
    ],
)
def test_a_session_that_has_ended_fails_all_calls(
    shop: Shop, open_client: Open, call: str, refresh: str, reason: type[errors.OpenOrderError]
) -> None:
    caller = open_client()
    shop.on_refresh = lambda attempt: no(refresh)
    shop.refuse(call)
    for _ in range(3):
        for attempt in (caller.sent, lambda: caller.watch(lambda token: True)):
            with pytest.raises(errors.SessionEnded) as raised:
                attempt()
            assert isinstance(raised.value, reason)
            assert isinstance(raised.value, errors.Unauthenticated)
    again = pickle.loads(pickle.dumps(raised.value))
    assert isinstance(again, errors.SessionEnded)
    assert isinstance(again, reason)
    assert len(shop.orders) == 1
    assert len(shop.refreshes) == 1
    shop.on_refresh = lambda attempt: None
    caller.do("sign_in", "ada@example.com", PASSWORD)
    assert caller.sent() == "Bearer access-2"


def test_a_refresh_that_fails_ends_nothing(shop: Shop, open_client: Open) -> None:
    caller = open_client()
    attempts = FAST.max_attempts
    shop.on_refresh = lambda attempt: Refusal(grpc.StatusCode.UNAVAILABLE) if attempt <= attempts else None
    shop.refuse("TOKEN_EXPIRED")
    for _ in range(5):
        with pytest.raises(errors.Unavailable) as raised:
            caller.sent()
        assert not isinstance(raised.value, errors.SessionEnded)
    assert len(shop.refreshes) == attempts, "it is not begun again at once"
    time.sleep(_PAUSE_SECONDS + 0.05)
    assert caller.sent() == "Bearer access-2"
    assert set(shop.refreshes) == {"refresh-1"}


def test_a_call_waits_for_a_token_until_its_deadline(shop: Shop, open_client: Open) -> None:
    caller = open_client()
    release = held(shop)
    shop.refuse("TOKEN_EXPIRED")
    began = time.monotonic()
    with pytest.raises(errors.DeadlineExceeded):
        caller.sent(0.3)
    assert 0.29 <= time.monotonic() - began < 1.5
    release.set()
    assert caller.sent() == "Bearer access-2", "the refresh went on"
    assert shop.refreshes == ["refresh-1"]


def test_a_watch_outlives_its_token(shop: Shop, open_client: Open) -> None:
    caller = open_client()
    tokens: list[str] = []

    def until(token: str) -> bool:
        tokens.append(token)
        if len(tokens) == 2:
            shop.refuse("TOKEN_REVOKED", 1)
        return token == "Bearer access-2"

    caller.watch(until)
    assert list(dict.fromkeys(tokens)) == ["Bearer access-1", "Bearer access-2"]
    assert shop.refreshes == ["refresh-1"]


def test_who_signs_out_while_a_token_is_renewed_is_signed_out(shop: Shop, open_client: Open) -> None:
    caller = open_client()
    release = held(shop)
    shop.refuse("TOKEN_EXPIRED")
    with ThreadPoolExecutor(1) as other:
        call = other.submit(caller.sent)
        until = time.monotonic() + 10
        while not shop.refreshes and time.monotonic() < until:
            time.sleep(0.001)
        caller.do("sign_out")
        release.set()
        with pytest.raises(errors.Unauthenticated) as raised:
            call.result(10)
    assert not isinstance(raised.value, errors.SessionEnded)
    assert caller.sent() == ""


def test_an_api_key_is_sent(shop: Shop, open_client: Open, monkeypatch: pytest.MonkeyPatch) -> None:
    caller = open_client(False, credential="oo_id_secret")
    assert caller.sent() == "Bearer oo_id_secret"
    with pytest.raises(ValueError, match="needs no session"):
        caller.do("sign_in", "ada@example.com", PASSWORD)
    other = open_client(False, credential=openorder.environment_token)
    monkeypatch.delenv("OPENORDER_TOKEN", raising=False)
    assert other.sent() == ""
    monkeypatch.setenv("OPENORDER_TOKEN", "oo_id_secret\n")
    assert other.sent() == "Bearer oo_id_secret"


def test_a_token_that_was_given_is_not_renewed(shop: Shop, open_client: Open) -> None:
    caller = open_client(False, credential="access-0")
    shop.refuse("TOKEN_EXPIRED")
    with pytest.raises(errors.TokenExpired):
        caller.sent()
    assert len(shop.orders) + len(shop.refreshes) == 1


def test_what_a_function_gives_that_is_no_token_is_not_shown(shop: Shop, open_client: Open) -> None:
    caller = open_client(False, credential=lambda: "secret\n")
    with pytest.raises(ValueError, match="no token") as raised:
        caller.sent()
    assert "secret" not in str(raised.value)
    assert shop.orders == []


def test_a_password_is_not_sent_in_plaintext_to_another_machine() -> None:
    with openorder.connect("gateway.example.com:8080") as client, pytest.raises(ValueError, match="TLS") as raised:
        client.sign_in("ada@example.com", PASSWORD)
    assert PASSWORD not in str(raised.value)
    options: dict[str, Any] = {"insecure_credentials": True, "retry": RetryPolicy(max_attempts=1)}
    with openorder.connect("192.0.2.1:8080", **options) as client, pytest.raises(errors.OpenOrderError):
        client.sign_in("ada@example.com", PASSWORD, timeout=0.01)


def test_tokens_stand_in_no_text(shop: Shop, open_client: Open) -> None:
    caller = open_client()
    caller.sent()
    state = vars(caller.client)["_caller"]
    texts = [repr(caller.client), repr(vars(caller.client)), repr(state), repr(state.tokens)]
    shop.on_refresh = lambda attempt: no("REFRESH_TOKEN_REUSED")
    shop.refuse("TOKEN_EXPIRED")
    with pytest.raises(errors.SessionEnded) as raised:
        caller.sent()
    error = raised.value
    texts += [repr(error), str(error), str(error.debug_error_string()), repr(vars(error)), repr(error.__reduce__())]
    for text in texts:
        assert not any(secret in text for secret in ("access-", "refresh-", PASSWORD)), text
