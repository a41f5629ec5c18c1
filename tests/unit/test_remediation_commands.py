"""``guiderail remediation``: what each command does, prints and refuses."""

from __future__ import annotations

import json
from datetime import timedelta

import pytest
from guiderail.model.incident import IncidentState
from guiderail.model.policy import ActionKind, GuardRails, RemediationAction, RemediationMode
from guiderail.model.remediation import ActionState, Gate, RemediationState
from guiderail_cli import remediation_commands
from guiderail_cli.remediation_commands import app
from typer.testing import CliRunner

from tests import builders as b
from tests.commands import Guiderail, Ran
from tests.fakes import scope_of
from tests.remediations import ANA, RETRAIN, RemediationCloud, policy_with, retrain

EVE = "arn:aws:iam::123456789012:user/eve"
PAUSE = RemediationAction(name="pause it", kind=ActionKind.PAUSE)


def cloud_of(*actions: RemediationAction, check: str = "LessThanThreshold") -> RemediationCloud:
    """A cloud with one incident whose rule names the retraining, and the gates asked."""
    cloud = RemediationCloud(policy_with(*actions, PAUSE))
    cloud.run_ends(b.judgement("income", check, remediation=RETRAIN))
    cloud.pass_time(minutes=2)
    return cloud


@pytest.fixture
def cloud() -> RemediationCloud:
    return cloud_of(retrain(RemediationMode.ASK))


@pytest.fixture
def run(cloud: RemediationCloud, monkeypatch: pytest.MonkeyPatch) -> Guiderail:
    """Run a command on the cloud's stores, as Eve."""
    return _runner(cloud, monkeypatch)


def _runner(cloud: RemediationCloud, monkeypatch: pytest.MonkeyPatch) -> Guiderail:
    monkeypatch.setenv("COLUMNS", "240")
    monkeypatch.setattr(remediation_commands, "connect", lambda *_, **__: cloud.remediation_acts())
    monkeypatch.setattr(remediation_commands, "caller", lambda _: (EVE, "cli@desk"))

    def invoke(*arguments: str) -> Ran:
        result = CliRunner().invoke(app, arguments)
        assert result.exception is None or isinstance(result.exception, SystemExit), result.exc_info
        cloud.machine.run()
        return Ran(result.exit_code, result.stdout, result.stderr)

    return invoke


def incident(cloud: RemediationCloud) -> str:
    (one,) = (i.id for i in cloud.all_incidents() if i.remediation)
    return one


def refused(ran: Ran, *words: str) -> bool:
    return ran.code == 3 and ran.err.count("\n") == 1 and all(word in ran.err for word in words)


# --- start and gates


def test_start_begins_what_a_rule_only_suggests(monkeypatch: pytest.MonkeyPatch) -> None:
    cloud = cloud_of(retrain(RemediationMode.SUGGEST))
    run = _runner(cloud, monkeypatch)
    assert cloud.only.state is RemediationState.SUGGESTED
    ran = run("start", incident(cloud)[:12], "--comment", "as agreed", "--json")
    assert ran.code == 0
    started = ran.document
    assert (started["action"], started["requested_by"]) == (RETRAIN, EVE)
    assert (started["state"], started["is_over"]) == ("requested", False)
    assert started["timeline"][0]["text"] == "as agreed"
    assert cloud.actions.begun == [started["id"]]


def test_start_of_another_action(run: Guiderail, cloud: RemediationCloud) -> None:
    ran = run("start", incident(cloud), "--action", "pause it")
    assert ran.code == 0
    assert "pause it (pause of schedule/" in ran.out
    (paused,) = (known for known in cloud.all if known.action == "pause it")
    assert f"guiderail remediation show {paused.id}" in ran.out
    assert paused.state is RemediationState.RECORDED


def test_a_dry_run_says_what_each_gate_says_and_starts_nothing(
    run: Guiderail, cloud: RemediationCloud
) -> None:
    before = cloud.all
    for command in (("start", incident(cloud), "--dry-run"), ("gates", incident(cloud))):
        ran = run(*command)
        assert ran.code == 0
        told = [line.split()[:2] for line in ran.out.splitlines()]
        assert all([gate.value, "yes"] in told for gate in Gate)
        assert "it would act at once" in ran.out
    assert cloud.all == before


