"""What a policy compiles to."""

from __future__ import annotations

import hashlib
from datetime import UTC, datetime, timedelta, timezone

import msgspec
import pytest
from guiderail.model.outcome import Direction
from guiderail.model.policy import (
    BROKEN_RUN_HIDES_THE_REST,
    ActionKind,
    Cause,
    Channel,
    ChannelKind,
    DeliveryTerms,
    Effect,
    EscalationStep,
    FeatureGroup,
    GuardRails,
    Inhibition,
    Layer,
    LifeCycle,
    Match,
    Policy,
    RateLimit,
    Receiver,
    RemediationAction,
    RemediationMode,
    Replies,
    Route,
    Rule,
    RunsNeeded,
    Severity,
    Upstream,
    Verification,
    WeeklyHours,
)
from guiderail_cli.policy_file import compile_policy
from guiderail_cli.policy_file.compiling import version_of
from hypothesis import given
from hypothesis import strategies as st

NOW = datetime(2026, 11, 23, tzinfo=UTC)

WHOLE = """\
# yaml-language-server: $schema=policy.schema.json
version: 1
defaults: {for: 2 of 3, minimum_rows: 100}
models:
  - name: loans
    match: {account: 012345678901, endpoint: "loan-*"}
    set: {owner: risk}
rules:
  - name: everything
    match:
      schedule: a
      feature_group: profile
      monitor: [data_quality]
      check: baseline_drift_check
      feature: b
      tag: {stage: prod}
    set:
      threshold: 0.25
      direction: above
      severity: critical
      route: nights
      runbook: https://wiki.example.com/a?b=c#d
      labels: {team: x, on: off}
      mute_until: 2026-12-24T18:00:00+01:00
      shadow: true
      remediation: retrain
routes:
  receiver: ops
  group_by: [endpoint, team]
  routes:
    - name: nights
      match: {severity: [error, critical], owner: "r*", labels: {team: x}}
      receiver: on-call
      group_wait: 0s
      group_interval: 1m
      repeat_interval: 1h30m
      active: nights
      escalation: [{after: 30m, receiver: boss}]
      at_most: {messages: 20, within: 2h}
      continue: true
      routes:
        - {name: inner, match: {check: failed}, group_by: [], active: []}
receivers:
  ops: {}
  on-call:
    description: pager
    channels:
      - pagerduty: {secret: guiderail/pagerduty}
      - slack: {secret: "ssm:/guiderail/slack/bot", channel: C0123456789}
        pictures: false
      - slack: {secret: guiderail/slack, channel: D0123456}
      - email: {to: [a@example.com, b@example.com], from: guiderail@example.com}
        name: mail of the night
      - topic: {}
    fallback: boss
    show_values: true
  boss:
    channels:
      - topic: {arn: "arn:aws:sns:eu-west-1:123456789012:boss"}
      - amazon_q: {topic_arn: "arn:aws-us-gov:sns:us-gov-west-1:123456789012:chat"}
      - slack_webhook: {secret: guiderail/boss/slack}
      - teams: {secret: guiderail/teams}
      - jsm: {secret: guiderail/jsm}
      - webhook: {secret: guiderail/webhook}
hours:
  nights:
    - {days: [fri, mon], from: "22:00", to: "06:00", zone: Europe/Berlin}
    - {days: sun}
inhibitions:
  - {name: feed, source: {check: data_type_check}, target: {monitor: bias}, same: [endpoint, account]}
feature_groups:
  - {name: profile, features: "cust_*", endpoints: [loan-a], schedules: [s]}
upstream: {endpoints: 4, within: 2h}
incidents: {resolve_after: 3, reopen_within: 2d, flap_changes: 6, flap_window: 12h, worse_by: 2}
delivery: {attempts: 3, give_up_after: 10m, breaker_failures: 2, breaker_pause: 1m, link_life: 1d}
replies: {allowed: ["slack:T0123/*", "link:mail of the night"]}
remediations:
  retrain:
    retrain:
      pipeline: "{endpoint}-retrain"
      parameters: {InputData: "{report_uri}", Epochs: 5}
      wait_for_model: true
    mode: ask
    causes: [quality, drift]
    approvers: ["slack:T0123/*", "arn:aws:iam::*"]
    four_eyes: true
    approval_life: 12h
    cooldown: 0s
    attempts: 2
    cost: 12.50
    time_out: 8h
    verify: {clean_runs: 2, within: 3d, baseline: false}
guard_rails:
  per_hour: 1
  per_day: unlimited
  cost_per_month: 500
  targets_at_once: 3
  freezes: nights
"""


