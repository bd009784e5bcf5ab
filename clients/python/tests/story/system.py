"""The system that the story is told to: what STORY_* names."""

import os
import subprocess
from dataclasses import dataclass, field

import pytest


@dataclass(frozen=True)
class Program:
    """Who calls with an API key."""

    user_id: str
    key: str = field(repr=False)


def variable(name: str) -> str:
    """One of STORY_*."""
    try:
        return os.environ[name]
    except KeyError:
        raise pytest.UsageError(f"{name} is not set: dev/story python") from None


def gateway_control(what: str) -> None:
    """kill (it comes back a second later), freeze or thaw."""
    subprocess.run([variable("STORY_CONTROL"), "gateway", what], check=True, timeout=30)
