"""Secrets from Secrets Manager and Parameter Store (moto): cached, replaced without restart, never shown."""

from __future__ import annotations

import json
import pickle
import traceback
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime, timedelta
from time import sleep
from typing import Any

import boto3
import pytest
from aws_lambda_powertools.utilities.parameters import base
from botocore.stub import Stubber
from guiderail.adapters import clients, secrets
from guiderail.adapters.channels import ChannelSenders
from guiderail.adapters.secrets import SHAPES, SLACK_SIGNING, Secret, Secrets
from guiderail.errors import (
    AccessDeniedError,
    GuiderailError,
    NotFoundError,
    SettingsError,
    ThrottledError,
    UnavailableError,
)
from guiderail.model.message import Rendering
from guiderail.model.policy import ChannelKind
from guiderail_local.sink import Sink
from moto.moto_api._internal import moto_api_backend

from tests.moto_region import region
from tests.unit.rendering.notifications import news

SLACK = SHAPES[ChannelKind.SLACK]
TEAMS = SHAPES[ChannelKind.TEAMS]
WEBHOOK = SHAPES[ChannelKind.WEBHOOK]
NAME = "guiderail/channel"
TOKEN = "xoxb-hush-hush"


@pytest.fixture(scope="module")
def server() -> Iterator[None]:
    with region():
        yield


@pytest.fixture(autouse=True)
def nothing_kept(server: None) -> Iterator[None]:
    secrets.forget()
    yield
    secrets.forget()
    moto_api_backend.reset()


def keep(content: str, name: str = NAME) -> None:
    boto3.client("secretsmanager").create_secret(Name=name, SecretString=content)


def replace(content: str, name: str = NAME) -> None:
    boto3.client("secretsmanager").put_secret_value(SecretId=name, SecretString=content)


def failure(shape: Any = SLACK, name: str = NAME) -> GuiderailError:
    with pytest.raises(GuiderailError) as raised:
        Secrets().read(name, shape)
    told = "".join(traceback.format_exception(raised.value)) + raised.value.remedy
    assert "hush" not in told
    return raised.value


def test_plain_text_stands_for_the_first_field() -> None:
    keep(f"{TOKEN}\n")
    secret = Secrets().read(NAME, SLACK)
    assert secret["token"] == TOKEN
    assert secret.get("url", "https://slack.com/api/") == "https://slack.com/api/"


def test_json_has_fields_by_name() -> None:
    keep(json.dumps({"token": TOKEN, "url": "https://slack.example/api/", "note": "ours"}))
    secret = Secrets().read(NAME, SLACK)
    assert (secret["token"], secret.get("url", "")) == (TOKEN, "https://slack.example/api/")
    with pytest.raises(KeyError):
        secret["note"]


def test_a_secret_kept_as_bytes_is_read_too() -> None:
    boto3.client("secretsmanager").create_secret(Name=NAME, SecretBinary=TOKEN.encode())
    assert Secrets().read(NAME, SLACK)["token"] == TOKEN


@pytest.mark.parametrize("kind", ["SecureString", "String"])
def test_parameter_store(kind: Any) -> None:
    ssm = boto3.client("ssm")
    ssm.put_parameter(Name="/guiderail/slack", Value=TOKEN, Type=kind)
    assert Secrets().read("ssm:/guiderail/slack", SLACK)["token"] == TOKEN


def test_the_secret_that_slack_signs_with() -> None:
    keep("hush")
    assert Secrets().read(NAME, SLACK_SIGNING)["signing_secret"] == "hush"


# cached, and replaced without a restart


def test_a_secret_is_kept_for_five_minutes(monkeypatch: pytest.MonkeyPatch) -> None:
    keep("hush-1")
    held = Secrets()
    assert [held.read(NAME, SLACK)["token"] for _ in range(3)] == ["hush-1"] * 3
    replace("hush-2")
    assert held.read(NAME, SLACK)["token"] == "hush-1"
    assert held.read(NAME, SLACK, fresh=True)["token"] == "hush-2"
    assert held.read(NAME, SLACK)["token"] == "hush-2"
    replace("hush-3")

    class Later(datetime):
        @classmethod
        def now(cls, tz: Any = None) -> Any:
            return super().now(tz) + timedelta(seconds=301)

    monkeypatch.setattr(base, "datetime", Later)
    assert held.read(NAME, SLACK)["token"] == "hush-3"


def test_threads_that_need_a_secret_at_once_make_one_call(monkeypatch: pytest.MonkeyPatch) -> None:
    keep(TOKEN)
    provider = secrets._secrets()
    calls: list[str] = []
    get = provider._get

    def counted(name: str) -> Any:
        calls.append(name)
        return get(name)

    monkeypatch.setattr(provider, "_get", counted)
    held = Secrets()
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda _: held.read(NAME, SLACK), range(8)))
    assert calls == [NAME]


