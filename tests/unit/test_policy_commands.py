"""``guiderail policy check``, ``explain`` and ``digest`` as commands; the others are tested on S3."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from guiderail.model.finding import Subject
from guiderail.model.judgement import Judgement
from guiderail.model.notice import AuditEntry, Decision
from guiderail.model.outcome import MonitorKind, Outcome, Reason
from guiderail.model.policy import Effect, Layer, Match, Policy, Rule
from guiderail.model.run import Reading
from guiderail.reports.run_files import ParsedRun
from guiderail.services.judging import PolicyIndex, RunLabels, judge
from guiderail_cli import policy_commands
from guiderail_cli.policy_commands import policy_app
from guiderail_cli.policy_file import shadow_digest
from typer.testing import CliRunner

from tests.builders import finding
from tests.commands import Guiderail, Ran
from tests.fakes import ACCOUNT, REGION, Cloud, scope_of

TEXT = """\
version: 1
defaults: {for: 2 of 3}
rules:
  - name: zip codes move
    match: {check: baseline_drift_check, feature: zip_code}
    set:
      threshold: 0.3
      labels: {team: growth}
  - name: dev
    match: {tag: {stage: dev}}
    set: {severity: info}
routes:
  receiver: ops
  routes:
    - name: growth
      match: {labels: {team: growth}}
      group_by: [endpoint, team]
      active: [office]
      escalation: [{after: 1h, receiver: boss}]
hours: {office: {days: mon}}
feature_groups: [{name: addresses, features: [zip_code]}]
"""


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Guiderail:
    """Run the command in a folder that holds guiderail.yaml."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COLUMNS", "160")
    Path("guiderail.yaml").write_text(TEXT)

    def invoke(*arguments: str) -> Ran:
        result = CliRunner().invoke(policy_app, arguments)
        assert result.exception is None or isinstance(result.exception, SystemExit), result.exc_info
        return Ran(result.exit_code, result.stdout, result.stderr)

    return invoke


def write(text: str) -> None:
    Path("guiderail.yaml").write_text(text)


# --- check


def test_check_of_a_good_file(run: Guiderail) -> None:
    ran = run("check", "guiderail.yaml")
    assert ran.code == 0
    assert ran.out.startswith("guiderail.yaml: usable, version ")
    assert ran.out.endswith(", 3 rules, 0 warnings\n")


def test_check_tells_errors_and_warnings(run: Guiderail) -> None:
    write("version: 1\ndefaults: {threshold: 0.2, mute_until: 2020-01-01T00:00:00Z, route: x}\n")
    ran = run("check", "guiderail.yaml")
    assert ran.code == 3
    assert ran.out.splitlines() == [
        "guiderail.yaml:2:23: warning: defaults.threshold: this threshold holds for every check, "
        "whatever its unit. Match a check or a metric beside it",
        "guiderail.yaml:2:40: warning: defaults.mute_until: 2020-01-01T00:00:00+00:00 is in the past. "
        "Nothing is muted; remove the line",
        "guiderail.yaml:2:69: error: defaults.route: the route x is not declared. "
        "Name a route of the section routes",
        "guiderail.yaml: not usable, 1 error, 2 warnings",
    ]


def test_warnings_alone_are_usable(run: Guiderail) -> None:
    write("version: 1\ndefaults: {threshold: 0.2}\n")
    assert run("check", "guiderail.yaml").code == 0


def test_check_as_json(run: Guiderail) -> None:
    write("version: 1\nx: 1\n")
    ran = run("check", "guiderail.yaml", "--json")
    assert ran.code == 3
    problem = ran.document["problems"][0]
    assert ran.document == {
        "file": "guiderail.yaml",
        "usable": False,
        "version": None,
        "receivers": {},
        "remediations": {},
        "errors": 1,
        "warnings": 0,
        "problems": [problem],
    }
    assert (problem["level"], problem["line"], problem["column"]) == ("error", 2, 1)
    assert problem["field"] == "x"


