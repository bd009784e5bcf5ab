"""What protobuf's own JSON makes of messages, for the gateway's tests (dev/json-roundtrip).

A line in, a line out: the name of a message, its bytes in hexadecimal digits and JSON of it, with tabs between. The
answer is JSON: `message`, the bytes that the JSON is read as, and `json`, the message itself; or `error`.
"""

import importlib
import json
import pkgutil
import sys

from google.protobuf import descriptor_pool, json_format, message_factory
from google.protobuf.message import DecodeError

import openorder

# What messages of the contract, and refusals, are made of.
GOOGLE = [
    "google.rpc.status_pb2",
    "google.rpc.error_details_pb2",
    "google.type.money_pb2",
    "google.type.postal_address_pb2",
]


def load() -> None:
    """Makes all messages of the contract known."""
    modules = [module.name for module in pkgutil.walk_packages(openorder.__path__, "openorder.")]
    for name in [*GOOGLE, *(name for name in modules if name.endswith("_pb2"))]:
        importlib.import_module(name)


def answer(line: str) -> dict[str, str]:
    name, digits, text = line.rstrip("\n").split("\t", 2)
    try:
        kind = message_factory.GetMessageClass(descriptor_pool.Default().FindMessageTypeByName(name))
        read = json_format.Parse(text, kind())
        told = kind.FromString(bytes.fromhex(digits))
        return {
            "message": read.SerializeToString(deterministic=True).hex(),
            "json": json_format.MessageToJson(told, indent=None),
        }
    except (KeyError, ValueError, json_format.Error, DecodeError) as error:
        return {"error": f"{type(error).__name__}: {error}"}


def main() -> None:
    load()
    for line in sys.stdin.buffer:
        print(json.dumps(answer(line.decode())), flush=True)


if __name__ == "__main__":
    main()