def test_a_dry_run_of_what_is_blocked_exits_with_1(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    cloud = cloud_of(retrain(RemediationMode.AUTO), check="completeness_check")
    run = _runner(cloud, monkeypatch)
    ran = run("gates", incident(cloud), "--json")
    assert ran.code == 1
    assert (ran.document["blocked"], ran.document["blocked_by"]) == (True, "cause")
    answers = {answer["gate"]: answer for answer in ran.document["gates"]}
    assert list(answers) == list(Gate)
    assert answers["cause"]["reason"] == "cause_not_eligible"
    assert answers["mode"]["text"] == f"started by {EVE}"
    words = run("start", incident(cloud), "--dry-run")
    assert words.code == 1
    assert "it would be blocked by cause: cause_not_eligible" in words.out
    over = run("start", incident(cloud), "--dry-run", "--override", "cause", "--json")
    assert (over.code, over.document["blocked"]) == (0, False)
    assert cloud.actions.begun == []


def test_four_eyes_wait_for_another_person(monkeypatch: pytest.MonkeyPatch) -> None:
    cloud = cloud_of(retrain(RemediationMode.ASK, four_eyes=True))
    ran = _runner(cloud, monkeypatch)("gates", incident(cloud))
    assert ran.code == 0
    assert "nothing stands in its way; it would wait for approval" in ran.out


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (("--action", "no such"), "the policy has no remediation no such"),
        (("--override", "lock"), "gate lock cannot be overridden"),
        (("--override", "everything"), "everything"),
    ],
)
@pytest.mark.parametrize("command", ["start", "gates"])
def test_start_refuses(
    run: Guiderail, cloud: RemediationCloud, command: str, arguments: tuple[str, ...], told: str
) -> None:
    ran = run(command, incident(cloud), *arguments)
    assert ran.code in (2, 3)  # typer's own refusals become 3 in main
    assert told in ran.err
    assert len(cloud.all) == 1


def test_start_of_an_incident_that_no_rule_names_a_remediation_for(
    run: Guiderail, cloud: RemediationCloud
) -> None:
    cloud.run_ends(b.judgement("age"), scope=scope_of("other"))
    (plain,) = (i.id for i in cloud.all_incidents() if not i.remediation)
    assert refused(run("start", plain), "no rule names a remediation", "--action")
    assert refused(run("start", "ffffffff"), "no incident's id begins with")


# --- approve and reject


def test_approve_lets_it_go_on(run: Guiderail, cloud: RemediationCloud) -> None:
    ran = run("approve", cloud.only.id, "--comment", "labels checked")
    assert ran.code == 0
    assert f"approved by {EVE}" in ran.out
    assert f"guiderail remediation show {cloud.only.id}" in ran.out
    (approval,) = cloud.only.approvals
    assert (approval.by, approval.origin, approval.comment) == (EVE, "cli@desk", "labels checked")
    assert cloud.only.state is RemediationState.RUNNING


def test_approving_twice_is_one_approval(monkeypatch: pytest.MonkeyPatch) -> None:
    cloud = cloud_of(retrain(RemediationMode.ASK, four_eyes=True))
    run = _runner(cloud, monkeypatch)
    assert run("approve", cloud.only.id, "--json").document["changed"] is True
    assert run("approve", cloud.only.id, "--json").document["changed"] is False
    assert f"had been approved by {EVE}" in run("approve", cloud.only.id).out
    assert cloud.states() == [RemediationState.ASKED]
    cloud.remediation_acts().approve(cloud.only.id, ANA)
    cloud.machine.run()
    assert cloud.states() == [RemediationState.RUNNING]


def test_reject_ends_it(run: Guiderail, cloud: RemediationCloud) -> None:
    ran = run("reject", cloud.only.id, "--comment", "campaign week", "--json")
    assert ran.code == 0
    assert ran.document["remediation"]["state"] == "rejected"
    assert cloud.only.rejected_by == EVE
    assert cloud.actions.begun == []
    assert refused(run("approve", cloud.only.id), "is rejected")


@pytest.mark.parametrize("command", ["approve", "reject"])
def test_a_dry_run_decides_nothing(run: Guiderail, cloud: RemediationCloud, command: str) -> None:
    before = cloud.only
    ran = run(command, cloud.only.id, "--dry-run")
    assert ran.code == 0
    assert f"would be {command.rstrip('e')}ed by {EVE}" in ran.out
    assert cloud.only == before


@pytest.mark.parametrize("command", ["approve", "reject"])
@pytest.mark.parametrize("dry", [(), ("--dry-run",)])
def test_who_is_no_approver_decides_nothing(
    monkeypatch: pytest.MonkeyPatch, command: str, dry: tuple[str, ...]
) -> None:
    cloud = cloud_of(retrain(RemediationMode.ASK, approvers=("slack:*", "arn:*:user/bob")))
    run = _runner(cloud, monkeypatch)
    assert refused(run(command, cloud.only.id, *dry), EVE, "none of those", "approvers")
    assert cloud.only.state is RemediationState.ASKED