def test_a_whole_policy() -> None:
    compiled = compile_policy(WHOLE, "p.yaml", NOW)
    assert compiled.problems == ()
    nights = Route(
        name="nights",
        receiver="on-call",
        line=31,
        match=Match(severity=("error", "critical"), owner=("r*",), tags={"team": "x"}),
        group_by=("endpoint", "team"),
        group_wait=0.0,
        group_interval=60.0,
        repeat_interval=5400.0,
        active=("nights",),
        escalation=(EscalationStep(1800.0, "boss"),),
        goes_on=True,
        at_most=RateLimit(messages=20, within=7200.0),
    )
    inner = msgspec.structs.replace(
        nights,
        name="inner",
        line=42,
        match=Match(check=("failed",)),
        group_by=(),
        active=(),
        goes_on=False,
    )
    assert compiled.policy == Policy(
        version=hashlib.sha256(WHOLE.encode()).hexdigest()[:12],
        rules=(
            Rule(
                name="defaults",
                layer=Layer.DEFAULTS,
                line=3,
                effect=Effect(runs_needed=RunsNeeded(2, 3), minimum_rows=100),
            ),
            Rule(
                name="loans",
                layer=Layer.MODEL,
                line=5,
                match=Match(account=("012345678901",), endpoint=("loan-*",)),
                effect=Effect(owner="risk"),
            ),
            Rule(
                name="everything",
                layer=Layer.RULE,
                line=9,
                match=Match(
                    schedule=("a",),
                    feature_group=("profile",),
                    monitor=("data_quality",),
                    check=("baseline_drift_check",),
                    feature=("b",),
                    tags={"stage": "prod"},
                ),
                effect=Effect(
                    threshold=0.25,
                    direction=Direction.ABOVE,
                    severity=Severity.CRITICAL,
                    route="nights",
                    runbook="https://wiki.example.com/a?b=c#d",
                    labels={"team": "x", "on": "off"},
                    mute_until=datetime(2026, 12, 24, 18, tzinfo=timezone(timedelta(hours=1))),
                    shadow=True,
                    remediation="retrain",
                ),
            ),
        ),
        route=Route(
            name="default",
            receiver="ops",
            line=27,
            group_by=("endpoint", "team"),
            routes=(msgspec.structs.replace(nights, routes=(inner,)),),
        ),
        hours={
            "nights": (
                WeeklyHours(days=(0, 4), start=1320, end=360, zone="Europe/Berlin"),
                WeeklyHours(days=(6,)),
            )
        },
        inhibitions=(
            Inhibition(
                name="feed",
                line=70,
                source=Match(check=("data_type_check",)),
                target=Match(monitor=("bias",)),
                same=("endpoint", "account"),
            ),
        ),
        feature_groups=(
            FeatureGroup(
                name="profile", features=("cust_*",), endpoints=("loan-a",), schedules=("s",)
            ),
        ),
        upstream=Upstream(endpoints=4, within=7200.0),
        life_cycle=LifeCycle(
            resolve_after=3,
            reopen_within=172800.0,
            flap_changes=6,
            flap_window=43200.0,
            worse_by=2.0,
        ),
        receivers={
            "ops": Receiver(name="ops"),
            "on-call": Receiver(
                name="on-call",
                channels=(
                    Channel(
                        kind=ChannelKind.PAGERDUTY,
                        name="on-call/pagerduty",
                        secret="guiderail/pagerduty",
                    ),
                    Channel(
                        kind=ChannelKind.SLACK,
                        name="on-call/slack",
                        secret="ssm:/guiderail/slack/bot",
                        target="C0123456789",
                        pictures=False,
                    ),
                    Channel(
                        kind=ChannelKind.SLACK,
                        name="on-call/slack-2",
                        secret="guiderail/slack",
                        target="D0123456",
                    ),
                    Channel(
                        kind=ChannelKind.EMAIL,
                        name="mail of the night",
                        to=("a@example.com", "b@example.com"),
                        sender="guiderail@example.com",
                    ),
                    Channel(kind=ChannelKind.TOPIC, name="on-call/topic"),
                ),
                fallback="boss",
                show_values=True,
            ),
            "boss": Receiver(
                name="boss",
                channels=(
                    Channel(
                        kind=ChannelKind.TOPIC,
                        name="boss/topic",
                        target="arn:aws:sns:eu-west-1:123456789012:boss",
                    ),
                    Channel(
                        kind=ChannelKind.AMAZON_Q,
                        name="boss/amazon_q",
                        target="arn:aws-us-gov:sns:us-gov-west-1:123456789012:chat",
                    ),
                    *(
                        Channel(kind=kind, name=f"boss/{kind}", secret=secret)
                        for kind, secret in (
                            (ChannelKind.SLACK_WEBHOOK, "guiderail/boss/slack"),
                            (ChannelKind.TEAMS, "guiderail/teams"),
                            (ChannelKind.JSM, "guiderail/jsm"),
                            (ChannelKind.WEBHOOK, "guiderail/webhook"),
                        )
                    ),
                ),
            ),
        },
        delivery=DeliveryTerms(
            attempts=3,
            give_up_after=600.0,
            breaker_failures=2,
            breaker_pause=60.0,
            link_life=86400.0,
        ),
        replies=Replies(allowed=("slack:T0123/*", "link:mail of the night")),
        remediations={
            "retrain": RemediationAction(
                name="retrain",
                kind=ActionKind.RETRAIN,
                line=78,
                mode=RemediationMode.ASK,
                parameters={
                    "pipeline": "{endpoint}-retrain",
                    "parameters": {"InputData": "{report_uri}", "Epochs": "5"},
                    "wait_for_model": True,
                    "wait_for_endpoint": False,
                },
                causes=(Cause.QUALITY, Cause.DRIFT),
                approvers=("slack:T0123/*", "arn:aws:iam::*"),
                four_eyes=True,
                approval_life=43200.0,
                cooldown=0.0,
                attempts=2,
                cost=12.5,
                time_out=28800.0,
                verification=Verification(clean_runs=2, within=259200.0, baseline=False),
            )
        },
        guard_rails=GuardRails(
            per_hour=1,
            per_day=None,
            per_month=60,
            cost_per_month=500.0,
            targets_at_once=3,
            freezes=("nights",),
        ),
    )