@pytest.mark.parametrize(
    ("content", "told"),
    [
        (None, "guiderail.yaml: No such file"),
        (b"\xff\xfe\x00", "guiderail.yaml:1: not UTF-8 text"),
        (b"version: 1\n\xe9\n", "guiderail.yaml:2: not UTF-8 text"),
        (b"a" * 10_000_000, "the file has 10000000 bytes, the limit is 1048576"),
    ],
)
def test_check_of_what_cannot_be_read(run: Guiderail, content: bytes | None, told: str) -> None:
    Path("guiderail.yaml").unlink()
    if content is not None:
        Path("guiderail.yaml").write_bytes(content)
    ran = run("check", "guiderail.yaml")
    assert (ran.code, ran.out) == (3, "")
    assert ran.err.startswith("guiderail policy check: ")
    assert told in ran.err


def test_a_folder_is_no_policy(run: Guiderail) -> None:
    assert run("check", ".").code == 3


# --- explain

DRIFT = ("--endpoint", "loans", "--check", "baseline_drift_check", "--feature", "zip_code")


def test_explain_names_the_line_of_each_value(run: Guiderail) -> None:
    ran = run("explain", "guiderail.yaml", *DRIFT, "--json")
    assert ran.code == 0
    values = ran.document["values"]
    assert values["threshold"] == {"is": "0.3", "rule": "zip codes move", "line": 7}
    assert values["labels.team"] == {"is": "growth", "rule": "zip codes move", "line": 8}
    assert values["for"] == {"is": "2 of 3", "rule": "defaults", "line": 2}
    assert values["severity"] == {"is": "warning", "rule": "built in", "line": None}
    (route,) = ran.document["routes"]
    assert (route["name"], route["line"], route["receiver"]) == ("growth", 15, "ops")
    assert route["group"] == {"endpoint": "loans", "team": "growth"}
    assert ran.document["labels"]["feature_group"] == "addresses"


def test_explain_in_words(run: Guiderail) -> None:
    ran = run("explain", "guiderail.yaml", *DRIFT)
    assert ran.code == 0
    words = " ".join(ran.out.split())
    assert "threshold 0.3 zip codes move (guiderail.yaml:7)" in words
    assert "zip_code belongs to the feature group addresses." in words
    assert "fires on the same endpoint: broken run or schema hides drift and quality" in words
    assert "Route growth (line 15) tells ops; one message for endpoint=loans, team=growth" in words
    assert "only within office; boss after 1 h if nobody acknowledges." in words
    assert "asks for tags; name them with --tag" in words


REACHED = """\
version: 1
routes:
  receiver: ops
  at_most: {messages: 20, within: 2h}
  escalation: [{after: 1h, receiver: boss}]
receivers:
  ops:
    channels:
      - webhook: {secret: guiderail/ops}
      - webhook: {secret: guiderail/spare}
        name: the spare one
    fallback: boss
  boss:
    channels: [pagerduty: {secret: guiderail/pager}]
  quiet: {}
"""


def test_check_tells_how_receivers_are_reached(run: Guiderail) -> None:
    write(REACHED)
    assert run("check", "guiderail.yaml").out.splitlines()[1:-1] == [
        "ops is reached over ops/webhook, the spare one (webhook); if a channel is given up: "
        "boss (boss/pagerduty), then the stack's topic",
        "boss is reached over boss/pagerduty; if a channel is given up: the stack's topic",
    ]
    receivers = run("check", "guiderail.yaml", "--json").document["receivers"]
    assert receivers["ops"]["channels"][1] == {"name": "the spare one", "kind": "webhook"}
    assert receivers["ops"]["fallbacks"] == ["boss"]
    assert receivers["quiet"] == {"channels": [], "fallbacks": []}


def test_explain_tells_how_receivers_are_reached(run: Guiderail) -> None:
    write(REACHED)
    told = " ".join(run("explain", "guiderail.yaml", *DRIFT).out.split())
    assert "beyond 20 within 2 h in a digest" in told
    assert "ops is reached over ops/webhook, the spare one (webhook); if a channel" in told
    assert (
        "boss is reached over boss/pagerduty; if a channel is given up: the stack's topic." in told
    )
    (route,) = run("explain", "guiderail.yaml", *DRIFT, "--json").document["routes"]
    assert [c["name"] for c in route["channels"]] == ["ops/webhook", "the spare one"]
    assert route["fallbacks"] == ["boss"]
    assert route["at_most"] == {"messages": 20, "within": 7200.0}
    (step,) = route["escalation"]
    assert step["channels"] == [{"name": "boss/pagerduty", "kind": "pagerduty"}]