@pytest.mark.parametrize("command", ["approve", "reject"])
def test_nobody_names_themselves(run: Guiderail, cloud: RemediationCloud, command: str) -> None:
    assert run(command, cloud.only.id, "--by", "bob").code == 2
    assert cloud.only.state is RemediationState.ASKED


# --- show and history


def test_show_tells_gates_approvals_handle_result_and_timeline(
    run: Guiderail, cloud: RemediationCloud
) -> None:
    asked = run("show", cloud.only.id[:15]).out
    assert f"guiderail remediation approve {cloud.only.id}" in asked
    assert "may be approved until: " in asked
    run("approve", cloud.only.id, "--comment", "labels [checked]")
    cloud.actions.end(cloud.only.id, ActionState.FAILED, "the pipeline [Train] failed")
    cloud.pass_time(minutes=20)
    ran = run("show", cloud.only.id.partition("-")[2][:8])
    assert ran.code == 0
    for told in (
        f"{cloud.only.id}: {RETRAIN} (retrain of endpoint/{b.ENDPOINT}), failed",
        "action_failed: ",
        f"by {EVE} from cli@desk: labels [checked]",
        f"handle: handle-{cloud.only.id}",
        "cause: quality",
        incident(cloud),
        "the pipeline [Train] failed",
    ):
        assert told in ran.out
    rows = [line.split() for line in ran.out.splitlines()]
    assert ["kill_switch", "yes", "gate_passed"] in rows
    timeline = [row[3] for row in rows if row[2:3] == ["UTC"]]
    assert timeline == ["asked", "asked", "acting", "running", "failed"]


def test_show_as_json_has_no_token(run: Guiderail, cloud: RemediationCloud) -> None:
    assert cloud.only.token
    ran = run("show", cloud.only.id, "--json")
    assert cloud.only.token not in ran.out
    shown = ran.document
    assert not {"token", "seen", "changes", "version", "scope"} & shown.keys()
    assert (shown["endpoint"], shown["state"], shown["reason"]) == (
        b.ENDPOINT,
        "asked",
        "remediation_asked",
    )
    assert [answer["gate"] for answer in shown["gates"]] == list(Gate)
    assert shown["meaning"]


def test_show_of_what_is_suggested_says_how_to_do_it(monkeypatch: pytest.MonkeyPatch) -> None:
    cloud = cloud_of(retrain(RemediationMode.SUGGEST))
    run = _runner(cloud, monkeypatch)
    told = run("show", cloud.only.id).out
    assert f"guiderail remediation start {incident(cloud)} --action '{RETRAIN}'" in told


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("2026", "is too short"),
        ("20990101T000000-0123456789ab", "there is no remediation"),
        ("ffffffffff", "no remediation's id begins with"),
    ],
)
def test_show_of_what_is_not_there(run: Guiderail, text: str, told: str) -> None:
    assert refused(run("show", text), told)


def test_show_of_several_lists_them(run: Guiderail, cloud: RemediationCloud) -> None:
    run("start", incident(cloud), "--action", "pause it")
    first, second = cloud.all
    common = first.requested_at.strftime("%Y%m%d")
    assert refused(run("show", common), first.id, second.id, "Give more characters")


def test_history_lists_the_newest_first_with_switches_and_locks(
    run: Guiderail, cloud: RemediationCloud
) -> None:
    run("approve", cloud.only.id)
    cloud.pass_time(minutes=5)
    run("start", incident(cloud), "--action", "pause it")
    run("stop", "--endpoint", "cards", "--why", "moving [house]")
    ran = run("history", "--json")
    assert ran.code == 0
    listed = ran.document["remediations"]
    assert [one["action"] for one in listed] == ["pause it", RETRAIN]
    assert ran.document["stops"]["cards"]["why"] == "moving [house]"
    assert ran.document["locks"][f"endpoint/{b.ENDPOINT}"]["owner"] == listed[1]["id"]
    words = run("history").out
    assert words.index("pause it") < words.index(RETRAIN)
    assert "stopped: remediations of cards since " in words
    assert f"by {EVE}: moving [house]" in words
    assert f"locked: endpoint/{b.ENDPOINT} by {listed[1]['id']} until " in words


@pytest.mark.parametrize(
    ("options", "count"),
    [
        (("--endpoint", "loan-*"), 1),
        (("--endpoint", "cards"), 0),
        (("--state", "asked"), 1),
        (("--state", "proven", "--state", "failed"), 0),
        (("--since", "1h"), 0),
        (("--since", "1d"), 1),
    ],
)
def test_history_filters(
    run: Guiderail, cloud: RemediationCloud, options: tuple[str, ...], count: int
) -> None:
    cloud.now += timedelta(hours=2)
    assert len(run("history", *options, "--json").document["remediations"]) == count


