"""``guiderail deliveries``, ``notify test`` and ``incidents feedback`` on stores in memory."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from types import SimpleNamespace
from typing import Any

import msgspec
import pytest
from guiderail.errors import ChannelFailedError, ChannelRefusedError, ConflictError
from guiderail.model.delivery import DeliveryState
from guiderail.model.message import MessageKind
from guiderail.model.outcome import Reason
from guiderail.model.policy import (
    Channel,
    ChannelKind,
    EscalationStep,
    Match,
    Policy,
    Receiver,
    Replies,
    Route,
)
from guiderail_cli import delivery_commands, explain_command, incident_commands, notify_command
from guiderail_cli.delivery_commands import Post

from tests import builders as b
from tests.commands import Guiderail, command
from tests.fakes import Cloud

SLACK = Channel(kind=ChannelKind.SLACK, name="ops/slack", secret="guiderail/s", target="C0123456")
PAGER = Channel(kind=ChannelKind.PAGERDUTY, name="ops/pagerduty", secret="guiderail/p")
BOSS = Channel(kind=ChannelKind.WEBHOOK, name="boss/webhook", secret="guiderail/w")
POLICY = Policy(
    route=Route(
        name="default",
        receiver="ops",
        group_wait=0,
        routes=(
            Route(
                name="urgent",
                receiver="ops",
                match=Match(severity=("critical",)),
                escalation=(EscalationStep(1800, "boss"),),
            ),
        ),
    ),
    receivers={
        "ops": Receiver(name="ops", channels=(SLACK, PAGER), fallback="boss"),
        "boss": Receiver(name="boss", channels=(BOSS,)),
        "nobody": Receiver(name="nobody"),
    },
    replies=Replies(allowed=("*",)),
)
REFUSED = ChannelRefusedError("invalid_auth", status=200, remedy="Renew the token")


@pytest.fixture
def cloud() -> Cloud:
    cloud = Cloud(policy=POLICY)
    cloud.now = datetime.now(UTC) - timedelta(hours=1)
    return cloud


@pytest.fixture
def guiderail(
    cloud: Cloud, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Guiderail:
    """Run the command in this process; while it waits, what is queued is delivered."""

    def wait(seconds: float) -> None:
        cloud.now += timedelta(seconds=seconds)
        cloud.deliver_all()

    def connected(*_: object) -> Post:
        return Post(cloud.store, cloud.on_due().queue, cloud.clock)

    monkeypatch.setattr(notify_command, "connect_post", connected)
    monkeypatch.setattr(delivery_commands, "connect_post", connected)
    for module in (delivery_commands, incident_commands, explain_command):
        monkeypatch.setattr(module, "connect_outbox", lambda *_: cloud.store)
    for module in (notify_command, explain_command):
        monkeypatch.setattr(module, "connect", lambda *_: cloud.acts())
    monkeypatch.setattr(notify_command, "time", SimpleNamespace(sleep=wait))
    monkeypatch.setenv("COLUMNS", "250")

    return command(monkeypatch, capsys)


def told(cloud: Cloud, feature: str = "age") -> None:
    """Something is found, and people are told; not yet of a channel that fails meanwhile."""
    cloud.run_ends(b.judgement(feature))
    cloud.pass_time(seconds=1)


def of_state(cloud: Cloud, state: DeliveryState) -> list[str]:
    return [d.channel for d in cloud.store.outbox.values() if d.state is state]


# --- deliveries list


def test_list_shows_each_channel_and_what_it_answered(guiderail: Guiderail, cloud: Cloud) -> None:
    cloud.refusals["ops/slack"] = [REFUSED]
    told(cloud)

    ran = guiderail("deliveries", "list")

    assert (ran.code, ran.err) == (0, "")
    lines = {
        line.split()[6]: line
        for line in ran.out.splitlines()
        if " delivered " in line or " dead " in line
    }
    assert {"ops/slack", "ops/pagerduty", "boss/webhook", "bus"} == set(lines)
    assert "invalid_auth. Renew the token" in lines["ops/slack"]
    assert "channel_refused" in lines["ops/slack"]
    assert cloud.store.outbox[_id(cloud, "ops/pagerduty")].receipt in lines["ops/pagerduty"]
    assert "4 deliveries, 1 dead: guiderail deliveries replay" in ran.out


def _id(cloud: Cloud, channel: str) -> str:
    (found,) = [d.id for d in cloud.store.outbox.values() if d.channel == channel]
    return found


def test_list_as_json_of_one_state_and_channel(guiderail: Guiderail, cloud: Cloud) -> None:
    cloud.refusals["ops/slack"] = [REFUSED]
    told(cloud)

    listed = guiderail("deliveries", "list", "--state", "dead", "--json").document["deliveries"]

    (dead,) = listed
    assert (dead["channel"], dead["state"], dead["attempts"]) == ("ops/slack", "dead", 1)
    assert dead["id"] == _id(cloud, "ops/slack")
    over = guiderail("deliveries", "list", "--channel", "ops/*", "--json").document["deliveries"]
    assert {d["channel"] for d in over} == {"ops/slack", "ops/pagerduty"}


def test_list_looks_back_as_far_as_it_is_asked(guiderail: Guiderail, cloud: Cloud) -> None:
    told(cloud)
    assert guiderail("deliveries", "list", "--since", "2h", "--json").document["deliveries"]
    ran = guiderail("deliveries", "list", "--since", "30m")
    assert ran.code == 0
    assert ran.out.startswith("no deliveries since ")
    assert guiderail("deliveries", "list", "--since", "soon").code == 3


def test_names_from_data_are_printed_as_text(guiderail: Guiderail, cloud: Cloud) -> None:
    cloud.refusals["ops/slack"] = [ChannelRefusedError("[bold]\x1b[31m said")]
    told(cloud)
    out = guiderail("deliveries", "list").out
    assert "[bold] [31m said" in out


# --- deliveries replay


def test_a_dead_delivery_is_tried_again(guiderail: Guiderail, cloud: Cloud) -> None:
    cloud.refusals["ops/slack"] = [REFUSED]
    told(cloud)
    cloud.refusals.clear()
    key = _id(cloud, "ops/slack")

    ran = guiderail("deliveries", "replay")

    assert (ran.code, ran.out, ran.err) == (0, "tried again at once: 1 delivery\n", "")
    row = cloud.store.outbox[key]
    assert (row.state, row.reason, row.attempts) == (DeliveryState.PENDING, Reason.REPLAYED, 0)
    assert row.tried == ()
    assert cloud.store.turns[key][0] > cloud.now
    cloud.deliver_all()
    assert cloud.store.outbox[key].state is DeliveryState.DELIVERED
    assert guiderail("deliveries", "replay").out == "nothing to send again\n"


def test_a_replayed_one_has_all_its_time_again(guiderail: Guiderail, cloud: Cloud) -> None:
    cloud.refusals["ops/slack"] = [REFUSED]
    told(cloud)
    cloud.now += timedelta(minutes=45)
    cloud.refusals["ops/slack"] = [ChannelFailedError("busy", status=503)]
    guiderail("deliveries", "replay", "--channel", "ops/slack")
    cloud.deliver_all()
    assert cloud.store.outbox[_id(cloud, "ops/slack")].state is DeliveryState.FAILED


def test_a_dry_run_changes_nothing(guiderail: Guiderail, cloud: Cloud) -> None:
    cloud.refusals["ops/slack"] = [REFUSED]
    told(cloud)
    before = dict(cloud.store.outbox)

    ran = guiderail("deliveries", "replay", "--dry-run")

    assert ran.code == 1
    assert "dry run: 1 delivery would be tried again" in ran.out
    assert "ops/slack" in ran.out
    assert cloud.store.outbox == before
    assert cloud.queue == []
    assert guiderail("deliveries", "replay", "--dry-run", "--state", "failed").code == 0


def test_by_id(guiderail: Guiderail, cloud: Cloud) -> None:
    cloud.refusals |= {"ops/slack": [REFUSED], "ops/pagerduty": [REFUSED]}
    told(cloud)
    key = _id(cloud, "ops/pagerduty")
    ran = guiderail("deliveries", "replay", "--id", key[:8].upper(), "--json")
    assert ran.code == 0
    (again,) = ran.document["deliveries"]
    assert (again["id"], again["state"], again["before"], again["refused"]) == (
        key,
        "pending",
        "dead",
        "",
    )
    assert of_state(cloud, DeliveryState.DEAD) == ["ops/slack"]


def test_what_is_not_replayed(guiderail: Guiderail, cloud: Cloud) -> None:
    told(cloud)
    key = _id(cloud, "ops/slack")
    for arguments, words in (
        (("--id", key), "is delivered. Only dead or failed ones are"),
        (("--id", "abc"), "too short"),
        (("--id", "0" * 24), "no such delivery's id begins with"),
        (("--state", "delivered"), "Write --state dead or --state failed"),
    ):
        ran = guiderail("deliveries", "replay", *arguments)
        assert ran.code == 3
        assert words in ran.err
    assert cloud.queue == []


def test_a_superseded_one_is_left_alone(guiderail: Guiderail, cloud: Cloud) -> None:
    told(cloud)
    key = _id(cloud, "ops/pagerduty")
    row = cloud.store.outbox[key]
    cloud.store.outbox[key] = msgspec.structs.replace(
        row, state=DeliveryState.DEAD, reason=Reason.SUPERSEDED
    )
    assert guiderail("deliveries", "replay").out == "nothing to send again\n"
    ran = guiderail("deliveries", "replay", "--id", key)
    assert ran.code == 3
    assert "a newer message took the place" in ran.err


def test_one_that_cannot_be_does_not_stop_the_others(
    guiderail: Guiderail, cloud: Cloud, monkeypatch: pytest.MonkeyPatch
) -> None:
    cloud.refusals |= {"ops/slack": [REFUSED], "ops/pagerduty": [REFUSED]}
    told(cloud)
    keep = cloud.store.keep

    def kept(before: Any, *arguments: Any) -> Any:
        if before.channel == "ops/slack":
            raise ConflictError("somebody else wrote in between")
        return keep(before, *arguments)

    monkeypatch.setattr(cloud.store, "keep", kept)
    ran = guiderail("deliveries", "replay")
    assert ran.code == 3
    assert ran.out == "tried again at once: 1 delivery\n"
    assert "somebody else wrote in between" in ran.err
    assert of_state(cloud, DeliveryState.PENDING) == ["ops/pagerduty"]


# --- notify test


def test_each_channel_of_a_route_and_its_escalation_gets_a_test(
    guiderail: Guiderail, cloud: Cloud
) -> None:
    ran = guiderail("notify", "test", "--route", "urgent", "--by", "ana", "--json")

    assert (ran.code, ran.err) == (0, "")
    answers = {c["channel"]: c for c in ran.document["channels"]}
    assert set(answers) == {"ops/slack", "ops/pagerduty", "boss/webhook"}
    assert {c["state"] for c in answers.values()} == {"delivered"}
    assert answers["boss/webhook"]["receipt"].startswith("boss/webhook-")
    assert answers["ops/slack"]["seconds"] == 1.0
    assert ran.document["delivered"] is True
    message = cloud.sent[0].notification
    assert message.kind is MessageKind.TEST
    assert message.reasons == (Reason.TEST_MESSAGE,)
    assert "TEST" in message.subject
    assert "ana" in message.why[0]
    assert cloud.sent[0].rendering.replies == ()
    assert cloud.sent_over("bus") == []


def test_two_tests_are_two_messages(guiderail: Guiderail, cloud: Cloud) -> None:
    for _ in range(2):
        assert guiderail("notify", "test", "--receiver", "boss", "--by", "ana").code == 0
    assert len({s.notification.id for s in cloud.sent}) == 2
    assert len({s.notification.group for s in cloud.sent}) == 2


def test_a_refused_test_says_why_and_opens_nothing(guiderail: Guiderail, cloud: Cloud) -> None:
    cloud.refusals["ops/slack"] = [REFUSED]

    ran = guiderail("notify", "test", "--receiver", "ops", "--by", "ana")

    assert ran.code == 1
    assert "invalid_auth. Renew the token" in ran.out
    assert of_state(cloud, DeliveryState.DEAD) == ["ops/slack"]
    assert cloud.sent_over("boss/webhook") == []
    assert list(cloud.all_incidents()) == []
    assert cloud.dead == []


def test_what_is_not_over_in_time_is_told(guiderail: Guiderail, cloud: Cloud) -> None:
    cloud.refusals["ops/slack"] = [ChannelFailedError("gateway", status=502)]
    ran = guiderail("notify", "test", "--receiver", "ops", "--by", "ana", "--timeout", "20")
    assert ran.code == 1
    assert "HTTP 502: gateway" in ran.out
    assert "after 20 s 1 of 2 are not over and go on being tried" in ran.out


def test_a_receiver_without_channels_is_tested_over_the_stacks_topic(
    guiderail: Guiderail, cloud: Cloud
) -> None:
    assert guiderail("notify", "test", "--receiver", "nobody", "--by", "ana").code == 0
    assert [s.channel.name for s in cloud.sent] == ["topic"]


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ((), "Write --route NAME or --receiver NAME"),
        (("--route", "urgent", "--receiver", "ops"), "Write --route NAME or --receiver NAME"),
        (("--route", "nights"), "the policy has no route nights. Its routes are default, urgent"),
        (("--receiver", "me"), "no receiver me. Its receivers are ops, boss, nobody"),
    ],
)
def test_wrong_use_of_notify(
    guiderail: Guiderail, cloud: Cloud, arguments: tuple[str, ...], words: str
) -> None:
    ran = guiderail("notify", "test", *arguments, "--by", "ana")
    assert ran.code == 3
    assert words in ran.err
    assert cloud.sent == []


# --- explain, feedback


def test_explain_tells_how_its_messages_arrived(guiderail: Guiderail, cloud: Cloud) -> None:
    cloud.refusals["ops/slack"] = [REFUSED]
    told(cloud)
    (incident,) = [i.id for i in cloud.all_incidents() if i.subject.feature == "age"]
    (group,) = {d.group for d in cloud.store.outbox.values()}

    for name in (incident, group):
        out = guiderail("explain", name).out
        deliveries = out.split("\nDeliveries\n")[1]
        assert "channel_refused" in deliveries
        assert "ops/slack: dead after 1 try: HTTP 200: invalid_auth. Renew the token" in deliveries
        receipt = cloud.store.outbox[_id(cloud, "boss/webhook")].receipt
        assert f"boss/webhook in place of ops/slack: delivered after 1 try: {receipt}" in deliveries


def test_explain_tells_when_a_delivery_is_tried_again(guiderail: Guiderail, cloud: Cloud) -> None:
    cloud.refusals["ops/slack"] = [ChannelFailedError("gateway", status=502)]
    cloud.run_ends(b.judgement("age"))
    cloud.pass_time(seconds=1)
    (incident,) = [i.id for i in cloud.all_incidents()]
    out = guiderail("explain", incident).out
    assert "ops/slack: failed after 1 try: HTTP 502: gateway; tried again at " in out


def test_feedback_is_listed(guiderail: Guiderail, cloud: Cloud) -> None:
    told(cloud)
    (incident,) = [i.id for i in cloud.all_incidents()]
    keep = cloud.store.keep_feedback
    cloud.acts().noise(incident, keep, "reply-1", "slack:T0/U0", comment="a [campaign]")

    ran = guiderail("incidents", "feedback")

    assert ran.code == 0
    assert "slack:T0/U0" in ran.out
    assert "age: baseline_drift_check" in ran.out
    assert "a [campaign]" in ran.out
    (said,) = guiderail("incidents", "feedback", "--json").document["feedback"]
    assert said["incident"] == incident
    assert guiderail("incidents", "feedback", "--since", "30m").out.startswith("nobody called")