@pytest.mark.parametrize(
    ("action", "parameters"),
    [
        (
            "retrain: {pipeline: a}",
            {
                "pipeline": "a",
                "parameters": {},
                "wait_for_model": False,
                "wait_for_endpoint": False,
            },
        ),
        (
            "reingest: {feature_group: a, source: 's3://lake/'}",
            {"feature_group": "a", "source": "s3://lake/", "format": "auto"},
        ),
        (
            "reingest: {feature_group: a, source: 's3://lake/', features: '{features}', rate: 50, "
            "from: '{window_start}', until: 2026-12-01T00:00:00Z, rejects: 's3://lake/no'}",
            {
                "feature_group": "a",
                "source": "s3://lake/",
                "format": "auto",
                "features": ["{features}"],
                "from": "{window_start}",
                "until": "2026-12-01T00:00:00Z",
                "rate": 50.0,
                "rejects": "s3://lake/no",
            },
        ),
        (
            "rebaseline: {dataset: 's3://lake/', volume_gb: 50}",
            {"schedule": "{schedule}", "dataset": "s3://lake/", "volume_gb": 50},
        ),
        ("rollback: {}", {"endpoint": "{endpoint}"}),
        ("pause: {}", {"schedule": "{schedule}"}),
        ("resume: {schedule: a}", {"schedule": "a"}),
        ("run_now: {}", {"schedule": "{schedule}"}),
        (
            "invoke: {target: 'arn:aws:lambda:eu-west-1:123456789012:function:f', payload: {a: [1]}}",
            {
                "target": "arn:aws:lambda:eu-west-1:123456789012:function:f",
                "payload": {"a": ["1"]},
                "wait": True,
            },
        ),
        ("ticket: {}", {}),
    ],
)
def test_parameters_of_actions(action: str, parameters: dict[str, object]) -> None:
    text = f"version: 1\nremediations: {{fix: {{{action}}}}}\n"
    policy = compile_policy(text, "p.yaml", NOW).policy
    assert policy
    assert policy.remediations["fix"] == RemediationAction(
        name="fix", kind=ActionKind(action.split(":")[0]), line=2, parameters=parameters
    )


