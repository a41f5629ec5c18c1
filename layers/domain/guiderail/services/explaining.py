"""Why something was decided, in plain words: values and audit entries in, sentences out.

Pure: whoever explains fetches what is known and passes it. The same ``Explanation`` is printed as text
and as JSON, so that both say the same.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from itertools import groupby
from typing import Any

import msgspec

from guiderail.model.incident import Incident, IncidentState, Ledger, Scope, ledger_of
from guiderail.model.notice import AuditEntry, Decision, Group, Held, Notice, Silence
from guiderail.model.outcome import Outcome, Reason
from guiderail.model.policy import UNHEALTHY_CHECKS, LifeCycle
from guiderail.rendering.wording import counted, figure, printable
from guiderail.services.incident_cycle import clean_runs, runs_with_finding
from guiderail.services.upstream import UPSTREAM_CHECK

REASON_TEXTS: dict[Reason, str] = {
    Reason.IGNORED_MERGE_JOB: "The job joins ground truth to captured data and is no monitoring run.",
    Reason.IGNORED_BASELINING_JOB: "The job computes a baseline and is no monitoring run.",
    Reason.IGNORED_PIPELINE_CHECK_JOB: "The job is a check step of a SageMaker pipeline, which reports it itself.",
    Reason.IGNORED_AUTOPILOT_JOB: "The job belongs to an Autopilot experiment.",
    Reason.IGNORED_DEBUGGER_JOB: "The job is a Debugger rule of a training job.",
    Reason.IGNORED_ONE_OFF_CLARIFY_JOB: "The job is a Clarify analysis that somebody started by hand.",
    Reason.IGNORED_UNRELATED_JOB: "The job belongs to no monitoring schedule.",
    Reason.DUPLICATE_EVENT: "This run was recorded before; nothing was done again.",
    Reason.DEAD_LETTER: "The message waits in the dead-letter queue until somebody acts.",
    Reason.VIOLATIONS_REPORTED: "The report lists violations.",
    Reason.REPORT_LISTS_NO_VIOLATIONS: "The violations file was read and its list is empty.",
    Reason.CLARIFY_WROTE_NO_VIOLATIONS_FILE: "Clarify writes none where there are none; its analysis was read.",
    Reason.JOB_FAILED: "The job failed; the evidence is SageMaker's own reason.",
    Reason.JOB_STOPPED: "Somebody, or a time limit, stopped the job.",
    Reason.NO_INPUT_DATA: "The job found nothing to analyse.",
    Reason.NO_GROUND_TRUTH_DATA: "No labels were found for the window.",
    Reason.ZERO_ROWS: "The statistics count no row.",
    Reason.ROWS_BELOW_MINIMUM: "The run saw fewer rows than it takes to judge it.",
    Reason.ALL_METRICS_ZERO: "Every metric is 0.0 ± 0.0, which no model can have.",
    Reason.ALL_METRICS_EMPTY: "No metric has a value.",
    Reason.ALL_ATTRIBUTIONS_ZERO: "No feature has any attribution.",
    Reason.VIOLATIONS_FILE_MISSING: "The monitor should have written a violations file and did not.",
    Reason.VIOLATIONS_FILE_UNREADABLE: "The violations file is damaged, forbidden or too large.",
    Reason.STATISTICS_UNREADABLE: "The statistics file is damaged, forbidden or too large.",
    Reason.CONSTRAINTS_UNREADABLE: "The run's constraints file is damaged, forbidden or too large.",
    Reason.ANALYSIS_UNREADABLE: "The analysis file is damaged, forbidden or too large.",
    Reason.ANALYSIS_MISSING: "Clarify left neither violations nor an analysis.",
    Reason.NO_REPORT_FILES: "The report folder holds no file of a monitor.",
    Reason.NO_REPORT_LOCATION: "The job names no output, so there is no report to read.",
    Reason.REPORT_ACCESS_DENIED: "S3 refused a file of the report.",
    Reason.REPORT_TOO_LARGE: "A file of the report is over the size limit.",
    Reason.VIOLATION_COUNT_DISAGREES: "The report and the job's exit message count violations differently.",
    Reason.EXIT_MESSAGE_CONTRADICTS_REPORT: "The exit message reports violations, the report lists none.",
    Reason.JOB_STATE_UNKNOWN: "No description of the job was at hand.",
    Reason.ROWS_UNKNOWN: "No file says how many rows were analysed.",
    Reason.BASELINE_UNREADABLE: "A baseline file could not be read, so findings lack what it would tell.",
    Reason.MONITOR_KIND_FROM_IMAGE: "The container image told which monitor it is.",
    Reason.MONITOR_KIND_FROM_JOB_NAME: "The job's name told which monitor it is.",
    Reason.MONITOR_KIND_FROM_REPORT: "The report's files told which monitor it is.",
    Reason.MONITOR_KIND_FROM_JOB_DEFINITION: "The name of the job definition told which monitor it is.",
    Reason.MONITOR_KIND_FROM_ANALYSIS_CONFIG: "What Clarify was told to compute told which monitor it is.",
    Reason.MONITOR_KIND_ASSUMED: "Nothing told which monitor it is; data quality was assumed.",
    Reason.OWN_CONTAINER: "The image is neither SageMaker's analyzer nor Clarify.",
    Reason.SCHEDULE_NOT_FOUND: "The monitoring schedule was deleted since.",
    Reason.UNPARSED_FINDINGS: "A check or its wording is not known; its description stands as written.",
    Reason.PERCENTAGE_ASSUMED_FRACTION: "Nothing told whether a percentage is a fraction; a fraction was assumed.",
    Reason.PERCENTAGE_SETTLED_BY_STATISTICS: "The statistics told whether a percentage is a fraction.",
    Reason.PERCENTAGE_SETTLED_BY_SIBLING: "Another number of the report told whether a percentage is a fraction.",
    Reason.ATTRIBUTION_SCORE_DISAGREES: "The score recomputed from the two analyses is not the one reported.",
    Reason.COUNTS: "The finding is beyond its threshold and takes part in its incident.",
    Reason.WITHIN_THRESHOLD: "The value is within the policy's threshold, so the finding does not count.",
    Reason.BELOW_MIN_ROWS: "The run saw fewer rows than the policy asks for, so it proves nothing either way.",
    Reason.MUTED: "The policy mutes this finding until a given time.",
    Reason.SHADOW: "The rule runs in the shadow: it is recorded what it would do, and nobody is told.",
    Reason.UNHEALTHY_RUN: "The run itself is not healthy, so its findings prove nothing; it has its own incident.",
    Reason.FOUND_BY_POLICY: "The service saw no violation; the policy's tighter threshold and the files did.",
    Reason.TAGS_UNKNOWN: "The schedule's tags could not be read, so rules that ask for tags were left out.",
    Reason.WAITING_N_OF_M: "The finding is in fewer runs than its rule asks for, so nobody hears of it yet.",
    Reason.FIRST_SEEN: "This opened the incident.",
    Reason.REOPENED: "It came back soon after its end, so the same incident opened again.",
    Reason.SEVERITY_RAISED: "It is now more severe than when people last heard of it.",
    Reason.WORSENED: "It is much farther off than people last heard; an acknowledgement no longer holds.",
    Reason.SUPPRESSED_DUPLICATE: "The incident is open and people know of it, so this run adds no message.",
    Reason.WAITING_FOR_CLEAN_RUNS: "The finding is gone, but too few clean runs prove that it is over.",
    Reason.RESOLVED: "Enough clean runs in a row ended the incident.",
    Reason.RESOLVED_BY_HAND: "A person ended the incident.",
    Reason.ENDPOINT_CHANGED: "The schedule watches another endpoint now, so no run can prove anything more.",
    Reason.FLAPPING: "It opens and ends again and again; people are told so once, not at every turn.",
    Reason.FLAPPING_ENDED: "It no longer opens and ends again and again.",
    Reason.ACKNOWLEDGED: "A person has taken it on, so it is not repeated unless it gets worse.",
    Reason.ACKNOWLEDGEMENT_WITHDRAWN: "The acknowledgement was taken back; the incident is open again.",
    Reason.REMEDIATION_STARTED: "An attempt to fix it has started.",
    Reason.REMEDIATION_FINISHED: "The attempt to fix it is done; the next runs must prove it.",
    Reason.REMEDIATION_FAILED: "The attempt to fix it failed; a person is needed.",
    Reason.VERIFICATION_FAILED: "The finding is still there after the attempt to fix it.",
    Reason.WAITING_FOR_PROOF: "The attempt to fix it is done; this run's data is older and proves nothing.",
    Reason.LATE_RUN: "The run was read after later ones; it counts where it belongs and tells nothing new.",
    Reason.UPSTREAM_SUSPECTED: "The same feature is off on several endpoints, so its source is suspected.",
    Reason.NEW_FINDINGS: "The group was told because an incident in it is new or has changed.",
    Reason.REPEAT_DUE: "The group was told again because nobody has acted since the last message.",
    Reason.ESCALATED: "Nobody acknowledged in time, so the next receiver was told.",
    Reason.SILENCED: "A silence that somebody set matches, so nobody is told until it ends.",
    Reason.SILENCE_SET: "A person set a silence.",
    Reason.SILENCE_ENDED: "The silence is over.",
    Reason.INHIBITED_BY: "Another incident explains this one and hides it for as long as it lasts.",
    Reason.PART_OF_UPSTREAM: "An incident of the common source stands for this one.",
    Reason.OUTSIDE_HOURS: "The route is outside its active hours; the message waits for them.",
    Reason.WAITING_GROUP_WAIT: "The group's first message waits a moment for others to come with it.",
    Reason.WAITING_GROUP_INTERVAL: "The group was told a moment ago; changes wait for its next turn.",
    Reason.GROUPS_FOLDED: "A run made more groups than are told one by one, so they share one message.",
    Reason.DIGEST: "The route had sent as many messages as it may; what came after is told together.",
    Reason.TEST_MESSAGE: "Somebody tried whether messages arrive.",
    Reason.WAITING_FOR_DELIVERY: "It is in the outbox and was not tried yet.",
    Reason.DELIVERED: "The channel said that it has the message.",
    Reason.CHANNEL_BUSY: "The channel asked to wait; it is tried again then.",
    Reason.CHANNEL_FAILED: "The channel did not take it now; it is tried again.",
    Reason.CHANNEL_REFUSED: "The channel refuses it for good.",
    Reason.CHANNEL_GONE: "The policy has no such channel any more.",
    Reason.CIRCUIT_OPEN: "The channel is left alone for a while, as it failed too often or asked to wait.",
    Reason.GIVEN_UP: "It was tried as often, or as long, as the policy says.",
    Reason.SUPERSEDED: "A newer message of its group was delivered before; this one would undo it.",
    Reason.FALLBACK: "It stands in for a channel that was given up.",
    Reason.REPLAYED: "Somebody asked for it again.",
    Reason.ASSIGNED: "Somebody was given the incident.",
    Reason.MARKED_NOISE: "Somebody called the finding noise.",
    Reason.REPLY_DONE: "The answer did what it says.",
    Reason.REPLY_USED: "The link or button was used before.",
    Reason.REPLY_EXPIRED: "The link or button is too old.",
    Reason.REPLY_UNKNOWN: "No such link or button was made, or it was altered.",
    Reason.REPLY_FORBIDDEN: "The policy does not let this person answer.",
    Reason.REPLY_BAD_SIGNATURE: "The request does not bear Slack's signature.",
    Reason.REPLY_STALE: "Slack signed the request more than five minutes ago.",
    Reason.REPLY_TOO_LARGE: "The request is larger than any real one.",
    Reason.REPLY_MALFORMED: "The request is none that a link or button makes.",
    Reason.REPLY_REFUSED: "The state of the incident or remediation does not allow it.",
    Reason.GATE_PASSED: "The gate lets it pass.",
    Reason.SWITCHED_OFF: "Somebody stopped remediations here, and nobody has lifted that.",
    Reason.ACTION_UNKNOWN: "The policy has no such action any more, or it does another kind of thing.",
    Reason.INCIDENT_OVER: "Nothing that it is for fires any more.",
    Reason.CAUSE_NOT_ELIGIBLE: "The likely cause is none that this action helps against.",
    Reason.REPORT_DOUBTFUL: "The report is doubtful, so nothing acts on its word.",
    Reason.CHANGE_FREEZE: "It is a time in which the policy lets nothing be changed.",
    Reason.ATTEMPTS_USED: "It was tried as often as the policy allows for one episode of an incident.",
    Reason.COOLING_DOWN: "The same target was changed a short while ago.",
    Reason.BUDGET_USED: "As many remediations were started as the policy allows within that time.",
    Reason.COST_CEILING: "It would cost more, by its estimate, than the policy still allows this month.",
    Reason.TOO_MANY_TARGETS: "As many targets are under change as the policy allows at once.",
    Reason.TARGET_LOCKED: "Another remediation changes the same target.",
    Reason.ONLY_SUGGESTED: "The policy lets it be suggested only: a person has to start it.",
    Reason.APPROVAL_NEEDED: "A person has to approve it first.",
    Reason.ANOTHER_APPROVAL_NEEDED: "One person approved it; it takes another one.",
    Reason.STARTED_BY_HAND: "A person started it, or told this gate to let it pass.",
    Reason.GATE_NOT_EVALUATED: "The gate could not be asked, so it stays closed.",
    Reason.REMEDIATION_REQUESTED: "A remediation was requested; its gates are asked next.",
    Reason.REMEDIATION_SUGGESTED: "All gates would let it pass, and the policy lets it be suggested only.",
    Reason.REMEDIATION_ASKED: "Nothing stands in its way but a person's approval.",
    Reason.REMEDIATION_APPROVED: "It may act: all gates let it pass.",
    Reason.REMEDIATION_REJECTED: "A person rejected it.",
    Reason.APPROVAL_EXPIRED: "Nobody approved it in time, so nothing was done.",
    Reason.ACTION_STARTED: "The action has begun; its end is awaited.",
    Reason.ACTION_ENDED: "The action ended well; the next runs have to prove it.",
    Reason.ACTION_NOT_ENDED: "The event tells of a step on the way, not of the action's end.",
    Reason.NOBODY_WAITS: "No remediation waits for what the event tells of.",
    Reason.ACTION_REFUSED: "The action was refused when it was to begin, so nothing was done.",
    Reason.ACTION_FAILED: "The action failed.",
    Reason.ACTION_STOPPED: "Somebody stopped the action.",
    Reason.ACTION_TIMED_OUT: "The action did not end in time and is taken as failed.",
    Reason.LOCK_LOST: "Its target is no longer its own, so it did not act.",
    Reason.NOTHING_TO_PROVE: "It is done, and nothing has to prove it.",
    Reason.REMEDIATION_PROVEN: "Clean runs after it prove that it helped.",
    Reason.PROOF_TIMED_OUT: "Too few clean runs came in time to prove it.",
    Reason.BASELINE_STALE: "The baseline in use is not the deployed model's, so clean runs prove nothing.",
    Reason.BASELINE_UNKNOWN: "Nothing says whose baseline is in use, so clean runs prove nothing.",
    Reason.ENDPOINT_UNCHANGED: "The endpoint does not serve the model that was made.",
    Reason.DRIVER_FAILED: "A step of it could not be taken, so it was given up.",
    Reason.SWITCH_THROWN: "Somebody stopped remediations.",
    Reason.SWITCH_RESET: "Somebody lifted a stop of remediations.",
    Reason.POLICY_MISSING: "No policy is stored; the built-in one alerts on everything.",
    Reason.POLICY_UNREADABLE: "The stored policy cannot be read; the last good one, or the built-in one, holds.",
    Reason.RETRAINING_STARTED: "The retraining pipeline was started.",
    Reason.RETRAINING_SUGGESTED: "Retraining is suggested; the alert holds the command.",
    Reason.RETRAINING_OFF: "The retraining plan says off for this endpoint.",
    Reason.RETRAINING_NO_PIPELINE: "The retraining plan wants a pipeline that is not configured.",
    Reason.RETRAINING_LEFT_TO_REMEDIATIONS: "The policy has remediations; only they act.",
    Reason.RETRAINING_INCIDENT_KNOWN: "All its incidents are known, and those retrain nothing again.",
    Reason.RETRAINING_NO_FINDINGS: "There is nothing to retrain for.",
    Reason.RETRAINING_BLOCKED_UNHEALTHY_RUN: "The run is not healthy, so nothing is retrained on its word.",
    Reason.RETRAINING_BLOCKED_BROKEN_FEED: "The feed is broken, and retraining would learn broken data.",
    Reason.RETRAINING_BLOCKED_BIAS_NEEDS_HUMAN: "Bias is for a person to judge.",
    Reason.RETRAINING_BLOCKED_DOUBTFUL_REPORT: "The report is doubtful, so nothing is retrained on its word.",
    Reason.RETRAINING_BLOCKED_UNKNOWN_CAUSE: "Guiderail does not know this check, so nothing is retrained for it.",
    Reason.RETRAINING_REFUSED: "SageMaker refused to start the pipeline.",
}  # fmt: skip
"""One sentence per reason code, for people who have not read docs/reasons.md."""

OUTCOME_TEXTS: dict[Outcome, str] = {
    Outcome.VIOLATIONS: "the report was read and lists violations",
    Outcome.CLEAN: "the report was read and shows nothing wrong",
    Outcome.FAILED: "the monitoring job failed, so this window is unknown",
    Outcome.STOPPED: "the monitoring job was stopped, so this window is unknown",
    Outcome.NO_DATA: "there was no data to analyse",
    Outcome.NO_GROUND_TRUTH: "there were no labels, so quality is unknown",
    Outcome.TOO_FEW_ROWS: "there were too few rows to say anything",
    Outcome.DEGENERATE: "the metrics cannot be real",
    Outcome.UNREADABLE: "the report could not be read",
}
"""What an outcome means, as the end of a sentence."""


class Fact(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """One sentence, with the code and the policy lines behind it.

    Attributes:
        text: What is so, with its numbers.
        reason: The code, and ``meaning`` what it says, if there is one.
        about: Id of the incident that it is about, where that is not plain from the place.
        at: When; for ``times`` above 1 the last time, and ``since`` the first.
        by: Who decided: a person, or "guiderail".
        policy: Lines of the policy that set the values.
    """

    text: str
    reason: Reason | None = None
    meaning: str = ""
    about: str = ""
    at: datetime | None = None
    since: datetime | None = None
    times: int = 1
    by: str = ""
    policy: tuple[str, ...] = ()


class Section(msgspec.Struct, frozen=True):
    """Facts that belong together."""

    heading: str
    facts: tuple[Fact, ...]


class Explanation(msgspec.Struct, frozen=True, kw_only=True):
    """All that is known about one thing; ``kind`` is run, incident, group or silence."""

    kind: str
    id: str
    title: str
    sections: tuple[Section, ...]


class Told(msgspec.Struct, frozen=True):
    """A group as far as it is known, with its audit entries, newest first, and what waits for it."""

    id: str
    route: str
    group: Group | None
    trail: tuple[AuditEntry, ...] = ()
    waiting: tuple[Notice, ...] = ()


def explain_incident(
    ledger: Ledger,
    incident: Incident,
    trail: Sequence[AuditEntry],
    groups: Sequence[Told],
    silences: Sequence[Silence],
    life_cycle: LifeCycle,
    now: datetime,
) -> Explanation:
    """Tell an incident's story: how it stands, what was measured, how it was counted and who was told.

    Args:
        ledger: The ledger that holds the incident.
        incident: The incident.
        trail: Audit entries of the ledger, newest first.
        groups: The groups of the incident.
        silences: Silences that have not ended.
        life_cycle: The one in force now, for what is still needed.
        now: What "now" means in the sentences.
    """
    decided = _decisions(trail, incident.id, _Counts(ledger, life_cycle))
    return Explanation(
        kind="incident",
        id=incident.id,
        title=f"{incident.check} of {named(incident)} on {place(ledger.scope, incident)}",
        sections=(
            Section("How it stands", tuple(_standing(incident))),
            Section("What was measured", tuple(_measured(ledger, incident, decided))),
            Section("How it is counted", tuple(_counting(ledger, incident, life_cycle))),
            Section(
                "What was decided, oldest first", _collapsed(decided) or (Fact(text=_NOTHING_KEPT),)
            ),
            Section("Who was told", tuple(_telling(incident, groups, silences, now))),
        ),
    )


def explain_run(
    job_arn: str,
    record: Mapping[str, Any],
    trail: Sequence[AuditEntry],
    ledger: Ledger | None,
    groups: Sequence[Told],
    silences: Sequence[Silence],
    life_cycle: LifeCycle,
    now: datetime,
) -> Explanation:
    """Tell what a run was, what each of its findings came to, and who was told.

    Args:
        job_arn: ARN of the processing job.
        record: What is recorded of it, by attribute name, as ``Incidents.run`` gives it.
        trail: Audit entries of its ledger, newest first.
        ledger: Its ledger as it is now; None when it is not known.
        groups: Groups of the incidents that the run's decisions are about.
        silences: Silences that have not ended.
        life_cycle: The one in force now, for what is still needed.
        now: What "now" means in the sentences.
    """
    entries = [e for e in reversed(trail) if e.run.get("job_arn") == job_arn]
    counts = _Counts(ledger, life_cycle, of_one_run=True) if ledger else None
    found = [fact for entry in entries for fact in _of_entry(entry, counts)]
    incidents = [
        ledger.incidents[key]
        for key in dict.fromkeys(d.about for e in entries for d in e.decisions)
        if ledger and key in ledger.incidents
    ]
    sections = [
        Section("The run", tuple(_run_facts(record, entries))),
        Section("What became of its findings", tuple(found or _findings_of(record))),
    ]
    if incidents and ledger:
        facts = tuple(_state_now(ledger.scope, incident) for incident in incidents)
        sections.append(Section("Its incidents now", facts))
    sections.append(Section("Who was told", tuple(_groups_now(incidents, groups, silences, now))))
    return Explanation(
        kind="run",
        id=job_arn,
        title=f"run {job_arn.rpartition('/')[2]} of {_text(record, 'endpoint', 'schedule')}",
        sections=tuple(sections),
    )


def explain_group(told: Told, silences: Sequence[Silence], now: datetime) -> Explanation:
    """Tell what a notification group holds, when it told people, and what keeps it from telling more."""
    group = told.group
    known = [(group.route, group.labels)] if group else []
    known += [(notice.route, notice.group_labels) for notice in told.waiting]
    route, labels = known[0] if known else (told.route, None)
    route = route or "unknown"
    common = "labels that are not known" if labels is None else _pairs(labels)
    facts = [Fact(text=f"Route {route}; incidents share {common}.")]
    facts += _waiting(told, told.waiting, now)
    if group:
        facts += _group_facts(group, now)
        held = tuple(_held_fact(held, silences) for held in group.held.values())
    else:
        held = ()
    decided = [fact for entry in reversed(told.trail) for fact in _of_entry(entry)]
    return Explanation(
        kind="group",
        id=told.id,
        title=f"notification group of route {route}",
        sections=(
            Section("How it stands", tuple(facts)),
            Section("What it holds", held or (Fact(text="Nothing."),)),
            Section(
                "What was decided, oldest first", _collapsed(decided) or (Fact(text=_NOTHING_KEPT),)
            ),
        ),
    )


def explain_silence(
    silence_id: str,
    silence: Silence | None,
    hushed: Sequence[tuple[Scope, Incident]],
    trail: Sequence[AuditEntry],
    now: datetime,
) -> Explanation:
    """Tell whom a silence concerns, who set it and how long it holds.

    Args:
        silence_id: Id of the silence.
        silence: The silence, None when it has ended and only its audit entries are left.
        hushed: Incidents that fire now and that it matches.
        trail: Audit entries of the silence, newest first.
        now: What "now" means in the sentences.
    """
    facts = []
    if silence and silence.ends_at > now:
        facts.append(
            Fact(
                text=f"Set by {silence.author} at {moment(silence.starts_at)}; "
                f"it ends at {moment(silence.ends_at)}, in {span(silence.ends_at - now)}."
            )
        )
        if silence.comment:
            facts.append(Fact(text=f"Comment: {printable(silence.comment)}"))
    else:
        facts.append(Fact(text="It has ended; nothing is silenced by it."))
    matched = tuple(
        Fact(
            text=f"{i.check} of {named(i)} on {place(scope, i)}, {i.severity}, {i.state}",
            about=i.id,
        )
        for scope, i in hushed
    )
    decided = [fact for entry in reversed(trail) for fact in _of_entry(entry)]
    return Explanation(
        kind="silence",
        id=silence_id,
        title=f"silence of {_pairs(silence.match)}" if silence else "a silence that has ended",
        sections=(
            Section("How it stands", tuple(facts)),
            Section("What it silences now", matched or (Fact(text="No incident that fires now."),)),
            Section(
                "What was decided, oldest first", _collapsed(decided) or (Fact(text=_NOTHING_KEPT),)
            ),
        ),
    )


# --- words


def named(incident: Incident) -> str:
    """What an incident is about, as a person would name it."""
    if incident.check in UNHEALTHY_CHECKS:
        return "the run itself"
    return printable(str(incident.subject))


def place(scope: Scope, incident: Incident | None = None) -> str:
    """Where an incident is: its endpoint, else the feature group it stands for, else its schedule."""
    where = scope.endpoint or (incident.feature_group if incident else "") or scope.schedule
    return printable(where) or "an unnamed place"


def moment(at: datetime) -> str:
    """A time in UTC, to the second."""
    return at.astimezone(UTC).strftime("%Y-%m-%d %H:%M:%S UTC")


def span(time: timedelta) -> str:
    """How long something lasts, in its two largest units: ``2 d 4 h``, ``45 s``."""
    seconds = max(0, round(time.total_seconds()))
    parts = []
    for unit, length in (("d", 86400), ("h", 3600), ("min", 60), ("s", 1)):
        count, seconds = divmod(seconds, length)
        if count:
            parts.append(f"{count} {unit}")
    return " ".join(parts[:2]) or "0 s"


def seen_pattern(ledger: Ledger, incident: Incident) -> str:
    """The remembered runs, oldest first: x had it, . had not, ? could not say, - was not judged.

    For the incident of an unhealthy run every run counts, so none is left out as not judged.
    """
    every = incident.check in UNHEALTHY_CHECKS
    marks = []
    for run in ledger.runs:
        if run.stamp in incident.seen:
            marks.append("x")
        elif run.stamp in incident.unknown:
            marks.append("?")
        else:
            marks.append("." if every or run.judged else "-")
    return "".join(marks)


_NOTHING_KEPT = "No decision is on record; audit entries are kept for 400 days by default."


def _because(reason: Reason, text: str = "", **fields: Any) -> Fact:
    return Fact(text=printable(text), reason=reason, meaning=REASON_TEXTS[reason], **fields)


def _pairs(values: Mapping[str, str]) -> str:
    return printable(", ".join(f"{k}={v}" for k, v in sorted(values.items()))) or "everything"


def _text(record: Mapping[str, Any], *names: str) -> str:
    return next((printable(str(record[n])) for n in names if record.get(n)), "unknown")


def _reason(code: str, text: str = "", **fields: Any) -> Fact:
    """A fact from a recorded code, which another version may have written."""
    try:
        return _because(Reason(code), text, **fields)
    except ValueError:
        unknown = f"{code}: this version does not know the code. {text}".strip()
        return Fact(text=printable(unknown), **fields)


# --- an incident


def _standing(incident: Incident) -> Iterable[Fact]:
    since = f"first seen {moment(incident.first_seen)}"
    if incident.state.is_firing and incident.opened_at:
        is_open = incident.state is IncidentState.OPEN
        since = f"{'' if is_open else 'open '}since {moment(incident.opened_at)}"
    elif incident.state is IncidentState.RESOLVED and incident.changed_at:
        since = f"since {moment(incident.changed_at)}"
    flapping = ", flapping" if incident.flapping else ""
    state = incident.state.capitalize()
    yield _because(incident.reason, f"{state}{flapping}, severity {incident.severity}, {since}.")
    if incident.acknowledged_by:
        yield Fact(text=f"Acknowledged by {printable(incident.acknowledged_by)}.")
    for what, value in (
        ("Owner", incident.owner),
        ("Runbook", incident.runbook),
        ("Remediation", incident.remediation),
        ("Labels", _pairs(incident.labels) if incident.labels else ""),
        ("Feature group", incident.feature_group),
    ):
        if value:
            yield Fact(text=f"{what}: {printable(value)}.")
    if incident.members:
        yield Fact(text=f"It stands for {counted(len(incident.members), 'incident')}:")
        for member in incident.members:
            yield Fact(text="one of them", about=member)


def _measured(ledger: Ledger, incident: Incident, decided: Sequence[Fact]) -> Iterable[Fact]:
    unit = incident.unit
    lines = next((f.policy for f in reversed(decided) if f.policy), ())
    setter = next((line for line in lines if line.startswith("threshold: ")), "")
    if incident.observed is not None:
        yield Fact(
            text=f"Observed {figure(incident.observed, unit)}; {_thresholds(incident, setter)}.",
            policy=lines,
        )
    elif lines:
        yield Fact(text="There is no number to compare.", policy=lines)
    if incident.description:
        yield Fact(text=f"The report says: {printable(incident.description)}")
    if len(incident.values) > 1:
        values = ", ".join(figure(value, unit) for value in incident.values)
        yield Fact(text=f"Values, oldest first: {values} ({_trend(incident)}).")
    yield Fact(
        text=f"Seen {counted(incident.times_seen, 'time')}, first {moment(incident.first_seen)}, "
        f"last {moment(incident.last_seen)}; {counted(incident.occurrence, 'occurrence')}."
    )
    yield Fact(
        text=f"Schedule {printable(ledger.scope.schedule)}, account {ledger.scope.account}, "
        f"region {ledger.scope.region}."
    )


def _thresholds(incident: Incident, setter: str) -> str:
    service, effective = incident.service_threshold, incident.threshold
    own = f"the service's threshold is {figure(service, incident.unit)}"
    if setter:
        by = f"the policy's is {figure(effective, incident.unit)}, set by {setter.partition(': ')[2]}"
        return f"{own}, {by}" if service is not None else f"the service has none, {by}"
    if service is None and effective is None:
        return "there is no threshold"
    if service == effective or service is None:
        return f"the threshold is {figure(effective, incident.unit)}, the service's own"
    return f"{own}, the effective one is {figure(effective, incident.unit)}"


def _trend(incident: Incident) -> str:
    before, last = incident.values[-2], incident.values[-1]
    return "rising" if last > before else "falling" if last < before else "steady"


def _counting(ledger: Ledger, incident: Incident, life_cycle: LifeCycle) -> Iterable[Fact]:
    if incident.check == UPSTREAM_CHECK:
        yield Fact(text="It ends when none of the incidents it stands for fires any more.")
        return
    needed = incident.needed
    latest = max((run.stamp for run in ledger.runs), default=0)
    count = runs_with_finding(ledger.runs, incident, needed, latest)
    yield Fact(
        text=f"In {count} of the last {_runs(needed.of, incident)}; {needed.count} needed to open."
    )
    if pattern := seen_pattern(ledger, incident):
        yield Fact(
            text=f"Runs, oldest first: {pattern} (x had it, . had not, ? could not say, "
            "- was not judged)."
        )
    if incident.state.is_firing:
        clean = clean_runs(ledger.runs, incident)
        yield Fact(
            text=f"{counted(clean, 'clean run')} since it was last seen; "
            f"{life_cycle.resolve_after} in a row resolve it. Missing or unhealthy runs do not count."
        )
    elif incident.state is IncidentState.RESOLVED and incident.changed_at:
        until = incident.changed_at + timedelta(seconds=life_cycle.reopen_within)
        yield Fact(text=f"Seen again until {moment(until)}, it opens again; later it opens anew.")
    if incident.changes:
        yield Fact(
            text=f"Opened or ended {counted(len(incident.changes), 'time')} lately; "
            f"{life_cycle.flap_changes} times within {_hours(life_cycle.flap_window)} are flapping."
        )


def _hours(seconds: float) -> str:
    return span(timedelta(seconds=seconds))


# --- decisions


def _decisions(
    trail: Sequence[AuditEntry], incident: str, counts: _Counts | None = None
) -> list[Fact]:
    return [
        fact
        for entry in reversed(trail)
        for fact in _of_entry(entry, counts)
        if fact.about == incident
    ]


def _of_entry(entry: AuditEntry, counts: _Counts | None = None) -> Iterable[Fact]:
    for decision in entry.decisions:
        yield _decided(entry, decision, counts)
    for reason, count in entry.counts.items():
        more = count - sum(d.reason == reason for d in entry.decisions)
        # what waits is told with its group
        if more > 0 and reason != Reason.WAITING_GROUP_WAIT:
            yield _reason(
                reason, text=f"and {more} more that the audit entry only counts", at=entry.at
            )


def _decided(entry: AuditEntry, decision: Decision, counts: _Counts | None) -> Fact:
    words = [decision.text] if decision.text else []
    if counts and (then := counts.at(entry, decision)):
        words.append(f"({then})")
    job = str(entry.run.get("job_arn", "")).rpartition("/")[2]
    if job and not (counts and counts.of_one_run):
        words.append(f"(run {job})")
    if entry.origin:
        words.append(f"(from {entry.origin})")
    return _because(
        decision.reason,
        " ".join(words),
        about=decision.about,
        at=entry.at,
        by=entry.actor,
        policy=decision.lines,
    )


class _Counts(msgspec.Struct, frozen=True):
    """What was counted at the moment of a run that its ledger still remembers."""

    ledger: Ledger
    life_cycle: LifeCycle
    of_one_run: bool = False

    def at(self, entry: AuditEntry, decision: Decision) -> str:
        """The numbers behind a decision to wait; empty where there are none."""
        incident = self.ledger.incidents.get(decision.about)
        run = next((r for r in self.ledger.runs if r.key == entry.run.get("key")), None)
        if incident is None or run is None:
            return ""
        if decision.reason is Reason.WAITING_N_OF_M:
            needed = incident.needed
            count = runs_with_finding(self.ledger.runs, incident, needed, run.stamp)
            return f"in {count} of the last {_runs(needed.of, incident)}, {needed.count} needed"
        if decision.reason is Reason.WAITING_FOR_CLEAN_RUNS:
            seen = [s for s in (*incident.seen, *incident.unknown) if s <= run.stamp]
            until = [r for r in self.ledger.runs if r.stamp <= run.stamp]
            clean = clean_runs(
                until, msgspec.structs.replace(incident, seen=tuple(seen), unknown=())
            )
            return f"{counted(clean, 'clean run')}, {self.life_cycle.resolve_after} needed"
        return ""


def _runs(number: int, incident: Incident) -> str:
    return counted(number, "run" if incident.check in UNHEALTHY_CHECKS else "judged run")


def _collapsed(facts: Sequence[Fact]) -> tuple[Fact, ...]:
    """The same decision many times in a row becomes one fact, told by its last one."""
    told = []
    for _, same in groupby(facts, key=lambda f: (f.reason, f.about, f.by, f.policy)):
        run = list(same)
        last = run[-1]
        if len(run) > 1:
            last = msgspec.structs.replace(last, times=len(run), since=run[0].at)
        told.append(last)
    return tuple(told)


# --- who was told


def _telling(
    incident: Incident, groups: Sequence[Told], silences: Sequence[Silence], now: datetime
) -> Iterable[Fact]:
    if not groups and incident.state is IncidentState.PENDING:
        yield _because(incident.reason, "Nobody was told.")
    elif not groups:
        yield Fact(text="Nobody was told: no group took it up.")
    for told in groups:
        yield Fact(text=f"Group {told.id} of route {told.route}:")
        waiting = [n for n in told.waiting if any(e.incident == incident.id for e in n.entries)]
        yield from _waiting(told, waiting, now)
        held = _held_of(told.group, incident) if told.group else None
        if held:
            yield _held_fact(held, silences)
        elif told.group:
            yield Fact(text="It does not hold this incident now.")
        if told.group:
            yield from _group_facts(told.group, now)
        yield from _collapsed(_decisions(told.trail, incident.id))


def _waiting(told: Told, notices: Sequence[Notice], now: datetime) -> Iterable[Fact]:
    for notice in notices:
        due = f"until {moment(notice.due_at)}" if notice.due_at > now else "and is due now"
        began = told.group is not None and told.group.last_told_at is not None
        yield _because(
            Reason.WAITING_GROUP_INTERVAL if began else Reason.WAITING_GROUP_WAIT,
            f"News of {moment(notice.made_at)} waits {due}.",
        )
    if told.group is None and not notices:
        yield Fact(text="It is no longer kept.")


def _held_of(group: Group, incident: Incident) -> Held | None:
    """The incident's entry, or the one that it shares with others of a large run."""
    return group.held.get(incident.id) or group.held.get(f"{ledger_of(incident.id)}-rest")