MENDED = """\
version: 1
defaults: {remediation: retrain loans}
rules:
  - {name: lost quality, match: {check: LessThanThreshold}, set: {owner: risk}}
  - {name: fairness, match: {monitor: bias}, set: {remediation: tell somebody}}
remediations:
  retrain loans: {retrain: {pipeline: loans}, mode: auto}
  tell somebody: {ticket: {}, mode: auto}
"""


def test_check_tells_remediations(run: Guiderail) -> None:
    write(MENDED)
    assert run("check", "guiderail.yaml").out.splitlines()[:-1] == [
        "retrain loans: retrain, mode auto, for quality",
        "tell somebody: ticket, mode auto, for any cause",
    ]
    assert run("check", "guiderail.yaml", "--json").document["remediations"]["retrain loans"] == {
        "kind": "retrain",
        "mode": "auto",
        "causes": ["quality"],
    }


@pytest.mark.parametrize(
    ("finding", "name", "cause", "mode", "told"),
    [
        (("LessThanThreshold", "--metric=f1"), "retrain loans", "quality", "auto", "by itself"),
        (("baseline_drift_check",), "retrain loans", "drift", None, "it may act on quality"),
        (("bias_drift_check", "--facet=age"), "tell somebody", "bias", "ask", "asked first"),
    ],
)
def test_explain_tells_what_would_be_done(
    run: Guiderail, finding: tuple[str, ...], name: str, cause: str, mode: str | None, told: str
) -> None:
    write(MENDED)
    arguments = ("--endpoint=loans", "--check", *finding)
    proposed = run("explain", "guiderail.yaml", *arguments, "--json").document["remediation"]
    assert (proposed["name"], proposed["cause"], proposed["mode"]) == (name, cause, mode)
    words = " ".join(run("explain", "guiderail.yaml", *arguments).out.split())
    assert f"Remediation {name} (line {proposed['line']}): " in words
    assert told in words
    assert "guard rails may block it" in words


def test_explain_without_a_remediation(run: Guiderail) -> None:
    assert run("explain", "guiderail.yaml", *DRIFT, "--json").document["remediation"] is None
    assert "emediation" not in run("explain", "guiderail.yaml", *DRIFT).out


def test_explain_with_tags(run: Guiderail) -> None:
    ran = run("explain", "guiderail.yaml", *DRIFT, "--tag", "stage=dev", "--json")
    assert ran.document["values"]["severity"] == {"is": "info", "rule": "dev", "line": 11}
    assert not any("--tag" in sentence for sentence in ran.document["sentences"])


def test_explain_says_what_cannot_be_tightened(run: Guiderail) -> None:
    ran = run("explain", "guiderail.yaml", "--check", "data_type_check", "--feature", "a")
    assert "A threshold can loosen data_type_check, not tighten it: " in ran.out


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (("--check", "failed"), "no single monitor writes failed. Name one with --monitor"),
        ((*DRIFT, "--tag", "stage"), "'stage' is no tag. Write --tag stage=prod"),
    ],
)
def test_explain_refuses(run: Guiderail, arguments: tuple[str, ...], told: str) -> None:
    ran = run("explain", "guiderail.yaml", *arguments)
    assert ran.code == 3
    assert told in ran.err


def test_explain_of_an_unusable_file(run: Guiderail) -> None:
    write("version: 1\nx: 1\n")
    ran = run("explain", "guiderail.yaml", *DRIFT)
    assert ran.code == 3
    assert "guiderail.yaml:2:1: error: x: the key x is not known" in ran.err
    assert "guiderail.yaml has 1 error" in ran.err


# --- digest

SHADOW = Policy(
    rules=(
        Rule(
            name="try (it)",
            layer=Layer.RULE,
            line=7,
            match=Match(feature=("age",)),
            effect=Effect(shadow=True),
        ),
    )
)


@pytest.fixture
def cloud(monkeypatch: pytest.MonkeyPatch) -> Cloud:
    """Two schedules: shadow findings in three runs, one beside an incident that is open."""
    cloud = Cloud(policy=SHADOW)
    cloud.now = datetime.now(UTC) - timedelta(hours=3)
    monkeypatch.setattr(policy_commands, "connect", lambda *_: cloud.acts())
    return cloud


