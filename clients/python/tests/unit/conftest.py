from collections.abc import Iterator

import pytest

from tests.unit.gateway import Start, gateways


@pytest.fixture
def start_gateway() -> Iterator[Start]:
    with gateways() as start:
        yield start