def _groups_now(
    incidents: Sequence[Incident],
    groups: Sequence[Told],
    silences: Sequence[Silence],
    now: datetime,
) -> Iterable[Fact]:
    if not groups:
        yield Fact(text="Nobody: nothing of this run went to a group.")
    ids = {incident.id for incident in incidents}
    for told in groups:
        yield Fact(text=f"Group {told.id} of route {told.route}:")
        yield from _waiting(told, told.waiting, now)
        if told.group:
            yield from _group_facts(told.group, now)
            held = [h for key, h in told.group.held.items() if key in ids]
            yield from (_held_fact(h, silences) for h in held)


def _group_facts(group: Group, now: datetime) -> Iterable[Fact]:
    if group.last_told_at:
        yield Fact(
            text=f"Told {counted(group.messages, 'time')}, last at {moment(group.last_told_at)}."
        )
    else:
        yield Fact(text="Nobody has been told anything yet.")
    if group.escalated:
        yield _because(Reason.ESCALATED, f"{counted(group.escalated, 'escalation step')} taken.")
    if group.due_at:
        when = "is due" if group.due_at <= now else f"comes in {span(group.due_at - now)}"
        yield Fact(text=f"Its next turn {when}, at {moment(group.due_at)}.")


def _held_fact(held: Held, silences: Sequence[Silence]) -> Fact:
    entry = held.entry
    told = "people know" if held.told else "people do not know yet"
    text = f"{entry.line or entry.incident}: {told}"
    # what many incidents share is no incident's id
    about = "" if entry.incident.endswith("-rest") else entry.incident
    if held.hidden is None:
        return _because(entry.reason, f"{text}.", about=about)
    by = f" by {held.hidden_by}" if held.hidden_by else ""
    silence = next((s for s in silences if f"silence {s.id} " in f"{held.hidden_by} "), None)
    if silence:
        by += f" until {moment(silence.ends_at)}"
        by += f" ({silence.comment})" if silence.comment else ""
    return _because(held.hidden, f"{text}; held back{by}.", about=about)