def test_history_of_nothing(run: Guiderail, cloud: RemediationCloud) -> None:
    cloud.now += timedelta(days=40)
    assert run("history").out.startswith("no remediations since ")
    assert refused(run("history", "--since", "soon"), "'soon' is no time span")


# --- the kill switch


def test_stop_blocks_until_resume(monkeypatch: pytest.MonkeyPatch) -> None:
    cloud = RemediationCloud(policy_with(retrain(RemediationMode.AUTO)))
    run = _runner(cloud, monkeypatch)
    assert run("stop", "--endpoint", b.ENDPOINT, "--why", "moving").code == 0
    assert run("stop", "--all", "--why", "audit", "--json").document["scope"] == "*"
    cloud.run_ends(b.judgement("income", "LessThanThreshold", remediation=RETRAIN))
    cloud.pass_time(minutes=2)
    assert cloud.only.state is RemediationState.BLOCKED
    ran = run("resume", "--all")
    assert f"all remediations: resumed by {EVE}" in ran.out
    assert f"still stopped: remediations of {b.ENDPOINT}" in ran.out
    assert run("gates", incident(cloud)).code == 1
    assert run("resume", "--endpoint", b.ENDPOINT, "--why", "moved").code == 0
    assert run("gates", incident(cloud)).code == 0
    whys = [d.text for entry in cloud.store.audit_rows.values() for d in entry.decisions]
    assert {"moving", "audit", "moved"} <= {*whys}


def test_stop_tells_what_goes_on(run: Guiderail, cloud: RemediationCloud) -> None:
    run("approve", cloud.only.id)
    for scope in (("--all",), ("--endpoint", b.ENDPOINT)):
        told = run("stop", *scope, "--why", "x").out
        assert f"under way already, and going on: {cloud.only.id}" in told
    assert run("stop", "--endpoint=cards", "--why=x", "--json").document["under_way"] == []
    (one,) = (i for i in cloud.all_incidents() if i.remediation)
    assert one.state is IncidentState.REMEDIATING


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (("stop", "--why", "x"), "either --endpoint NAME or --all"),
        (("stop", "--why", "x", "--all", "--endpoint", "a"), "either --endpoint NAME or --all"),
        (("stop", "--why", "x", "--endpoint", "loan-*"), "'loan-*' is no endpoint's name"),
        (("stop", "--why", " ", "--all"), "--why is empty"),
        (("resume",), "either --endpoint NAME or --all"),
        (("resume", "--all"), "is not thrown"),
        (("resume", "--endpoint", "a", "--dry-run"), "is not thrown"),
    ],
)
def test_switches_refuse(
    run: Guiderail, cloud: RemediationCloud, arguments: tuple[str, ...], told: str
) -> None:
    assert refused(run(*arguments), told)
    assert cloud.store.guard_kept.stops == {}


def test_a_dry_run_throws_and_resets_nothing(run: Guiderail, cloud: RemediationCloud) -> None:
    assert "would be stopped" in run("stop", "--all", "--why", "x", "--dry-run").out
    assert cloud.store.guard_kept.stops == {}
    run("stop", "--all", "--why", "x")
    assert "would be resumed" in run("resume", "--all", "--dry-run").out
    assert [*cloud.store.guard_kept.stops] == ["*"]


# --- all of them


def test_a_budget_shows_in_the_gates(monkeypatch: pytest.MonkeyPatch) -> None:
    cloud = cloud_of(retrain(RemediationMode.ASK))
    cloud.in_force.policy = policy_with(
        retrain(RemediationMode.ASK), PAUSE, guard_rails=GuardRails(per_hour=1)
    )
    run = _runner(cloud, monkeypatch)
    run("start", incident(cloud), "--action", "pause it")
    ran = run("gates", incident(cloud), "--json")
    assert (ran.code, ran.document["blocked_by"]) == (1, "budget")


@pytest.mark.parametrize(
    "command", ["start", "gates", "approve", "reject", "show", "history", "stop", "resume"]
)
def test_help_has_an_example_and_the_exit_codes(run: Guiderail, command: str) -> None:
    shown = run(command, "--help").out
    assert f"Example: guiderail remediation {command}" in shown
    assert "Exit codes: 0" in shown
    assert "--json" in shown
    assert "--by" not in shown


def test_json_is_one_object_on_one_line(run: Guiderail, cloud: RemediationCloud) -> None:
    for arguments in (("show", cloud.only.id), ("history",), ("gates", incident(cloud))):
        (line,) = run(*arguments, "--json").out.splitlines()
        assert isinstance(json.loads(line), dict)
