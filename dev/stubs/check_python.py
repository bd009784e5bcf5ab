"""Imports every generated module below a folder, and reads from the events what a consumer needs to know of them."""
import importlib
import pathlib
import sys

root = pathlib.Path(sys.argv[1])
modules = {}
for path in sorted(root.rglob("*.py")):
    name = ".".join(path.relative_to(root).with_suffix("").parts)
    modules[name] = importlib.import_module(name)

event = modules["openorder.event.v1.options_pb2"].event
types = {}
for name, module in modules.items():
    if not name.endswith("_events_pb2"):
        continue
    for message in module.DESCRIPTOR.message_types_by_name.values():
        option = message.GetOptions().Extensions[event]
        if not option.type or option.topic != option.type.rpartition(".")[0] + ".v1":
            sys.exit(f"{message.full_name}: type {option.type!r}, topic {option.topic!r}")
        if types.setdefault(option.type, message) is not message:
            sys.exit(f"{message.full_name}: {option.type} is the type of another message too")
if types["order.lifecycle.created"].full_name != "openorder.order.v1.OrderCreated":
    sys.exit("the option of OrderCreated is not read")
