"""docs/policy.md: its examples do what they say, and its tables agree with the code."""

from __future__ import annotations

import re
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, get_args

import pytest
import yaml
from guiderail.model.finding import Finding, Subject
from guiderail.model.judgement import Judgement
from guiderail.model.notice import Held
from guiderail.model.outcome import Direction, MonitorKind, Outcome, Reason
from guiderail.model.policy import GROUP_KEYS, Effect, Match, Policy
from guiderail.model.run import Reading
from guiderail.reports.run_files import STATISTICS, Files, ParsedRun, parse_run
from guiderail.services.judging import PolicyIndex, RunLabels, judge
from guiderail.services.labels import route_named
from guiderail.services.tightening import CANNOT_TIGHTEN, CHECKS_OF_MONITOR
from guiderail.services.triage import cause_of
from guiderail.services.upstream import UPSTREAM_CHECK
from guiderail_cli.policy_file import compile_policy
from guiderail_cli.policy_file.channels import KINDS, Channel
from guiderail_cli.policy_file.models import PolicyFile, Settings
from guiderail_cli.policy_file.receivers import fallbacks
from guiderail_cli.policy_file.remediation_checks import what_happens

from tests.builders import numerical, statistics
from tests.fakes import ACCOUNT, REGION, Cloud, scope_of

DOCUMENT = (Path(__file__).parents[3] / "docs" / "policy.md").read_text()
NOW = datetime(2026, 11, 23, 9, 0, tzinfo=UTC)

Happens = dict[str, Any]
Expected = dict[str, Any]


def _examples() -> Iterator[Any]:
    section = DOCUMENT.split("## Twelve examples\n")[1].split("\n## ")[0]
    for part in section.split("\n### ")[1:]:
        title, _, body = part.partition("\n")
        policy, happens = re.findall(r"```yaml\n(.*?)```", body, flags=re.S)
        yield pytest.param(policy, yaml.safe_load(happens), id=title)


EXAMPLES = list(_examples())


def test_there_are_twelve_examples() -> None:
    assert [str(e.id).split(".")[0] for e in EXAMPLES] == [str(n) for n in range(1, 13)]


@pytest.mark.parametrize(("text", "happens"), EXAMPLES)
def test_example(text: str, happens: Happens) -> None:
    compiled = compile_policy(text, "guiderail.yaml", datetime(2026, 11, 1, tzinfo=UTC))
    assert compiled.problems == ()
    assert compiled.policy
    cloud = Cloud(policy=compiled.policy)
    cloud.now = NOW
    for number, run in enumerate(happens.get("runs") or [happens]):
        given = run["run"].get("at")
        cloud.now = datetime.fromisoformat(given) if given else NOW + timedelta(hours=number)
        _run(cloud, compiled.policy, run)
    if upstream := happens.get("upstream"):
        _expect_upstream(cloud, upstream)


def _run(cloud: Cloud, policy: Policy, happens: Happens) -> None:
    run = happens["run"]
    outcome = Outcome(run.get("outcome", "violations"))
    monitor = MonitorKind(run["monitor"])
    scope = scope_of(run["endpoint"], run.get("schedule", ""), monitor=monitor)
    expected: list[Expected] = happens["findings"]
    reading = Reading(
        outcome=outcome,
        monitor=monitor,
        reasons=(Reason.VIOLATIONS_REPORTED,),
        findings=tuple(
            _finding(monitor, e) for e in expected if "observed" in e and not e.get("derived")
        ),
        rows=run.get("rows"),
    )
    labels = RunLabels(
        account=ACCOUNT,
        region=REGION,
        endpoint=scope.endpoint,
        schedule=scope.schedule,
        monitor=monitor,
        tags=run.get("tags"),
    )
    judgements = judge(
        PolicyIndex(policy).for_run(labels), reading, _files(happens.get("statistics")), cloud.now
    )
    assert [j.finding.check for j in judgements] == [e["check"] for e in expected]
    # two runs of one schedule in one minute would be one job
    followed = cloud.run_ends(
        *judgements, scope=scope, outcome=outcome, key=f"run-{cloud.now.timestamp():.0f}-{monitor}"
    )
    assert followed
    reasons = {id(d.judgement): (d.reason, d.incident) for d in followed.decisions}
    cloud.pass_time(minutes=1, seconds=5)
    for judgement, wanted in zip(judgements, expected, strict=True):
        reason, incident = reasons[id(judgement)]
        assert reason.value == wanted["comes_to"]
        _expect_values(judgement, wanted)
        _expect_telling(cloud, policy, incident, wanted)
        _expect_remediation(cloud, policy, incident, wanted)


def _finding(monitor: MonitorKind, given: Expected) -> Finding:
    keys = ("feature", "metric", "facet", "label")
    low = given["check"] in ("completeness_check", "LessThanThreshold")
    return Finding(
        kind=monitor,
        check=given["check"],
        subject=Subject(**{key: given[key] for key in keys if key in given}),
        observed=given["observed"],
        threshold=given["threshold"],
        direction=Direction.BELOW if low else Direction.ABOVE,
        parsed=True,
        description="",
        distance=abs(given["observed"] - given["threshold"]),
    )


def _files(features: list[dict[str, Any]] | None) -> ParsedRun:
    if not features:
        return ParsedRun()
    listed = [numerical(f["feature"], f["present"], f["missing"]) for f in features]
    return parse_run(Files({STATISTICS: statistics(*listed)}))


