"""Example notifications for the tests of all renderers: one of each kind, one hostile, one huge."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from guiderail.model.message import (
    INCIDENT_ANSWERS,
    REMEDIATION_ANSWERS,
    Distribution,
    Facts,
    Link,
    MessageKind,
    Notification,
    RemediationPart,
    Rendering,
    Reply,
    ReplyAction,
    Row,
    RowState,
    RunPart,
)
from guiderail.model.outcome import Direction, Reason
from guiderail.model.policy import ActionKind, Cause, RemediationMode, Severity
from guiderail.model.remediation import Gate, GateAnswer, RemediationState
from msgspec.structs import replace

NOW = datetime(2026, 11, 23, 15, 5, tzinfo=UTC)
BEGAN = NOW - timedelta(hours=6)
GROUP = "3d35fc3c9f5c4234869e7994"
EPISODE = "2026-11-23T09:05:00+00:00"
LEDGER = "0f1e2d3c4b5a69788796"
CONSOLE = "https://eu-west-1.console.aws.amazon.com"
RUNBOOK = "https://runbooks.loans.example/drift?step=1&team=risk"
COMMAND = (
    "aws sagemaker start-pipeline-execution --region eu-west-1 --pipeline-name "
    "arn:aws:sagemaker:eu-west-1:123456789012:pipeline/loan-risk-retraining "
    "--client-request-token guiderail-0f1e2d3c4b5a69788796-loan-risk-hourly "
    '--pipeline-parameters \'[{"Name": "Window", "Value": "2026-11-23T14:00:00Z"}]\''
)
REPLY_URL = "https://replies.lambda-url.eu-west-1.on.aws/r/"

HOSTILE_NAMES = (
    "<script>alert(1)</script>",
    "@channel",
    "<!here>",
    "[x](http://evil)",
    "*bold*",
    "line one\r\nBcc: everybody@evil.example\nline two",
    "invoice\u202egnp.exe",
    "http://evil.example/login?a=1&b=2",
    "evil.example",
    "mailto:ceo@evil.example",
    "<a href='https://evil.example'>Runbook</a>",
    "<https://evil.example|Acknowledge>",
    "<@U012AB3CD> &lt;b&gt; & \"quoted\" 'single'",
    "zero\u200bwidth\u2066hidden\u2069\x00\x1b[31m",
    "n" * 500,
)
"""Names that somebody may give a feature, an endpoint or a schedule to fool a reader."""


def news() -> Notification:
    """New findings of two checks, with all that can be said of them."""
    return Notification(
        id="notification-" + "1a" * 20,
        group=GROUP,
        route="loans",
        receiver="loans-oncall",
        kind=MessageKind.NEWS,
        reasons=(Reason.FIRST_SEEN,),
        severity=Severity.ERROR,
        title="2 findings: data quality of loan-risk-prod",
        subject="[Guiderail] 2 findings: data quality of loan-risk-prod",
        made_at=NOW,
        number=1,
        episode=EPISODE,
        place="data quality of loan-risk-prod",
        why=(
            "2 incidents are new since the run of 14:00.",
            "You get this because route loans sends endpoint loan-risk-* to loans-oncall.",
        ),
        rows=(
            Row(
                incident=f"{LEDGER}-aaaaaaaaaaaaaaaa",
                name="income",
                check="completeness_check",
                severity=Severity.ERROR,
                reason=Reason.FIRST_SEEN,
                state=RowState.FIRING,
                line="income: completeness_check: observed 91.4%, threshold 98%, bad below",
                news=True,
                endpoint="loan-risk-prod",
                facts=Facts(
                    observed=0.914,
                    threshold=0.98,
                    report_threshold=1.0,
                    unit="fraction",
                    direction=Direction.BELOW,
                    notes=("mean 41250.5 (baseline 38900.1)", "79 missing"),
                    trend=(0.991, 0.987, 0.983, 0.962, 0.941, 0.914),
                    first_seen=BEGAN,
                    times_seen=3,
                    description=(
                        "Data completeness requirement is not met. Expected: 100.0%. "
                        "Observed: Only 91.4%."
                    ),
                ),
            ),
            Row(
                incident=f"{LEDGER}-bbbbbbbbbbbbbbbb",
                name="debt_ratio",
                check="baseline_drift_check",
                severity=Severity.WARNING,
                reason=Reason.FIRST_SEEN,
                state=RowState.FIRING,
                line="debt_ratio: baseline_drift_check: observed 0.42, threshold 0.1, bad above",
                news=True,
                endpoint="loan-risk-prod",
                facts=Facts(
                    observed=0.42,
                    threshold=0.1,
                    unit="distance",
                    direction=Direction.ABOVE,
                    trend=(0.08, 0.12, 0.31, 0.42),
                    first_seen=BEGAN,
                    times_seen=3,
                ),
            ),
            Row(
                incident=f"{LEDGER}-cccccccccccccccc",
                name="age",
                check="data_type_check",
                severity=Severity.WARNING,
                reason=Reason.ACKNOWLEDGED,
                state=RowState.ACKNOWLEDGED,
                line="age: data_type_check: observed 99.1%, threshold 100%, bad below",
                endpoint="loan-risk-prod",
            ),
        ),
        firing=3,
        hidden=("1 inhibited_by: incident 0f1e2d3c4b5a69788796-dddddddddddddddd (failed)",),
        runs=(_run(),),
        owner="loans-ml",
        runbook=RUNBOOK,
        fingerprint={"endpoint": "loan-risk-prod", "monitor": "data_quality"},
        distributions=(
            Distribution(
                feature="debt_ratio",
                labels=("0 to 0.2", "0.2 to 0.4", "0.4 to 0.6", "0.6 to 1"),
                baseline=(0.4, 0.3, 0.2, 0.1),
                current=(0.1, 0.2, 0.3, 0.4),
            ),
        ),
        detail_type="IncidentOpened",
        attributes={
            "receiver": "loans-oncall",
            "route": "loans",
            "severity": "error",
            "reason": "first_seen",
            "endpoint": "loan-risk-prod",
            "monitor": "data_quality",
            "outcome": "violations",
        },
        detail={"group": GROUP, "outcome": "violations", "incident_count": 3},
    )


def _run() -> RunPart:
    return RunPart(
        outcome="violations",
        monitor="data_quality",
        endpoint="loan-risk-prod",
        schedule="loan-risk-hourly",
        window_start="2026-11-23T13:00:00Z",
        window_end="2026-11-23T14:00:00Z",
        rows=918,
        reasons=("violations_reported",),
        evidence=("The exit message speaks of 2 violations; the report lists 2.",),
        likely_cause=(
            "The feed looks broken: mend or re-ingest the data before anything is retrained on it."
        ),
        retraining=("Retraining: retraining_suggested (the feed has to be mended first)",),
        command=COMMAND,
        links=(
            Link(
                "Report",
                f"{CONSOLE}/s3/buckets/loan-reports?region=eu-west-1&prefix=monitoring/loan-risk-prod/",
            ),
            Link(
                "Job",
                f"{CONSOLE}/sagemaker/home?region=eu-west-1#/processing-jobs/loan-risk-hourly-1",
            ),
        ),
    )


def repeat() -> Notification:
    """The same again a day later: nobody answered."""
    known = news()
    return replace(
        known,
        id="notification-" + "2b" * 20,
        kind=MessageKind.REPEAT,
        reasons=(Reason.REPEAT_DUE,),
        title="still open: 2 findings: data quality of loan-risk-prod",
        subject="[Guiderail] still open: 2 findings: data quality of loan-risk-prod",
        made_at=NOW + timedelta(days=1),
        number=2,
        why=("Nobody acknowledged 2 incidents for 1 day.",),
        rows=tuple(replace(row, news=False, reason=Reason.REPEAT_DUE) for row in known.rows[:2]),
        firing=2,
        hidden=(),
        distributions=(),
        detail_type="IncidentRepeated",
    )


def resolved() -> Notification:
    """All is over."""
    known = news()
    return replace(
        known,
        id="notification-" + "3c" * 20,
        kind=MessageKind.RESOLVED,
        reasons=(Reason.RESOLVED,),
        title="resolved: data quality of loan-risk-prod",
        subject="[Guiderail] resolved: data quality of loan-risk-prod",
        made_at=NOW + timedelta(hours=5),
        number=3,
        why=("2 incidents are over after 2 clean runs in a row.",),
        rows=tuple(
            replace(row, state=RowState.OVER, reason=Reason.RESOLVED) for row in known.rows[:2]
        ),
        firing=0,
        over=2,
        hidden=(),
        runs=(
            replace(
                _run(),
                outcome="clean",
                reasons=("report_lists_no_violations",),
                evidence=(),
                likely_cause="",
                retraining=(),
                command="",
            ),
        ),
        distributions=(),
        detail_type="IncidentResolved",
    )


def acknowledged() -> Notification:
    """Somebody took it: only channels with incidents of their own hear of it."""
    known = news()
    return replace(
        known,
        id="notification-" + "4d" * 20,
        kind=MessageKind.ACKNOWLEDGED,
        reasons=(Reason.ACKNOWLEDGED,),
        title="acknowledged: 2 findings: data quality of loan-risk-prod",
        subject="[Guiderail] acknowledged: 2 findings: data quality of loan-risk-prod",
        made_at=NOW + timedelta(minutes=10),
        number=2,
        why=("slack:T0LOANS/U0ANNA acknowledged 2 incidents.",),
        rows=tuple(
            replace(row, state=RowState.ACKNOWLEDGED, reason=Reason.ACKNOWLEDGED, news=False)
            for row in known.rows[:2]
        ),
        firing=2,
        hidden=(),
        distributions=(),
        detail_type="IncidentAcknowledged",
    )


def remediation() -> Notification:
    """A retraining was started for it."""
    known = news()
    started = replace(
        _run(),
        retraining=(
            "Retraining: retraining_started",
            "started: arn:aws:sagemaker:eu-west-1:123456789012:pipeline/loan-risk-retraining/execution/x1",
        ),
        command="",
    )
    return replace(
        known,
        id="notification-" + "5e" * 20,
        kind=MessageKind.REMEDIATION,
        reasons=(Reason.REMEDIATION_STARTED,),
        title="retraining started: data quality of loan-risk-prod",
        subject="[Guiderail] retraining started: data quality of loan-risk-prod",
        made_at=NOW + timedelta(minutes=20),
        number=3,
        why=("The pipeline loan-risk-retraining was started for 1 incident.",),
        rows=(replace(known.rows[1], reason=Reason.REMEDIATION_STARTED, news=False),),
        firing=1,
        hidden=(),
        runs=(started,),
        distributions=(),
        detail_type="RemediationStarted",
    )


def digest() -> Notification:
    """What a route held back because it passed its rate limit."""
    return Notification(
        id="notification-" + "6f" * 20,
        group="digest-loans",
        route="loans",
        receiver="loans-oncall",
        kind=MessageKind.DIGEST,
        reasons=(Reason.DIGEST,),
        severity=Severity.CRITICAL,
        title="4 messages of route loans in one",
        subject="[Guiderail] 4 messages of route loans in one",
        made_at=NOW,
        why=("Route loans sent 30 messages within 1 hour, its limit; these 4 came after that.",),
        firing=4,
        owner="loans-ml",
        runbook=RUNBOOK,
        listed=(
            "[Guiderail] 2 findings: data quality of loan-risk-prod",
            "[Guiderail] failed: model quality of loan-risk-prod",
            "[Guiderail] no data: bias of loan-offers-prod",
            "[Guiderail] resolved: explainability of loan-offers-prod",
        ),
        detail_type="Digest",
    )


def test_message() -> Notification:
    """What ``guiderail notify test`` sends."""
    return Notification(
        id="notification-" + "70" * 20,
        group="test-loans",
        route="loans",
        receiver="loans-oncall",
        kind=MessageKind.TEST,
        reasons=(Reason.TEST_MESSAGE,),
        severity=Severity.INFO,
        title="this is how an alert of route loans arrives",
        subject="[Guiderail] TEST: this is how an alert of route loans arrives",
        made_at=NOW,
        episode=EPISODE,
        why=("Somebody ran guiderail notify test --route loans. Nothing is wrong.",),
        rows=(replace(news().rows[1], incident="test"),),
        firing=1,
        owner="loans-ml",
        runbook=RUNBOOK,
        detail_type="TestMessage",
    )


test_message.__test__ = False  # type: ignore[attr-defined]  # a builder, whatever pytest makes of its name


def hostile(names: tuple[str, ...] = HOSTILE_NAMES) -> Notification:
    """Every text that data or a report may bring is one of ``names``; ours are as they always are."""
    rows = tuple(
        Row(
            incident=f"{LEDGER}-{number:016x}",
            name=name,
            check=name,
            severity=Severity.CRITICAL,
            reason=Reason.FIRST_SEEN,
            state=RowState.FIRING,
            line=f"{name}: baseline_drift_check: observed 0.42, threshold 0.1",
            news=True,
            endpoint=name,
            facts=Facts(
                observed=0.42,
                threshold=0.1,
                unit=name if number % 2 else None,
                direction=Direction.ABOVE,
                notes=(f"moved in rank: {name} 9 to 1",),
                trend=(0.1, 0.2, 0.42),
                first_seen=BEGAN,
                times_seen=2,
                description=name,
            ),
        )
        for number, name in enumerate(names)
    )
    joined = " ".join(names)
    return replace(
        news(),
        id="notification-" + "81" * 20,
        severity=Severity.CRITICAL,
        title=f"1 finding: data quality of {joined}",
        subject="[Guiderail] 1 finding: data quality of ?script?",
        place=f"data quality of {joined}",
        why=tuple(f"{name} is new." for name in names),
        rows=rows,
        firing=len(rows),
        hidden=tuple(f"1 silenced: silence s1 of {name}" for name in names),
        runs=tuple(
            RunPart(
                outcome="violations",
                monitor="data_quality",
                endpoint=name,
                schedule=name,
                window_start=name,
                window_end=name,
                rows=918,
                reasons=("violations_reported",),
                evidence=(f"The job ended with: {name}",),
                likely_cause=f"Look at {name}.",
                retraining=(f"Retraining: retraining_off ({name})",),
                links=(Link("Job", f"{CONSOLE}/sagemaker/home#/processing-jobs/x"),),
            )
            for name in names[:5]
        ),
        owner=joined,
        runbook=f"javascript:alert('{names[0]}')",
        fingerprint={"endpoint": names[0]},
        distributions=(
            Distribution(
                feature=names[0], labels=names[:2], baseline=(1.0, 0.0), current=(0.5, 0.5)
            ),
        ),
        listed=(),
    )


def huge() -> Notification:
    """As much of everything as telling ever puts into one message."""
    known = news()
    long = "The statistics file could not be read: " + "a very long sentence about it, " * 60
    return replace(
        known,
        id="notification-" + "92" * 20,
        title="320 incidents: " + "data quality of a place with a long name " * 12,
        rows=tuple(
            replace(
                known.rows[number % 3],
                incident=f"{LEDGER}-{number:016x}",
                name=f"feature_{number:03d}_{'with_a_long_name_' * 12}",
                line=f"feature_{number:03d}: " + "observed more than it should be; " * 45,
                count=1 + number % 4,
            )
            for number in range(20)
        ),
        more=300,
        firing=320,
        why=tuple(f"Sentence {number}: {long}" for number in range(5)),
        hidden=tuple(f"{number} silenced: {long}" for number in range(5)),
        runs=tuple(
            replace(
                _run(),
                endpoint=f"loan-risk-{number}",
                schedule=f"loan-risk-hourly-{number}",
                reasons=("violations_reported",) * 5,
                evidence=(long,) * 20,
                likely_cause=long[:1500],
                retraining=(long,) * 5,
                command=COMMAND + " " + "x" * 3000,
            )
            for number in range(5)
        ),
        more_runs=95,
        owner="loans-ml " * 30,
        distributions=known.distributions * 5,
    )


REMEDIATION_ID = "20261123T150500-5c1fa2b3c4d5"


def _gate(gate: Gate, text: str, reason: Reason = Reason.GATE_PASSED) -> GateAnswer:
    return GateAnswer(gate=gate, passed=reason is Reason.GATE_PASSED, reason=reason, text=text)


def _part() -> RemediationPart:
    return RemediationPart(
        id=REMEDIATION_ID,
        action="retrain loans",
        kind=ActionKind.RETRAIN,
        mode=RemediationMode.ASK,
        state=RemediationState.ASKED,
        reason=Reason.REMEDIATION_ASKED,
        target="endpoint/loan-risk-prod",
        cause=Cause.QUALITY,
        parameters=(
            ("pipeline", "loans-retrain"),
            ("parameters/InputData", "s3://loan-reports/monitoring/loan-risk-prod/2026/11/23/14"),
            ("parameters/ApiKey", "(not shown)"),
            ("wait_for_model", "yes"),
        ),
        cost=12.5,
        gates=(
            _gate(Gate.KILL_SWITCH, ""),
            _gate(Gate.ACTION, "retrain endpoint/loan-risk-prod"),
            _gate(Gate.INCIDENT, "1 of 1 still fire"),
            _gate(Gate.CAUSE, "quality"),
            _gate(Gate.FREEZE, ""),
            _gate(Gate.ATTEMPTS, "0 of 1 attempts in this episode"),
            _gate(Gate.COOLDOWN, "nothing was started on it within 31 days"),
            _gate(Gate.BUDGET, "0 of 2 a hour, 1 of 6 a day, 4 of 60 a month"),
            _gate(Gate.COST, "$50.00 spent + $12.50 of $500.00 a month, as estimated"),
            _gate(Gate.BLAST_RADIUS, "0 other targets are under change, 2 may be at once"),
            _gate(Gate.LOCK, ""),
            _gate(Gate.MODE, "ask"),
            _gate(Gate.APPROVAL, "nobody approved it yet", Reason.APPROVAL_NEEDED),
        ),
        expires_at=NOW + timedelta(days=1),
        approvals_needed=2,
        next_step="Approve or reject it",
        command=f"guiderail remediation approve {REMEDIATION_ID}",
    )


def proposal() -> Notification:
    """A remediation asks for approval."""
    known = news()
    title = "retrain loans asks for your approval: loan-risk-prod"
    row = replace(
        known.rows[0],
        name="f1",
        check="LessThanThreshold",
        line="f1: LessThanThreshold: last observed 0.71, threshold 0.8; in 3 runs since 2026-11-23 09:05 UTC",
        news=False,
        facts=Facts(
            observed=0.71,
            threshold=0.8,
            direction=Direction.BELOW,
            trend=(0.83, 0.79, 0.74, 0.71),
            first_seen=BEGAN,
            times_seen=3,
        ),
    )
    return replace(
        known,
        id="notification-" + "a3" * 20,
        kind=MessageKind.PROPOSAL,
        reasons=(Reason.REMEDIATION_ASKED,),
        title=title,
        subject=f"[Guiderail] {title}",
        place="retrain endpoint/loan-risk-prod",
        why=(
            "Nothing stands in its way but a person's approval.",
            "It starts if two people approve it by 2026-11-24 15:05 UTC; otherwise nothing happens.",
            "Route loans sends it to loans-oncall.",
        ),
        rows=(row,),
        more=0,
        firing=1,
        over=0,
        hidden=(),
        runs=(),
        more_runs=0,
        distributions=(),
        remediation=_part(),
        detail_type="RemediationRequested",
        detail={},
    )


def blocked() -> Notification:
    """A gate said no, and nothing more happens by itself."""
    known = proposal()
    title = "retrain loans is blocked by cause: loan-risk-prod"
    no = "the cause is broken_feed; it may act on quality"
    gates = tuple(
        replace(answer, passed=False, reason=Reason.CAUSE_NOT_ELIGIBLE, text=no)
        if answer.gate is Gate.CAUSE
        else answer
        for answer in _part().gates
    )
    return replace(
        known,
        id="notification-" + "b4" * 20,
        reasons=(Reason.CAUSE_NOT_ELIGIBLE,),
        title=title,
        subject=f"[Guiderail] {title}",
        why=(
            "The likely cause is none that this action helps against.",
            f"In its way: cause: {no}.",
            "Route loans sends it to loans-oncall.",
        ),
        remediation=replace(
            _part(),
            mode=RemediationMode.AUTO,
            state=RemediationState.BLOCKED,
            reason=Reason.CAUSE_NOT_ELIGIBLE,
            cause=Cause.BROKEN_FEED,
            gates=gates,
            expires_at=None,
            approvals_needed=1,
            next_step="Mend the cause first: this action does not, or would make it worse",
            command="",
        ),
        detail_type="RemediationFinished",
    )


def not_proven() -> Notification:
    """The action ended well, and the next run was no better."""
    known = proposal()
    title = "retrain loans is not proven to have helped: loan-risk-prod"
    return replace(
        known,
        id="notification-" + "c5" * 20,
        reasons=(Reason.BASELINE_STALE,),
        title=title,
        subject=f"[Guiderail] {title}",
        why=(
            "The baseline in use is not the deployed model's, so clean runs prove nothing.",
            "Namely: the baseline in use is not the deployed model's: it was made for loan-risk/3.",
            "Route loans sends it to loans-oncall.",
        ),
        remediation=replace(
            _part(),
            state=RemediationState.NOT_PROVEN,
            reason=Reason.BASELINE_STALE,
            gates=(*_part().gates[:-1], _gate(Gate.APPROVAL, "approved by two people")),
            expires_at=None,
            approvals=("slack:T0RISK/U0ANA", "email:bea@loans.example"),
            handle="arn:aws:sagemaker:eu-west-1:123456789012:pipeline/loans-retrain/execution/x1y2z3",
            result=(
                (
                    "model_package_arn",
                    "arn:aws:sagemaker:eu-west-1:123456789012:model-package/loan-risk/4",
                ),
            ),
            next_step=(
                "Make a baseline of the deployed model and point the schedule at it: every later run is "
                "compared with the wrong one until then. The incident stays open and nothing is tried a "
                "second time by itself"
            ),
            command=f"guiderail remediation start {LEDGER}-aaaaaaaaaaaaaaaa --action 'retrain loans'",
        ),
        detail_type="RemediationFinished",
    )


def proven() -> Notification:
    """It helped: only channels that keep an incident of their own are told."""
    known = not_proven()
    title = "retrain loans worked: loan-risk-prod"
    assert known.remediation is not None
    return replace(
        known,
        id="notification-" + "d6" * 20,
        kind=MessageKind.REMEDIATION,
        reasons=(Reason.REMEDIATION_PROVEN,),
        title=title,
        subject=f"[Guiderail] {title}",
        why=(
            "Clean runs after it prove that it helped.",
            "Namely: clean runs came after it; the baseline is that of loan-risk/4.",
            "Route loans sends it to loans-oncall.",
        ),
        rows=tuple(replace(row, state=RowState.OVER) for row in known.rows),
        firing=0,
        over=1,
        remediation=replace(
            known.remediation,
            state=RemediationState.PROVEN,
            reason=Reason.REMEDIATION_PROVEN,
            next_step="",
            command="",
        ),
    )


def hostile_proposal(names: tuple[str, ...] = HOSTILE_NAMES) -> Notification:
    """A proposal in which every text that an operator or a service may bring is one of ``names``."""
    joined = " ".join(names)
    return replace(
        hostile(names),
        id="notification-" + "e7" * 20,
        kind=MessageKind.PROPOSAL,
        title=f"{joined} asks for your approval: {joined}",
        runs=(),
        distributions=(),
        remediation=replace(
            _part(),
            action=joined,
            target=f"endpoint/{names[0]}",
            parameters=tuple((name[:64], name) for name in names),
            gates=tuple(
                _gate(gate, names[number % len(names)], Reason.GATE_NOT_EVALUATED)
                for number, gate in enumerate(Gate)
            ),
            approvals=names,
            handle=names[0],
            result=tuple((name[:64], name) for name in names),
            next_step=joined,
            command=f"guiderail remediation approve '{names[0]}'",
        ),
    )


def huge_proposal() -> Notification:
    """As much of everything as a proposal ever has."""
    known = huge()
    long = "as much as a gate ever says, " * 8
    return replace(
        known,
        id="notification-" + "f8" * 20,
        kind=MessageKind.PROPOSAL,
        runs=(),
        more_runs=0,
        distributions=(),
        remediation=replace(
            _part(),
            action="retrain_" * 12,
            target="endpoint/" + "n" * 240,
            parameters=tuple((f"parameter{number}.{'x' * 50}", "v" * 250) for number in range(21)),
            gates=tuple(_gate(gate, long, Reason.GATE_NOT_EVALUATED) for gate in Gate),
            approvals=("slack:T0RISK/U0ANA",) * 20,
            handle="h" * 256,
            result=tuple((f"result{number}", "w" * 250) for number in range(20)),
            next_step="do this, " * 60,
            command="guiderail remediation start " + "x" * 1200,
        ),
    )


def replies(*actions: ReplyAction) -> tuple[Reply, ...]:
    """One way to answer of each kind, by default those to incidents; the tokens are opaque."""
    return tuple(
        Reply(action=action, token=f"token{number}", url=f"{REPLY_URL}token{number}")
        for number, action in enumerate(actions or INCIDENT_ANSWERS)
    )


def answerable(case: str = "news") -> Rendering:
    """What most renderings are given: replies that fit, no pictures, no raw values."""
    return fitting(CASES[case]())


def fitting(notification: Notification) -> Rendering:
    """The same for any notification."""
    part = notification.remediation
    if part is None:
        return Rendering(replies=replies())
    asks = part.state is RemediationState.ASKED
    return Rendering(replies=replies(*REMEDIATION_ANSWERS)) if asks else Rendering()


REMEDIATIONS = {
    "proposal": proposal,
    "blocked": blocked,
    "not_proven": not_proven,
    "proven": proven,
    "hostile_proposal": hostile_proposal,
    "huge_proposal": huge_proposal,
}
"""Those of a remediation's own."""

CASES = {
    "news": news,
    "repeat": repeat,
    "resolved": resolved,
    "acknowledged": acknowledged,
    "remediation": remediation,
    "digest": digest,
    "test_message": test_message,
    "hostile": hostile,
    "huge": huge,
    **REMEDIATIONS,
}
"""All of them by name, for parametrised tests."""