def judged(policy: Policy, feature: str = "age") -> Judgement:
    subject = Subject(feature=feature)
    labels = RunLabels(
        account=ACCOUNT,
        region=REGION,
        endpoint="loans",
        schedule="loans-hourly",
        monitor=MonitorKind.DATA_QUALITY,
    )
    reading = Reading(
        outcome=Outcome.VIOLATIONS,
        monitor=MonitorKind.DATA_QUALITY,
        reasons=(),
        findings=(finding(subject=subject),),
    )
    (judgement,) = judge(
        PolicyIndex(policy).for_run(labels), reading, ParsedRun(), datetime.now(UTC)
    )
    return judgement


def audit(cloud: Cloud, subject: str, at: datetime, *decisions: Decision, shadows: int) -> None:
    entry = AuditEntry(
        id=f"{at:%H%M%S}",
        subject=subject,
        at=at,
        actor="guiderail",
        what="run",
        counts={Reason.SHADOW.value: shadows},
        decisions=decisions,
        run={"schedule": "loans-hourly"},
    )
    cloud.store.audit_rows[subject, at, entry.id] = entry


def shadowed(incident: str, rule: str = "try (it)", line: int = 7) -> Decision:
    return Decision(
        about=incident,
        reason=Reason.SHADOW,
        text=f"age of {incident}",
        lines=("severity: other (line 3)", f"shadow: {rule} (line {line})"),
    )


def test_digest_adds_up_what_shadow_rules_would_have_done(run: Guiderail, cloud: Cloud) -> None:
    scope = scope_of("loans")
    cloud.run_ends(judged(Policy()), scope=scope)  # something is open: the ledger is listed
    for hours in (2, 1):
        at = datetime.now(UTC) - timedelta(hours=hours)
        audit(cloud, scope.ledger_id, at, shadowed("i1"), shadowed("i2"), shadows=5)
    old = datetime.now(UTC) - timedelta(days=9)
    audit(cloud, scope.ledger_id, old, shadowed("i3", "old"), shadows=1)
    ran = run("digest", "--json")
    assert ran.code == 0
    (rule,) = ran.document["rules"]
    assert (rule["rule"], rule["line"]) == ("try (it)", 7)
    assert (rule["findings"], rule["runs"]) == (4, 2)
    assert rule["incidents"] == ["i1", "i2"]
    assert rule["schedules"] == ["loans-hourly"]
    assert rule["first_at"] < rule["last_at"]
    assert ran.document["left_out"] == 6
    words = " ".join(run("digest", "--since", "30d").out.split())
    assert "try (it)" in words
    assert "old" in words
    assert "6 findings more stand in the audit as a number only" in words


def test_digest_of_schedules_that_are_named(
    run: Guiderail, cloud: Cloud, monkeypatch: pytest.MonkeyPatch
) -> None:
    scope = scope_of("loans")
    audit(cloud, scope.ledger_id, datetime.now(UTC), shadowed("i1"), shadows=1)
    assert run("digest", "--json").document["rules"] == []
    monkeypatch.setattr(shadow_digest, "ledgers_of_schedules", lambda _: (scope.ledger_id,))
    (rule,) = run("digest", "--schedule", "loans-hourly", "--json").document["rules"]
    assert rule["findings"] == 1


def test_digest_reads_what_a_run_leaves(run: Guiderail, cloud: Cloud) -> None:
    scope = scope_of("loans")
    cloud.run_ends(judged(SHADOW, "age"), judged(SHADOW, "income"), scope=scope)
    (rule,) = run("digest", "--json").document["rules"]
    assert (rule["rule"], rule["line"], rule["findings"]) == ("try (it)", 7, 1)
    assert rule["newest"].startswith("age: baseline_drift_check: observed 0.42")


def test_digest_without_shadow_rules(run: Guiderail, cloud: Cloud) -> None:
    assert run("digest").out.startswith("no shadow rule would have done anything since ")


@pytest.mark.parametrize("since", ["soon", "0s", "-1d", "1w"])
def test_digest_refuses_a_span_that_is_none(run: Guiderail, cloud: Cloud, since: str) -> None:
    ran = run("digest", f"--since={since}")
    assert ran.code == 3
    assert f"{since!r} is no time span" in ran.err


@pytest.mark.parametrize(
    "command", ["check", "explain", "push", "pull", "history", "rollback", "digest"]
)
def test_help_has_an_example_and_the_exit_codes(run: Guiderail, command: str) -> None:
    shown = run(command, "--help").out
    assert f"Example: guiderail policy {command}" in shown
    assert "Exit codes: 0" in shown
    assert "--json" in shown
