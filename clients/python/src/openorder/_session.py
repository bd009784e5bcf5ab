"""Who calls: tokens that are given, and the session of a client that signed in. Everything but waiting."""

import contextlib
import contextvars
import math
import os
import random
import re
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any

import grpc

from openorder import errors
from openorder.user.v1.user_pb2 import Session

REFRESH_SECONDS = 10.0
"""How long a refresh may take, all its attempts together. It belongs to no call: one that leaves does not take the
answer along that the session goes on with."""
_PAUSE_SECONDS = 1.0
"""After a refresh that failed and may succeed later, no other is begun for so long."""
_RENEW_AT = (0.75, 0.9)
"""An access token is renewed when such a part of its life is over: at random in between, so that clients that signed in
together do not come back together."""
_SIGN_IN = frozenset(f"/openorder.user.v1.UserService/{name}" for name in ("Authenticate", "RefreshToken"))
_STALE = ("TOKEN_EXPIRED", "TOKEN_REVOKED")
# RFC 6750 and API keys: visible ASCII characters. An error of grpc about others would show them.
_TOKEN = re.compile(r"[\x21-\x7e]+")

_bare: contextvars.ContextVar[bool] = contextvars.ContextVar("openorder_without_token", default=False)


@contextlib.contextmanager
def without_token() -> Iterator[None]:
    """Calls that are begun here are made without a token."""
    before = _bare.set(True)
    try:
        yield
    finally:
        _bare.reset(before)


def needs_token(method: str | bytes) -> bool:
    """Whether a call is made with the client's token: all but those by which one is got."""
    name = method.decode() if isinstance(method, bytes) else method
    return name not in _SIGN_IN and not _bare.get()


def environment_token() -> str:
    """A credential: what the environment variable OPENORDER_TOKEN holds, such as an API key; nothing without it."""
    return os.environ.get("OPENORDER_TOKEN", "").strip()


def checked(token: str) -> str:
    """The token, if it is one or empty. Raises `ValueError`, without showing it."""
    if token and not _TOKEN.fullmatch(token):
        raise ValueError("what was given as a credential is no token")
    return token


def with_token(metadata: Any, token: str) -> tuple[tuple[str, str | bytes], ...]:
    pairs = tuple(metadata or ())
    return (*pairs, ("authorization", f"Bearer {token}")) if token else pairs


def failed(code: grpc.StatusCode, details: str) -> errors.OpenOrderError:
    """An error of the client's own."""
    return errors.from_status(code, details)


class Refresh:
    """A refresh that is under way. `done` is what the client waits with."""

    def __init__(self, done: Any) -> None:
        self.done = done
        self.access = ""
        self.failure: errors.OpenOrderError | None = None

    def result(self) -> str:
        """The new access token. When it is done."""
        if self.failure is not None:
            raise self.failure._again()
        return self.access


class Tokens:
    """The tokens of a client's session, which nobody else sees. For threads."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._clear()

    def _clear(self) -> None:
        self._access = self._refresh = ""
        # By the monotonic clock. Infinite where the clocks differ by more than it lives: it is good until refused.
        self._renew_at = self._end_at = math.inf
        self._paused_until = -math.inf
        self._refused: errors.OpenOrderError | None = None
        self._failure: errors.OpenOrderError | None = None
        self._ended: errors.SessionEnded | None = None
        self._under_way: Refresh | None = None

    def begin(self, session: Session) -> None:
        with self._lock:
            self._clear()
            self._take(session)

    def forget(self) -> str:
        """Forgets everything, and returns the refresh token; empty without a session."""
        with self._lock:
            token = self._refresh
            self._clear()
            return token

    def ask(self, refresh: Callable[[str], Refresh]) -> str | Refresh:
        """The access token to send, empty without a session; or the refresh to wait for.

        refresh: begins one with this refresh token, and does not wait for it. Raises why there is no token.
        """
        with self._lock:
            if self._ended is not None:
                raise self._ended._again()
            now = time.monotonic()
            is_good = self._refused is None and now < self._end_at
            if not self._access or (is_good and now < self._renew_at):
                return self._access
            if self._under_way is None and now < self._paused_until:
                if is_good:
                    return self._access
                assert self._failure is not None
                raise self._failure._again()
            if self._under_way is None:
                self._under_way = refresh(self._refresh)
            return self._access if is_good else self._under_way

    def is_stale(self, token: str, error: errors.OpenOrderError) -> bool:
        """Whether a call that was refused so is to be made again: the next token is a new one, or there is none."""
        if not token or error.domain != "openorder" or error.reason not in _STALE:
            return False
        with self._lock:
            if token == self._access:
                self._refused = error
            return bool(self._access) or self._ended is not None

    def renewed(self, refresh: Refresh, session: Session) -> None:
        """What became of a refresh: a new session."""
        if not session.access_token:
            self.not_renewed(refresh, failed(grpc.StatusCode.INTERNAL, "the session came without an access token"))
            return
        with self._lock:
            if self._is_over(refresh):
                return
            self._take(session)
            refresh.access = self._access

    def not_renewed(self, refresh: Refresh, error: errors.OpenOrderError) -> None:
        """What became of a refresh: it failed."""
        with self._lock:
            if self._is_over(refresh):
                return
            if error.code() == grpc.StatusCode.UNAUTHENTICATED:
                # What the call was refused by says more than that the refresh was, too.
                revoked = self._refused is not None and self._refused.reason == "TOKEN_REVOKED"
                ended = errors.session_ended(self._refused if self._refused is not None and revoked else error)
                self._clear()
                self._ended = refresh.failure = ended
                return
            if error.code() in (grpc.StatusCode.DEADLINE_EXCEEDED, grpc.StatusCode.CANCELLED):
                # It was the refresh that had no time left, and not the call.
                error = failed(grpc.StatusCode.UNAVAILABLE, "the access token could not be renewed in time")
            self._under_way = None
            self._failure = refresh.failure = error
            self._paused_until = time.monotonic() + _PAUSE_SECONDS

    def _is_over(self, refresh: Refresh) -> bool:
        if self._under_way is refresh:
            return False
        refresh.failure = failed(grpc.StatusCode.UNAUTHENTICATED, "the client signed in or out meanwhile")
        return True

    def _take(self, session: Session) -> None:
        self._clear()
        self._access, self._refresh = session.access_token, session.refresh_token
        ends = session.access_token_expire_time
        life = ends.seconds + ends.nanos / 1e9 - time.time()
        if life > 0:
            now = time.monotonic()
            self._renew_at, self._end_at = now + life * random.uniform(*_RENEW_AT), now + life
