"""What each test of the story is given."""

import json
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import openorder
from tests.story.system import variable

_STORY = Path(__file__).parents[3] / "story.json"


@pytest.fixture(scope="module")
def story() -> dict[str, Any]:
    """clients/story.json, with a word of this run in the place of {run}."""
    story: dict[str, Any] = json.loads(_STORY.read_text().replace("{run}", f"python-{time.time_ns()}"))
    return story


@pytest.fixture(scope="module")
def gateway() -> str:
    return variable("STORY_GATEWAY")


@pytest.fixture(scope="module")
def client(gateway: str) -> Iterator[openorder.Client]:
    with openorder.connect(gateway) as client:
        yield client