def _expect_values(judgement: Judgement, wanted: Expected) -> None:
    values = judgement.effective
    for key in ("severity", "owner"):
        assert getattr(values, key) == wanted.get(key, getattr(values, key))
    for key, rule in wanted.get("by", {}).items():
        assert judgement.set_by[key].name == rule
    if wanted.get("derived"):
        assert judgement.is_derived
        assert judgement.finding.observed == pytest.approx(wanted["observed"])


def _held(cloud: Cloud, incident: str) -> Held | None:
    held = (group.held.get(incident) for group in cloud.store.groups.values())
    return next((h for h in held if h), None)


def _expect_telling(cloud: Cloud, policy: Policy, incident: str, wanted: Expected) -> None:
    held = _held(cloud, incident)
    hidden_by = wanted.get("hidden_by")
    if wanted["comes_to"] != "first_seen":
        assert held is None or wanted["comes_to"] == "suppressed_duplicate"
        return
    assert held
    assert (held.hidden is Reason.INHIBITED_BY) == bool(hidden_by)
    assert (hidden_by or "") in held.hidden_by
    ledger = next(i for i in cloud.all_incidents() if i.id == incident)
    names = list(ledger.groups.values())
    assert names == [wanted.get("route", names[0])]
    route = route_named(policy.route, names[0])
    assert route and route.receiver == wanted.get("receiver", route.receiver)
    if until := wanted.get("waits_until"):
        begin = datetime.fromisoformat(until)
        assert _told(cloud, route.name) == []
        cloud.pass_time(tick=600, seconds=(begin - cloud.now).total_seconds() + 60)
        (told_at,) = _told(cloud, route.name)
        assert begin <= told_at < begin + timedelta(minutes=11)
    elif not hidden_by:
        assert _told(cloud, route.name)
    if "channels" in wanted:
        over = [s.channel.name for s in cloud.sent if s.notification.route == route.name]
        assert over == [*wanted["channels"], "bus"]
        assert fallbacks(policy.receivers, route.receiver) == tuple(wanted["instead"])
    if to := wanted.get("escalates_to"):
        cloud.pass_time(minutes=31)
        assert to in {n.receiver for n in cloud.alerts}


def _expect_remediation(cloud: Cloud, policy: Policy, incident: str, wanted: Expected) -> None:
    opened = next((i for i in cloud.all_incidents() if i.id == incident), None)
    name = opened.remediation if opened else ""
    assert name == wanted.get("remediation", "")
    if opened and name:
        cause = cause_of((opened,))
        mode, _ = what_happens(policy.remediations[name], cause)
        assert (cause, mode or "blocked") == (wanted["cause"], wanted["mode"])


def _told(cloud: Cloud, route: str) -> list[datetime]:
    return [n.made_at for n in cloud.alerts if n.route == route]


def _expect_upstream(cloud: Cloud, wanted: Expected) -> None:
    (found,) = [i for i in cloud.all_incidents() if i.check == UPSTREAM_CHECK]
    assert found.subject.feature == wanted["feature"]
    assert found.feature_group == wanted["feature_group"]
    assert len(found.members) == wanted["endpoints"]
    assert f"feature group {wanted['feature_group']}" in found.description


# --- tables


def rows(heading: str) -> list[list[str]]:
    section = re.split(r"^## ", DOCUMENT.split(f"## {heading}\n", 1)[1], maxsplit=1, flags=re.M)[0]
    lines = [line for line in section.splitlines() if line.startswith("| ")]
    return [[cell.strip() for cell in line.strip("|").split(" |")] for line in lines[1:]]


def test_what_can_be_tightened() -> None:
    listed = {r[0].strip("`"): (r[1], r[2]) for r in rows("What can be tightened")}
    tighter = {check for checks in CHECKS_OF_MONITOR.values() for check in checks}
    assert {check for check, (answer, _) in listed.items() if answer == "yes"} == tighter
    refused = {check: why for check, (answer, why) in listed.items() if answer == "no"}
    assert {c: refused[c] for c in CANNOT_TIGHTEN} == CANNOT_TIGHTEN
    assert refused.keys() - CANNOT_TIGHTEN.keys() == {
        "outcomes of runs",
        "checks of own containers",
    }


def test_matched_keys() -> None:
    listed = {r[0].strip("`"): (bool(r[1]), bool(r[2])) for r in rows("Matching")}
    both = {*Match.__struct_fields__} - {"tags", "severity", "owner"}
    assert {key for key, where in listed.items() if where == (True, True)} == both
    assert {key for key, where in listed.items() if where == (True, False)} == {"tag"}
    assert {key for key, where in listed.items() if where == (False, True)} == {
        "severity",
        "owner",
        "labels",
    }
    assert both - {"feature_group"} <= set(GROUP_KEYS)


def test_what_a_rule_sets() -> None:
    listed = [r[0].strip("`") for r in rows("What a rule sets")]
    assert listed == [field.alias or name for name, field in Settings.model_fields.items()]
    assert len(listed) == len(Effect.__struct_fields__)


def test_sections() -> None:
    assert [r[0].strip("`") for r in rows("Sections")] == list(PolicyFile.model_fields)


def test_channels() -> None:
    listed = {r[0].strip("`"): (set(re.findall(r"`(\w+)`", r[1])), r[3]) for r in rows("Channels")}
    assert set(listed) == set(KINDS)
    for kind, (keys, secret) in listed.items():
        (terms, *_) = get_args(Channel.model_fields[kind].annotation)
        fields = {field.alias or name for name, field in terms.model_fields.items()}
        assert keys == fields
        assert bool(secret) == ("secret" in fields)
