"""The system that the story is told to: what STORY_* names."""

import os
import subprocess

import pytest


def variable(name: str) -> str:
    """One of STORY_*."""
    try:
        return os.environ[name]
    except KeyError:
        raise pytest.UsageError(f"{name} is not set: dev/story python") from None


def gateway_control(what: str) -> None:
    """kill (it comes back a second later), freeze or thaw."""
    subprocess.run([variable("STORY_CONTROL"), "gateway", what], check=True, timeout=30)