def test_what_threads_need_at_once_is_made_once() -> None:
    made = []

    def make(service: str) -> object:
        sleep(0.02)
        made.append(service)
        return object()

    once = clients.Once(make)
    with ThreadPoolExecutor(8) as pool:
        got = list(pool.map(lambda _: once("sns"), range(8)))
    assert made == ["sns"]
    assert len(set(got)) == 1
    once.cache_clear()
    assert once("sns") not in got


class Silent:
    """A Journal that nothing is to be written into."""

    def info(self, message: str, **fields: object) -> None:
        raise AssertionError(message)

    warning = error = info


def test_a_token_that_was_replaced_is_used_without_a_restart() -> None:
    with Sink() as sink:
        for name, content in sink.secrets().items():
            keep(content, name)
        senders = ChannelSenders(Secrets(), "", "", Silent())
        for channel in sink.channels().values():
            senders.send(channel, news(), Rendering())
        sink.rotate()
        for name, content in sink.secrets().items():
            replace(content, name)
        for kind, channel in sink.channels().items():
            senders.send(channel, news(), Rendering())
            assert len(sink.taken(kind)) == 2, kind


# what is wrong with a secret


@pytest.mark.parametrize(
    "name",
    ["hush", "other/guiderail/x", "/guiderail/x", "ssm:guiderail/x", "ssm:/other/x", ""],
)
def test_other_names_are_not_read(name: str) -> None:
    with pytest.raises(SettingsError, match="not one that Guiderail may read.*Name it guiderail/"):
        Secrets().read(name, SLACK)


@pytest.mark.parametrize(
    ("name", "remedy"),
    [
        (NAME, f"aws secretsmanager create-secret --name {NAME}"),
        ("ssm:/guiderail/x", "aws ssm put-parameter --type SecureString --name /guiderail/x"),
    ],
)
def test_a_secret_that_is_not_there(name: str, remedy: str) -> None:
    error = failure(name=name)
    assert isinstance(error, NotFoundError)
    assert name in str(error)
    assert remedy in error.remedy


@pytest.mark.parametrize(
    ("shape", "content", "said"),
    [
        (SLACK, '{"hush": "x"}', "field 'token' is missing"),
        (SLACK, '{"token": 5}', "field 'token' is missing, empty or no text"),
        (SLACK, '{"token": " "}', "field 'token' is missing, empty"),
        (SLACK, '{"token": "hush"', "begins like JSON and is none"),
        (SLACK, "hush\nhush", "field 'token' has characters"),
        (SLACK, "hush…", "field 'token' has characters"),
        (SLACK, '{"token": "hush", "url": "http://hush.example"}', "field 'url' cannot be used"),
        (TEAMS, "http://hush.example/hook", "it does not begin with https://"),
        (TEAMS, "https://hush:hush@hush.example/hook", "it holds a user or password"),
        (TEAMS, "https://169.254.169.254/hush", "metadata"),
        (WEBHOOK, "https://hush.example/hook", "field 'key' is missing"),
        (WEBHOOK, '{"url": "https://hush.example/hook", "key": ""}', "field 'key' is missing"),
    ],
)
def test_what_is_wrong_is_named_and_not_shown(shape: Any, content: str, said: str) -> None:
    keep(content)
    error = failure(shape)
    assert isinstance(error, SettingsError)
    assert str(error).startswith(f"Secret {NAME}")
    assert said in str(error)
    assert error.remedy


@pytest.mark.parametrize(
    ("code", "status", "error"),
    [
        ("AccessDeniedException", 400, AccessDeniedError),
        ("ThrottlingException", 400, ThrottledError),
        ("InternalServiceError", 500, UnavailableError),
    ],
)
@pytest.mark.parametrize(
    ("service", "call", "name"),
    [
        ("secretsmanager", "get_secret_value", NAME),
        ("ssm", "get_parameter", "ssm:/guiderail/x"),
    ],
)
def test_what_the_service_says_is_what_it_means(
    service: str, call: str, name: str, code: str, status: int, error: type[GuiderailError]
) -> None:
    with Stubber(clients.client(service)) as stub:
        stub.add_client_error(call, code, "no", status)
        with pytest.raises(error, match=name):
            Secrets().read(name, SLACK)


# a secret shows nothing of itself


def test_a_secret_shows_nothing_of_itself() -> None:
    secret = Secret(NAME, {"token": TOKEN})
    shown = [str(secret), repr(secret), f"{secret}", f"{secret!r}", "%s" % secret, repr([secret])]  # noqa: UP031
    assert set(shown) == {f"Secret({NAME!r})", f"[Secret({NAME!r})]"}
    with pytest.raises(TypeError):
        vars(secret)
    with pytest.raises(TypeError, match="Secret"):
        json.dumps(secret)
    with pytest.raises(TypeError):
        pickle.dumps(secret)


def test_secrets_are_equal_if_they_hold_the_same() -> None:
    assert Secret("a", {"token": TOKEN}) == Secret("a", {"token": TOKEN})
    assert Secret("a", {"token": TOKEN}) != Secret("a", {"token": "other"})
    assert Secret("a", {}) != "a"
