"""Secrets Manager and Parameter Store: tokens, keys and addresses of channels, hidden wherever they go."""

from __future__ import annotations

import threading
from collections.abc import Mapping
from typing import Any

import msgspec
from botocore.exceptions import ClientError

from guiderail.adapters.clients import Once, client, translated
from guiderail.adapters.web_address import web_address
from guiderail.errors import NotFoundError, SettingsError
from guiderail.model.policy import ChannelKind

KEPT_SECONDS = 300
"""How long a secret is kept before it is read again."""

_SSM = "ssm:"


class SecretShape(msgspec.Struct, frozen=True):
    """Fields of a secret; plain text, which is no JSON object, stands for the first one."""

    needed: tuple[str, ...]
    optional: tuple[str, ...] = ()


SHAPES = {
    ChannelKind.SLACK: SecretShape(("token",), ("url",)),
    ChannelKind.SLACK_WEBHOOK: SecretShape(("url",)),
    ChannelKind.TEAMS: SecretShape(("url",)),
    ChannelKind.PAGERDUTY: SecretShape(("routing_key",), ("url",)),
    ChannelKind.JSM: SecretShape(("api_key",), ("url",)),
    ChannelKind.WEBHOOK: SecretShape(("url", "key")),
}
"""What the secret of a channel holds; kinds that are not here have none."""

SLACK_SIGNING = SecretShape(("signing_secret",))
"""What Slack signs its requests to us with."""


class Secret:
    """Fields of a secret by name. Its text and repr name it and show nothing of it."""

    __slots__ = ("_fields", "name")

    def __init__(self, name: str, fields: Mapping[str, str]) -> None:
        """Hide these fields."""
        self.name = name
        self._fields = dict(fields)

    def __getitem__(self, field: str) -> str:
        """A field that the secret's shape needs."""
        return self._fields[field]

    def get(self, field: str, default: str) -> str:
        """A field that it may have."""
        return self._fields.get(field, default)

    def __eq__(self, other: object) -> bool:
        """Whether both hold the same."""
        return isinstance(other, Secret) and self._fields == other._fields

    __hash__ = None  # type: ignore[assignment]

    def __reduce__(self) -> str:
        """It is not written anywhere."""
        raise TypeError("A secret is not serialised")

    def __repr__(self) -> str:
        """The name only."""
        return f"Secret({self.name!r})"


class Secrets:
    """Secrets by name: ``guiderail/...`` in Secrets Manager, ``ssm:/guiderail/...`` in Parameter Store.

    A secret is read once in ``KEPT_SECONDS`` and process; it may be used by several threads.
    """

    def __init__(self) -> None:
        """Make no call yet."""
        self._locks: dict[str, threading.Lock] = {}

    def read(self, name: str, shape: SecretShape, *, fresh: bool = False) -> Secret:
        """Read a secret; ``fresh`` asks the service whatever is kept.

        Raises:
            SettingsError: The name is not one of ours, or the content has not the shape: it names the
                secret and the field, never the content.
            NotFoundError, AccessDeniedError: The secret is not there, or not for us.
            TransientError: It could not be read now.
        """
        if not name.startswith(("guiderail/", "ssm:/guiderail/")):
            raise SettingsError(
                f"Secret {name!r} is not one that Guiderail may read",
                remedy="Name it guiderail/... (Secrets Manager) or ssm:/guiderail/... (Parameter Store)",
            )
        # threads that need the same secret at once make one call
        with self._locks.setdefault(name, threading.Lock()):
            content = _content(name, fresh)
        return Secret(name, _fields(name, shape, content))


def _content(name: str, fresh: bool) -> str:
    in_ssm = name.startswith(_SSM)
    call = "GetParameter" if in_ssm else "GetSecretValue"
    with translated(f"{call} {name}"):
        try:
            if in_ssm:
                got = _parameters().get(
                    name.removeprefix(_SSM),
                    max_age=KEPT_SECONDS,
                    force_fetch=fresh,
                    decrypt=True,
                )
            else:
                got = _secrets().get(name, max_age=KEPT_SECONDS, force_fetch=fresh)
        except Exception as error:
            # Powertools wraps what botocore raised in an error of its own
            cause = error.__cause__ or error.__context__ or error
            code = cause.response["Error"]["Code"] if isinstance(cause, ClientError) else ""
            if code in ("ParameterNotFound", "ResourceNotFoundException"):
                raise NotFoundError(
                    f"Secret {name} is not there", remedy=f"Create it: {_how_to_make(name)}"
                ) from None
            raise cause from None
    return got.decode("utf-8", "replace") if isinstance(got, bytes) else str(got)


@Once
def _secrets() -> Any:
    # imported when first needed: the package takes half as long as all else of a cold start
    from aws_lambda_powertools.utilities.parameters import SecretsProvider

    return SecretsProvider(boto3_client=client("secretsmanager"))


@Once
def _parameters() -> Any:
    from aws_lambda_powertools.utilities.parameters import SSMProvider

    return SSMProvider(boto3_client=client("ssm"))


def forget() -> None:
    """Let the next read be that of a new process."""
    _secrets.cache_clear()
    _parameters.cache_clear()


def _fields(name: str, shape: SecretShape, content: str) -> dict[str, str]:
    content = content.strip()
    written: dict[str, Any] | None
    if content.startswith("{"):
        try:
            written = msgspec.json.decode(content, type=dict[str, Any])
        except (msgspec.MsgspecError, ValueError, RecursionError):
            written = None
        if written is None:
            raise SettingsError(f"Secret {name} begins like JSON and is none", remedy=_form(shape))
    else:
        written = {shape.needed[0]: content}
    fields: dict[str, str] = {}
    for field in (*shape.needed, *shape.optional):
        value = written.get(field)
        if value is None and field in shape.optional:
            continue
        if not isinstance(value, str) or not value.strip():
            raise SettingsError(
                f"Secret {name}: field {field!r} is missing, empty or no text", remedy=_form(shape)
            )
        fields[field] = value.strip()
        if field == "url":
            _check_url(name, fields[field])
        elif not fields[field].isascii() or not fields[field].isprintable():
            raise SettingsError(
                f"Secret {name}: field {field!r} has characters that no HTTP header takes",
                remedy="Store it again without line breaks",
            )
    return fields


def _check_url(name: str, url: str) -> None:
    try:
        web_address(url)
    except ValueError as error:
        wrong = str(error)
    else:
        return
    raise SettingsError(
        f"Secret {name}: field 'url' cannot be used: {wrong}",
        remedy="Give an https:// address, or an http:// address of 127.0.0.1",
    )


def _form(shape: SecretShape) -> str:
    text = ", ".join(f'"{field}": "..."' for field in shape.needed)
    plain = "" if len(shape.needed) > 1 else f", or the plain text of {shape.needed[0]}"
    return f"Store {{{text}}}{plain}"


def _how_to_make(name: str) -> str:
    if name.startswith(_SSM):
        path = name.removeprefix(_SSM)
        return f"aws ssm put-parameter --type SecureString --name {path} --value file://FILE"
    return f"aws secretsmanager create-secret --name {name} --secret-string file://FILE"
