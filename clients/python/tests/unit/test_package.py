"""The package as it is installed, and what it says of itself."""

import re
import subprocess
import sys
import zipfile
from pathlib import Path

import openorder
from openorder._policy import _NOT_AN_INTENT

PACKAGE = Path(__file__).parents[2]
PROTOS = PACKAGE.parents[1] / "proto/openorder"


def test_the_wheel_is_whole(tmp_path: Path) -> None:
    build = [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(tmp_path)]
    subprocess.run(build, cwd=PACKAGE, check=True, capture_output=True)
    (wheel,) = tmp_path.glob("*.whl")
    assert wheel.name == f"openorder-{openorder.__version__}-py3-none-any.whl"
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(tmp_path / "installed")
        packed = {name for name in archive.namelist() if name.startswith("openorder/")}
    source = PACKAGE / "src"
    files = {str(path.relative_to(source)) for path in (source / "openorder").rglob("*") if path.is_file()}
    assert packed == {name for name in files if "__pycache__" not in name}
    assert {"openorder/py.typed", "openorder/order/v1/order_service_pb2_grpc.pyi"} <= packed
    everything = "import openorder.events, sys; sys.exit(not openorder.__file__.startswith(sys.argv[1]))"
    installed = str(tmp_path / "installed")
    subprocess.run([sys.executable, "-c", everything, installed], env={"PYTHONPATH": installed}, check=True)


def test_without_kafka_and_opentelemetry_all_but_events_is_there() -> None:
    block = "import sys; sys.modules.update(dict.fromkeys(('confluent_kafka', 'opentelemetry'))); import openorder"
    environment = {"PYTHONPATH": str(PACKAGE / "src")}
    subprocess.run([sys.executable, "-c", block], env=environment, check=True)
    events = [sys.executable, "-c", f"{block}, openorder.events"]
    assert subprocess.run(events, env=environment, check=False, capture_output=True).returncode != 0


def test_request_ids_are_made_up_only_where_the_caller_chooses_them() -> None:
    named = re.compile(r"^message (\w+) \{\n((?:  .*\n|\n)*?)  string request_id = ", re.MULTILINE)
    others = set()
    for proto in (path for path in PROTOS.rglob("*_service.proto") if "internal" not in path.parts):
        for message, before in named.findall(proto.read_text()):
            comment = re.findall(r"(?:  //.*\n)+\Z", before)[0]
            if message.endswith("Request") and "Chosen by the caller" not in comment:
                others.add(message)
    assert others == {message.DESCRIPTOR.name for message in _NOT_AN_INTENT}


def test_the_lower_bounds_are_those_of_the_generated_code() -> None:
    messages = (PACKAGE / "src/openorder/order/v1/order_pb2.py").read_text()
    stubs = (PACKAGE / "src/openorder/order/v1/order_service_pb2_grpc.py").read_text()
    (protobuf,) = re.findall(r"# Protobuf Python Version: ([\d.]+)", messages)
    (grpcio,) = re.findall(r"GRPC_GENERATED_VERSION = '([\d.]+)'", stubs)
    bounds = (PACKAGE / "pyproject.toml").read_text()
    # protobuf promises that code runs with the major version after its own as well.
    assert f'"protobuf>={protobuf},<{int(protobuf.split(".")[0]) + 2}"' in bounds
    assert f'"grpcio>={grpcio},<2"' in bounds


def test_the_readme_names_the_version_of_python() -> None:
    readme = (PACKAGE / "README.md").read_text()
    (lowest,) = re.findall(r'requires-python = ">=([\d.]+)"', (PACKAGE / "pyproject.toml").read_text())
    assert f"Python {lowest}" in readme