# --- a run


def _run_facts(record: Mapping[str, Any], entries: Sequence[AuditEntry]) -> Iterable[Fact]:
    rows = record.get("rows")
    yield Fact(
        text=f"{_text(record, 'monitor').replace('_', ' ').capitalize()} of "
        f"{_text(record, 'endpoint')}, schedule {_text(record, 'schedule')}, window "
        f"{_text(record, 'window_start')} to {_text(record, 'window_end')}, "
        f"{'rows unknown' if rows is None else f'{rows} rows'}."
    )
    outcome = str(record.get("outcome", ""))
    known = OUTCOME_TEXTS.get(Outcome(outcome)) if outcome in list(Outcome) else None
    yield Fact(text=f"Outcome {outcome or 'unknown'}: {known or 'not known to this version'}.")
    for code in record.get("reasons") or ():
        yield _reason(str(code))
    for sentence in record.get("evidence") or ():
        yield Fact(text=f"Evidence: {printable(str(sentence))}")
    if record.get("retraining"):
        yield _reason(str(record["retraining"]))
    if record.get("report_uri"):
        yield Fact(text=f"Report: {_text(record, 'report_uri')}")
    versions = dict.fromkeys(e.policy_version for e in entries if e.policy_version)
    policy = ", ".join(versions) or _text(record, "policy_version")
    yield Fact(
        text=f"Judged by policy {printable(policy)}, recorded at {_text(record, 'recorded_at')}."
    )


def _findings_of(record: Mapping[str, Any]) -> Iterable[Fact]:
    """What the run's record counts, for a run that nothing was decided about or whose audit is gone."""
    count = int(record.get("finding_count") or 0)
    yield Fact(
        text=f"{counted(count, 'finding')} in the report, and no decision about one on record."
    )
    for code, number in (record.get("judgements") or {}).items():
        yield _reason(str(code), text=counted(int(number), "finding"))


def _state_now(scope: Scope, incident: Incident) -> Fact:
    flapping = ", flapping" if incident.flapping else ""
    by = f" by {printable(incident.acknowledged_by)}" if incident.acknowledged_by else ""
    return _because(
        incident.reason,
        f"{incident.check} of {named(incident)}: {incident.state}{by}{flapping}, "
        f"severity {incident.severity}, seen {counted(incident.times_seen, 'time')}",
        about=incident.id,
    )
