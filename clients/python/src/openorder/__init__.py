"""OpenOrder's client: `connect` to the gateway, `openorder.aio.connect` for asyncio, `openorder.events` for its events.

The messages of the contract are in `openorder.<context>.v1`, as protoc generates them.
"""

from openorder import aio, errors, money
from openorder._client import TLS, Client, connect
from openorder._pages import items, pages
from openorder._policy import RetryPolicy
from openorder._session import environment_token
from openorder._version import __version__
from openorder.errors import OpenOrderError

__all__ = [
    "TLS",
    "Client",
    "OpenOrderError",
    "RetryPolicy",
    "__version__",
    "aio",
    "connect",
    "environment_token",
    "errors",
    "items",
    "money",
    "pages",
]
