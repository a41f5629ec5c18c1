"""``guiderail explain``: why a run, finding, incident, group or silence came to what it came to."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from datetime import datetime, timedelta
from typing import Annotated

import msgspec
import typer
from guiderail.errors import GuiderailError, NotFoundError
from guiderail.model.delivery import Delivery
from guiderail.model.incident import Incident, Ledger
from guiderail.model.message import Notification
from guiderail.model.notice import AuditEntry, Notice
from guiderail.ports import Deliveries, Incidents
from guiderail.rendering.wording import counted, printable
from guiderail.services.acts import Acts
from guiderail.services.explaining import (
    Explanation,
    Fact,
    Section,
    Told,
    explain_group,
    explain_incident,
    explain_run,
    explain_silence,
    moment,
)
from guiderail.services.labels import labels_match, labels_of
from msgspec.structs import replace
from rich.console import Console

from guiderail_cli.delivery_commands import answer_of, meaning_of
from guiderail_cli.incident_commands import (
    AsJson,
    PolicyBucket,
    Search,
    StackName,
    TableName,
    connect,
    connect_outbox,
    refusals,
    silence_of,
)
from guiderail_cli.printing import print_json

ENTRIES = 400
"""Audit entries that are read of one ledger, group or silence: more than two weeks of hourly runs."""

ALL_ENTRIES = 10_000
"""Those that are read for an older run: all that hourly runs leave in 400 days."""

MESSAGES = 5
"""Messages of a group whose deliveries are told: the newest ones."""

_AHEAD = timedelta(days=1)
_INDENT = "      "


def explain(
    name: Annotated[
        str,
        typer.Argument(
            metavar="NAME",
            help="Name or ARN of a processing job, or the id of an incident, group or silence "
            "(its beginning may be enough).",
        ),
    ],
    table: TableName = None,
    stack: StackName = "guiderail",
    policy_bucket: PolicyBucket = None,
    as_json: AsJson = False,
) -> None:
    """Tell in plain words what was decided, why, by which line of the policy, and who was told.

    Exit codes: 0 explained, 3 nothing is known under this name or the stores do not answer.

    Example: guiderail explain 9f31c0aa --json
    """
    with refusals("explain"):
        acts = connect(table, stack, policy_bucket)
        outbox = connect_outbox(table, stack)
        with Console(stderr=True).status("reading decisions"):
            explanation = explained(acts, outbox, name.strip(), acts.clock())
    if as_json:
        print_json(msgspec.to_builtins(explanation))
        return
    for line in lines_of(explanation):
        typer.echo(line)


def explained(acts: Acts, outbox: Deliveries, name: str, present: datetime) -> Explanation:
    """Find out what a name names, and explain it.

    Raises:
        NotFoundError: Nothing is known under this name.
        GuiderailError: Several incidents begin with it, or a store does not answer.
    """
    incidents = acts.incidents
    if name.startswith("arn:"):
        return _run(acts, outbox, name, present)
    if incidents.group(name):
        return _group(incidents, outbox, name, present)
    if any(entry.what == "silence" for entry in incidents.audit(name, 1)):
        return _silence(incidents, name, present)
    if name.startswith("silence-"):
        return _silence(incidents, silence_of(incidents.silences(present), name).id, present)
    # only what could be an incident's id is worth listing the incidents for
    if re.fullmatch(r"[0-9a-f-]+", name.lower()):
        if any(notice.group == name for notice in _waiting(incidents, present)):
            return _group(incidents, outbox, name, present)
        try:
            found = Search(incidents).one(name)
        except NotFoundError:
            pass
        else:
            return _incident(acts, outbox, found.ledger, found.incident, present)
    return _run(acts, outbox, _job_arn(name), present)


def _incident(
    acts: Acts, outbox: Deliveries, ledger: Ledger, incident: Incident, present: datetime
) -> Explanation:
    told = _told(acts.incidents, incident.groups.items(), present)
    explanation = explain_incident(
        ledger,
        incident,
        acts.incidents.audit(ledger.id, ENTRIES),
        told,
        acts.incidents.silences(present),
        acts.policies.current().policy.life_cycle,
        present,
    )
    return _with_deliveries(explanation, outbox, told)


def _run(acts: Acts, outbox: Deliveries, job_arn: str, present: datetime) -> Explanation:
    incidents = acts.incidents
    record = incidents.run(job_arn)
    if record is None:
        raise NotFoundError(
            f"nothing is known of {job_arn}",
            remedy="Is it the name of a processing job of this account and region, or an id that "
            "guiderail incidents list --all shows? Runs are kept for 90 days by default",
        )
    ledger_id = str(record.get("ledger", ""))
    ledger = incidents.ledger(ledger_id) if ledger_id else None
    trail = incidents.audit(ledger_id, ENTRIES) if ledger_id else ()
    if len(trail) == ENTRIES and not any(e.run.get("job_arn") == job_arn for e in trail):
        trail = incidents.audit(ledger_id, ALL_ENTRIES)
    groups = _groups_of(ledger, trail, job_arn)
    told = _told(incidents, groups.items(), present)
    life_cycle = acts.policies.current().policy.life_cycle
    silences = incidents.silences(present)
    explanation = explain_run(job_arn, record, trail, ledger, told, silences, life_cycle, present)
    return _with_deliveries(explanation, outbox, told)


def _groups_of(ledger: Ledger | None, trail: Sequence[AuditEntry], job_arn: str) -> dict[str, str]:
    groups: dict[str, str] = {}
    for entry in trail:
        if ledger and entry.run.get("job_arn") == job_arn:
            for decision in entry.decisions:
                if decision.about in ledger.incidents:
                    groups |= ledger.incidents[decision.about].groups
    return groups


def _group(
    incidents: Incidents, outbox: Deliveries, group_id: str, present: datetime
) -> Explanation:
    (told,) = _told(incidents, [(group_id, "")], present)
    explanation = explain_group(told, incidents.silences(present), present)
    return _with_deliveries(explanation, outbox, (told,))


def _with_deliveries(
    explanation: Explanation, outbox: Deliveries, told: Iterable[Told]
) -> Explanation:
    """An explanation that also tells whether the newest messages of its groups arrived."""
    facts: list[Fact] = []
    for group in told:
        ids = [i for entry in group.trail for i in entry.run.get("notifications", ())]
        for notification_id in ids[:MESSAGES]:
            notification = outbox.notification(notification_id)
            if notification:
                sent = outbox.deliveries_of(notification_id, notification.made_at)
                facts += (_delivered(notification, delivery) for delivery in sent)
    if not facts:
        return explanation
    section = Section("Deliveries", tuple(facts))
    return replace(explanation, sections=(*explanation.sections, section))


def _delivered(notification: Notification, delivery: Delivery) -> Fact:
    tries = f" after {counted(delivery.attempts, 'try', 'tries')}" if delivery.attempts else ""
    instead = f" in place of {delivery.fallback_for}" if delivery.fallback_for else ""
    answer = f": {answer}" if (answer := answer_of(delivery)) else ""
    next_try = delivery.next_attempt_at
    again = f"; tried again at {moment(next_try)}" if next_try else ""
    return Fact(
        text=printable(
            f"{delivery.channel}{instead}: {delivery.state}{tries}{answer}{again} "
            f"({notification.title}, delivery {delivery.id[:12]})"
        ),
        reason=delivery.reason,
        meaning=meaning_of(delivery),
        at=delivery.delivered_at or delivery.asked_at or delivery.made_at,
    )


def _silence(incidents: Incidents, silence_id: str, present: datetime) -> Explanation:
    silence = next((s for s in incidents.silences(present) if s.id == silence_id), None)
    hushed = [
        (ledger.scope, incident)
        for ledger in (Search(incidents).firing if silence else ())
        for incident in ledger.incidents.values()
        if silence
        and incident.state.is_firing
        and labels_match(silence.match, labels_of(ledger.scope, incident))
    ]
    trail = incidents.audit(silence_id, ENTRIES)
    return explain_silence(silence_id, silence, hushed, trail, present)


def _told(
    incidents: Incidents, groups: Iterable[tuple[str, str]], present: datetime
) -> tuple[Told, ...]:
    waiting = _waiting(incidents, present)
    return tuple(
        Told(
            id=key,
            route=route,
            group=incidents.group(key),
            trail=tuple(incidents.audit(key, ENTRIES)),
            waiting=tuple(n for n in waiting if n.group == key),
        )
        for key, route in groups
    )


def _waiting(incidents: Incidents, present: datetime) -> Sequence[Notice]:
    return incidents.due(present + _AHEAD).notices


def _job_arn(name: str) -> str:
    """A job's ARN, from the caller's partition, account and region; SageMaker writes it lower-case."""
    import boto3
    from guiderail.adapters.clients import translated

    try:
        with translated("GetCallerIdentity"):
            caller = boto3.client("sts").get_caller_identity()
    except GuiderailError as error:
        raise type(error)(str(error), remedy="Pass the job's ARN in place of its name") from error
    partition = str(caller["Arn"]).split(":")[1]
    region = boto3.Session().region_name
    account = caller["Account"]
    return f"arn:{partition}:sagemaker:{region}:{account}:processing-job/{name.lower()}"


# --- as text


def lines_of(explanation: Explanation) -> Iterable[str]:
    """An explanation as lines of text; the same policy lines again are not repeated."""
    yield printable(explanation.title)
    yield f"{explanation.kind} {explanation.id}"
    policy: tuple[str, ...] = ()
    for section in explanation.sections:
        yield ""
        yield section.heading
        for fact in section.facts:
            yield from _fact_lines(fact)
            if fact.about not in ("", explanation.id):
                yield f"{_INDENT}incident {fact.about}"
            if fact.policy and fact.policy != policy:
                yield f"{_INDENT}policy: {printable(_by_rule(fact.policy))}"
                policy = fact.policy


def _fact_lines(fact: Fact) -> Iterable[str]:
    head = []
    if fact.at:
        since = f"{moment(fact.since)} to " if fact.since else ""
        times = f" ({fact.times} times)" if fact.times > 1 else ""
        by = f", by {printable(fact.by)}" if fact.by not in ("", "guiderail") else ""
        head.append(f"{since}{moment(fact.at)}{times}{by}: ")
    if fact.reason:
        yield f"  {''.join(head)}{fact.reason}: {fact.meaning}"
        if fact.text:
            yield f"{_INDENT}{printable(fact.text)}"
    else:
        yield f"  {''.join(head)}{printable(fact.text)}"


def _by_rule(lines: Sequence[str]) -> str:
    """``threshold: night drift (line 12)`` of each value, gathered by rule."""
    fields: dict[str, list[str]] = {}
    for line in lines:
        field, _, source = line.partition(": ")
        fields.setdefault(source, []).append(field)
    return "; ".join(f"{source} sets {', '.join(names)}" for source, names in fields.items())
