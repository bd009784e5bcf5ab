import json

from google.protobuf.json_format import MessageToJson, Parse

from openorder import money
from openorder.order.v1.order_pb2 import Order


def test_64_bit_numbers_survive_json() -> None:
    order = Order(version=2**53 + 1, total=money.from_minor(2**63 - 1, "JPY"))
    text = MessageToJson(order)
    # As text: a JSON number would lose its last digits in most readers.
    assert json.loads(text)["version"] == "9007199254740993"
    assert json.loads(text)["total"]["units"] == "9223372036854775807"
    assert Parse(text, Order()) == order
