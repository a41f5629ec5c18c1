"""The shape of a receiver's channels, and texts that are secrets and must not stand in the file."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Annotated, Any

from guiderail.model.policy import ChannelKind
from pydantic import (
    AfterValidator,
    BeforeValidator,
    ConfigDict,
    Field,
    WithJsonSchema,
    model_validator,
)

from guiderail_cli.policy_file.document import Node, Path, field_name
from guiderail_cli.policy_file.problems import Level, Problem
from guiderail_cli.policy_file.values import (
    TOLD_ELSEWHERE,
    Section,
    Text,
    Truth,
    listed,
    not_empty,
    shown,
    wrong,
)

MOST_ADDRESSES = 50
"""Recipients of one message of Amazon SES (its documentation, "Sender and recipient quotas")."""

_SECRET_NAME = r"(ssm:/)?guiderail/[A-Za-z0-9/_+=.@-]+"
_SLACK_CHANNEL = r"[CGD][A-Z0-9]{6,}"
_TOPIC = r"arn:aws[a-z-]*:sns:[a-z0-9-]+:\d{12}:[A-Za-z0-9_-]{1,256}"
_ADDRESS = re.compile(r"[^\s@<>,;:\"()\[\]\\]{1,64}@[^\s@<>,;:\"()\[\]\\]+\.[^\s@<>,;:\"()\[\]\\]+")
_LONGEST_ADDRESS = 254
_EMAIL = {"type": "string", "format": "email"}

_INTO_A_SECRET = (
    "Put it into Secrets Manager below guiderail/, write that name here, and renew what was shown"
)
_KNOWN_SECRETS = re.compile(
    r"xox[abeoprs]-\d|xapp-\d|whsec_[\w+/=-]{16}|AKIA[0-9A-Z]{16}|[?&]sig=|"
    r"(?i:hooks\.slack(-gov)?\.com/|webhook\.office\.com/)"
)
"""Tokens of Slack, keys of signed webhooks, access keys of AWS, and webhook addresses."""

_RANDOM = re.compile(
    r"[0-9a-f]{24,}|[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}|"
    r"(?=[^/]*\d)(?=.*[A-Za-z])[A-Za-z0-9+/_-]{32,}={0,2}",
    re.IGNORECASE,
)


def is_a_secret(text: str) -> bool:
    """Whether a text is certainly a token or the address of a webhook, wherever it stands."""
    return _KNOWN_SECRETS.search(text) is not None


def looks_like_a_secret(text: str) -> bool:
    """Whether a text that should name a secret is more likely the secret itself."""
    if is_a_secret(text):
        return True
    return not re.fullmatch(_SECRET_NAME, text) and (
        "://" in text or _RANDOM.fullmatch(text) is not None
    )


def written_secrets(document: Node, file: str) -> Iterator[Problem]:
    """Yield secrets that stand in the file; what they are is not repeated."""
    for path, node in _texts(document, ()):
        suspect = looks_like_a_secret if path[-1:] == ("secret",) else is_a_secret
        if suspect(str(node.value)):
            yield Problem(
                level=Level.ERROR,
                file=file,
                line=node.line,
                column=node.column,
                field=field_name(path),
                message="this looks like a secret itself",
                remedy=_INTO_A_SECRET,
            )


def _texts(node: Node, path: Path) -> Iterator[tuple[Path, Node]]:
    if isinstance(node.value, dict):
        for key, (_, value) in node.value.items():
            yield from _texts(value, (*path, key))
    elif isinstance(node.value, list):
        for place, value in enumerate(node.value):
            yield from _texts(value, (*path, place))
    elif node.value is not None:
        yield path, node


def _secret(value: str) -> str:
    if value.startswith("arn:"):
        raise wrong("secret_arn", "an ARN is no name of a secret", "Write guiderail/name")
    if not re.fullmatch(_SECRET_NAME, value):
        # what stands here may be the secret: it is not shown
        raise wrong(
            "secret_name",
            "it names no secret that Guiderail may read",
            "Write guiderail/name for Secrets Manager, or ssm:/guiderail/name for a parameter",
        )
    return value


def _slack_channel(value: str) -> str:
    if value.startswith("#") or value == value.lower():
        raise wrong(
            "slack_name",
            f"{shown(value)} is a channel's name, which can change and be given to another",
            "Write its id, such as C0123456789: it stands at the end of the channel's details in Slack",
        )
    if not re.fullmatch(_SLACK_CHANNEL, value):
        raise wrong(
            "slack_channel",
            f"{shown(value)} is no id of a Slack channel",
            "Write an id that begins with C, G or D, such as C0123456789",
        )
    return value


def _address(value: str) -> str:
    if len(value) > _LONGEST_ADDRESS or not _ADDRESS.fullmatch(value):
        raise wrong(
            "address", f"{shown(value)} is no email address", "Write one such as ml@example.com"
        )
    return value


def _few(value: list[Any]) -> list[Any]:
    if len(value) > MOST_ADDRESSES:
        raise wrong(
            "many_addresses",
            f"{len(value)} addresses, the limit of Amazon SES is {MOST_ADDRESSES}",
            "Write to a mailing list",
        )
    return value


def _topic(value: str) -> str:
    if value.endswith(".fifo"):
        raise wrong("fifo", "FIFO topics are not supported", "Use a standard topic")
    if not re.fullmatch(_TOPIC, value):
        raise wrong(
            "topic_arn",
            f"{shown(value)} is no ARN of an SNS topic",
            "Write one such as arn:aws:sns:eu-west-1:123456789012:ml-alerts",
        )
    return value


SecretName = Annotated[
    Text,
    AfterValidator(_secret),
    WithJsonSchema({"type": "string", "pattern": f"^{_SECRET_NAME}$", "maxLength": 256}),
]
SlackChannelId = Annotated[
    Text,
    AfterValidator(_slack_channel),
    WithJsonSchema({"type": "string", "pattern": f"^{_SLACK_CHANNEL}$"}),
]
Address = Annotated[Text, AfterValidator(_address), WithJsonSchema(_EMAIL)]
Addresses = Annotated[
    list[Address],
    BeforeValidator(listed),
    AfterValidator(not_empty),
    AfterValidator(_few),
    WithJsonSchema(
        {
            "anyOf": [
                _EMAIL,
                {"type": "array", "items": _EMAIL, "minItems": 1, "maxItems": MOST_ADDRESSES},
            ]
        }
    ),
]
TopicArn = Annotated[
    Text, AfterValidator(_topic), WithJsonSchema({"type": "string", "pattern": f"^{_TOPIC}$"})
]


KINDS = tuple(kind for kind in ChannelKind if kind is not ChannelKind.BUS)
"""The kinds that a file may name: every message goes to the event bus anyway."""


class WithSecret(Section):
    """A channel of which everything that it needs is secret."""

    secret: SecretName
    """Name in Secrets Manager (guiderail/…), or ssm:/guiderail/…"""


class SlackBot(WithSecret):
    """A Slack channel in which a bot keeps one thread per incident."""

    channel: SlackChannelId
    """Its id, not its name."""


class Email(Section):
    """HTML email through Amazon SES."""

    to: Addresses
    from_: Address = Field(alias="from")
    """An address that SES has verified."""


class Topic(Section):
    """Plain text over SNS."""

    arn: TopicArn | None = None
    """Else the stack's topic."""


