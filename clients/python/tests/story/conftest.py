"""What each test of the story is given."""

import json
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import openorder
from openorder.user.v1.user_pb2 import UserRole
from openorder.user.v1.user_service_pb2 import AuthenticateRequest, CreateApiKeyRequest, RegisterUserRequest
from tests.story.system import Program, variable

_STORY = Path(__file__).parents[3] / "story.json"


@pytest.fixture(scope="module")
def story() -> dict[str, Any]:
    """clients/story.json, with a word of this run in the place of {run}."""
    story: dict[str, Any] = json.loads(_STORY.read_text().replace("{run}", f"python-{time.time_ns()}"))
    return story


@pytest.fixture(scope="session")
def gateway() -> str:
    return variable("STORY_GATEWAY")


@pytest.fixture(scope="session")
def operator() -> tuple[str, str]:
    """Whose story it is: mail address and password."""
    return variable("STORY_OPERATOR_EMAIL"), variable("STORY_OPERATOR_PASSWORD")


@pytest.fixture(scope="module")
def client(gateway: str, operator: tuple[str, str]) -> Iterator[openorder.Client]:
    with openorder.connect(gateway) as client:
        client.sign_in(*operator)
        yield client


@pytest.fixture(scope="module")
def program(client: openorder.Client, story: dict[str, Any]) -> Program:
    """A program that acts for customers, with an API key."""
    wanted = story["program"]
    roles = [UserRole.USER_ROLE_SERVICE]
    request = RegisterUserRequest(email=wanted["email"], password=wanted["password"], roles=roles)
    user_id = client.users.RegisterUser(request).user.user_id
    made = client.users.CreateApiKey(CreateApiKeyRequest(user_id=user_id, display_name="story"))
    return Program(user_id, made.key)


@pytest.fixture(scope="session", autouse=True)
def first_token(gateway: str, operator: tuple[str, str]) -> tuple[str, float]:
    """An access token that nobody renews, and when it was given: before the first step."""
    email, password = operator
    with openorder.connect(gateway) as client:
        answer = client.users.Authenticate(AuthenticateRequest(email=email, password=password))
    return answer.session.access_token, time.monotonic()
