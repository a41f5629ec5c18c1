"""What receives the story's messages: the sink, a mailbox, and queues behind topics."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

from guiderail.model.delivery import Delivery, DeliveryState
from guiderail.model.policy import ChannelKind

from guiderail_local.cloud import LocalCloud
from guiderail_local.messages_page import Arrived
from guiderail_local.sink import Arrival, Sink

MAIL_DOMAIN = "harbour.example"
_TOPICS = {ChannelKind.TOPIC: "harbour-desk", ChannelKind.AMAZON_Q: "harbour-chat"}
_PNG = b"\x89PNG"


class Receiving:
    """Everything that a channel of the story's policy leads to.

    Attributes:
        sink: Slack, Teams, PagerDuty, JSM and webhooks.
    """

    def __init__(self, cloud: LocalCloud, sink: Sink) -> None:
        """Make secrets, topics and the mail domain that the policy names."""
        self.sink = sink
        self._cloud = cloud
        secrets = cloud.client("secretsmanager")
        for name, content in sink.secrets().items():
            secrets.create_secret(Name=name, SecretString=content)
        # Slack's note to who pressed a button goes to the sink as well
        cloud.set_variable("OnReply", "GUIDERAIL_SLACK_HOOKS", f"{sink.url}/")
        cloud.client("sesv2").create_email_identity(EmailIdentity=MAIL_DOMAIN)
        self._sqs = cloud.client("sqs")
        self._queues = {kind: self._subscribed(topic) for kind, topic in _TOPICS.items()}
        self._published: dict[ChannelKind, list[Mapping[str, Any]]] = {kind: [] for kind in _TOPICS}

    def taken(self) -> Counter[ChannelKind]:
        """How much each channel took so far; of Slack, requests, which are several per message."""
        for kind, queue in self._queues.items():
            self._published[kind] += self._received(queue)
        counted = Counter({kind: len(got) for kind, got in self._published.items()})
        counted[ChannelKind.EMAIL] = len(self._cloud.mail())
        counted.update(arrival.channel for arrival in self.sink.arrived if arrival.taken)
        return counted

    def missing(
        self, before: Counter[ChannelKind], deliveries: Sequence[Delivery]
    ) -> Iterator[str]:
        """What is said to be delivered since ``before``, and did not arrive."""
        delivered = Counter(
            d.kind
            for d in deliveries
            if d.state is DeliveryState.DELIVERED and "/" in d.channel  # the policy's own channels
        )
        after = self.taken()
        for kind, count in delivered.items():
            arrived = after[kind] - before[kind]
            if arrived < count or (arrived > count and kind is not ChannelKind.SLACK):
                yield f"{kind}: {count} delivered, {arrived} arrived"

    def waited(self, kind: ChannelKind) -> float:
        """Seconds from the last request that a channel turned away to the next one."""
        came = [arrival for arrival in self.sink.arrived if arrival.channel is kind]
        refused = [at for at, arrival in enumerate(came) if arrival.status == 429]
        if not refused or refused[-1] + 1 >= len(came):
            return 0.0
        return (came[refused[-1] + 1].at - came[refused[-1]].at).total_seconds()

    def arrived(self) -> list[Arrived]:
        """Every message that arrived, channel by channel."""
        shown = [_shown(arrival) for arrival in self.sink.arrived if arrival.taken]
        mails = [
            Arrived(
                channel=ChannelKind.EMAIL.value,
                title=mail.subject,
                note=f"to {', '.join(dict.fromkeys(mail.to))}",
                text=mail.text,
                html=mail.html,
                pictures=mail.pictures,
            )
            for mail in self._cloud.mail()
        ]
        self.taken()
        published = [
            _published(kind, message) for kind, got in self._published.items() for message in got
        ]
        found = [*mails, *(one for one in shown if one), *published]
        order = [kind.value for kind in ChannelKind]
        return sorted(map(self._followable, found), key=lambda one: order.index(one.channel))

    def _followable(self, one: Arrived) -> Arrived:
        """With links that lead somewhere on this computer."""
        content = json.loads(self._cloud.here(json.dumps(one.content)))
        text, html = self._cloud.here(one.text), self._cloud.here(one.html)
        return replace(one, content=content, text=text, html=html)

    def _subscribed(self, topic: str) -> str:
        arn = self._cloud.client("sns").create_topic(Name=topic)["TopicArn"]
        queue = str(self._sqs.create_queue(QueueName=topic)["QueueUrl"])
        described = self._sqs.get_queue_attributes(QueueUrl=queue, AttributeNames=["QueueArn"])
        self._cloud.client("sns").subscribe(
            TopicArn=arn, Protocol="sqs", Endpoint=described["Attributes"]["QueueArn"]
        )
        return queue

    def _received(self, queue: str) -> Iterator[Mapping[str, Any]]:
        while messages := self._sqs.receive_message(QueueUrl=queue, MaxNumberOfMessages=10).get(
            "Messages"
        ):
            for message in messages:
                self._sqs.delete_message(QueueUrl=queue, ReceiptHandle=message["ReceiptHandle"])
                yield json.loads(message["Body"])


@contextmanager
def receiving(cloud: LocalCloud) -> Iterator[Receiving]:
    """Receive as long as the context lasts."""
    with Sink() as sink:
        yield Receiving(cloud, sink)


def _published(kind: ChannelKind, message: Mapping[str, Any]) -> Arrived:
    text = str(message.get("Message", ""))
    subject = str(message.get("Subject") or "")
    if kind is ChannelKind.TOPIC:
        return Arrived(channel=kind.value, title=subject, text=text)
    content = json.loads(text)
    return Arrived(channel=kind.value, title=_title(content), content=content)


def _shown(arrival: Arrival) -> Arrived | None:
    note = f"{arrival.method} {arrival.path.partition('?')[0]}"
    kind = arrival.channel.value
    if isinstance(arrival.body, bytes):
        if not arrival.body.startswith(_PNG):
            return None
        return Arrived(kind, "a picture", note, pictures={"picture": arrival.body})
    if not arrival.path.endswith(("chat.postMessage", "chat.update")) and "/api/" in arrival.path:
        # how a picture is announced: nobody reads it
        return None
    return Arrived(kind, _title(arrival.body), note, content=arrival.body)


def _title(content: Any) -> str:
    """The first of the texts by which channels call a message."""
    if not isinstance(content, Mapping):
        return ""
    payload = content.get("payload")
    found = (
        content.get("text"),
        content.get("message"),
        content.get("summary"),
        content.get("title"),
        payload.get("summary") if isinstance(payload, Mapping) else None,
        content.get("content", {}).get("title")
        if isinstance(content.get("content"), dict)
        else None,
        content.get("event_action"),
        content.get("type"),
    )
    return next((str(text).splitlines()[0] for text in found if text), "")