class AmazonQ(Section):
    """Amazon Q Developer in chat applications, over an SNS topic of its own."""

    topic_arn: TopicArn


class Channel(Section):
    """One way to reach a receiver."""

    model_config = ConfigDict(
        json_schema_extra={"oneOf": [{"required": [kind.value]} for kind in KINDS]}
    )

    topic: Topic | None = None
    email: Email | None = None
    slack: SlackBot | None = None
    slack_webhook: WithSecret | None = None
    teams: WithSecret | None = None
    pagerduty: WithSecret | None = None
    jsm: WithSecret | None = None
    webhook: WithSecret | None = None
    amazon_q: AmazonQ | None = None
    name: Text | None = None
    """Unique in the file; else receiver/kind."""
    pictures: Truth = True
    """Whether charts are attached where the channel can show them."""

    @model_validator(mode="after")
    def _one_kind(self) -> Channel:
        kinds = self.kinds
        if self.model_fields_set.intersection(KINDS) - {*kinds}:
            raise wrong(TOLD_ELSEWHERE, "", "")
        if len(kinds) != 1:
            told = " and ".join(kinds) + " in one entry" if kinds else "no channel stands here"
            remedy = "Begin each with a dash" if kinds else f"Write one of {', '.join(KINDS)}"
            raise wrong("one_kind", told, remedy)
        return self

    @property
    def kinds(self) -> list[ChannelKind]:
        """The kinds that are written; one."""
        return [kind for kind in KINDS if getattr(self, kind) is not None]