def test_what_is_compiled_survives_its_storage() -> None:
    policy = compile_policy(WHOLE, "p.yaml", NOW).policy
    assert msgspec.json.decode(msgspec.json.encode(policy), type=Policy) == policy


def test_the_least_policy_is_the_built_in_one() -> None:
    text = "version: 1\n"
    compiled = compile_policy(text, "p.yaml", NOW)
    assert compiled.policy == Policy(version=version_of(text))


def test_sections_may_be_empty() -> None:
    text = "version: 1\ndefaults:\nrules:\nroutes:\nhours: ~\ninhibitions:\n"
    compiled = compile_policy(text, "p.yaml", NOW)
    assert compiled.problems == ()
    assert compiled.policy == Policy(version=version_of(text))


def test_inhibitions_are_replaced_not_added_to() -> None:
    policy = compile_policy("version: 1\ninhibitions: []\n", "p.yaml", NOW).policy
    assert policy
    assert policy.inhibitions == ()
    assert Policy().inhibitions == (BROKEN_RUN_HIDES_THE_REST,)


def test_a_byte_order_mark_and_windows_line_ends_do_not_matter() -> None:
    compiled = compile_policy("\ufeff" + WHOLE.replace("\n", "\r\n"), "p.yaml", NOW)
    assert compiled.problems == ()
    assert compiled.policy
    assert compiled.policy.rules[2].line == 9


@pytest.mark.parametrize(
    ("text", "seconds"), [("30s", 30), ("5m", 300), ("4h", 14400), ("2d", 172800), ("1h30m", 5400)]
)
def test_durations(text: str, seconds: float) -> None:
    policy = compile_policy(f"version: 1\nroutes: {{group_wait: {text}}}\n", "p.yaml", NOW).policy
    assert policy
    assert policy.route.group_wait == seconds


_KEYS = [
    "version",
    "defaults",
    "rules",
    "routes",
    "hours",
    "match",
    "set",
    "name",
    "endpoint",
    "for",
    "remediations",
    "retrain",
    "invoke",
    "payload",
    "guard_rails",
    "freezes",
]
_VALUES = st.recursive(
    st.sampled_from(["1", "a", "2 of 3", "'*'", "~", "[]", "{}", "5m", "true"]),
    lambda inner: (
        st.lists(inner, max_size=3).map(lambda items: f"[{', '.join(items)}]")
        | st.dictionaries(st.sampled_from(_KEYS), inner, max_size=3).map(
            lambda items: "{" + ", ".join(f"{k}: {v}" for k, v in items.items()) + "}"
        )
    ),
    max_leaves=8,
)


@given(st.dictionaries(st.sampled_from(_KEYS), _VALUES, max_size=5))
def test_any_shape_is_compiled_or_told(sections: dict[str, str]) -> None:
    text = "\n".join(f"{key}: {value}" for key, value in {"version": "1", **sections}.items())
    compiled = compile_policy(text, "p.yaml", NOW)
    assert (compiled.policy is None) == bool(compiled.errors)
    assert all(p.line >= 1 and p.column >= 1 and p.message for p in compiled.problems)
