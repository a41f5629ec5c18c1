"""Plans of re-ingestions: which objects, in which of three ways, and why. Pure; reads no records.

What is guaranteed about event times: records of one object are written in the object's order, and objects of
the way ``lambda`` in the order of their keys. Objects of the other ways are written side by side. That harms
nothing: Feature Store's online store keeps, per identifier, the record with the newest event time, whatever
order they come in, and its offline store keeps them all (API reference, PutRecord).
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from enum import StrEnum
from typing import Any

import msgspec

from guiderail.errors import NotFoundError, RejectedRequestError
from guiderail.model.identity import digest
from guiderail.model.ingestion import FileFormat, format_of

FORMATS = ("auto", *FileFormat)

DEFAULT_RATE = 2000.0
"""Records per second into one feature group, where the policy names no rate: a fifth of the service's default
quota of 10,000 requests per second and API, were each record a request of its own."""

MOST_OBJECTS = 100_000
"""Objects of one re-ingestion; more are refused."""

LAMBDA_OBJECTS, LAMBDA_BYTES = 50, 64 * 1024**2
"""Up to these, one Lambda call after the other does it."""

MAP_OBJECTS, MAP_BYTES = 10_000, 16 * 1024**3
"""Up to these, Lambda calls side by side do it; above, a Processing job, if it has an image."""

MOST_WORKERS = 40
"""Lambda calls side by side; a new account may run some hundreds at once, for everything."""

RATE_OF_A_WORKER = 250.0
"""Records per second that make another worker worth its start."""

_NAMED = 3
# an execution's Cause holds 32,768 characters (Step Functions, StopExecution), a remediation's line less
_LONGEST_TEXT = 2000
_NO_RECORD = "no record lies in the time range, or the objects hold none"

_GROUP = re.compile(
    r"(arn:[\w-]+:sagemaker:[\w-]+:\d{12}:feature-group/)?[a-zA-Z0-9](-*_*[a-zA-Z0-9]){0,63}"
)
_S3 = re.compile(r"s3://[a-z0-9][a-z0-9.-]{1,61}[a-z0-9](/.*)?", re.DOTALL)
_RUN = re.compile(r"[a-zA-Z0-9][a-zA-Z0-9-]{0,50}")


class Way(StrEnum):
    """How a re-ingestion is done."""

    LAMBDA = "lambda"
    MAP = "map"
    PROCESSING = "processing"


class ReingestionRequest(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """What is to be ingested again; texts as the policy has them.

    Attributes:
        feature_group: Its name or ARN.
        source: S3 URI of an object, or of a prefix.
        features: Those to write besides identifier and event time; empty: all that the group has.
        since: Records with an earlier event time are passed over; ISO 8601.
        until: Records with this event time or a later one are passed over; ISO 8601.
        rate: Records per second, of all workers together.
        rejects: S3 prefix for records that cannot be written; empty: the stack's own bucket.
    """

    feature_group: str
    source: str
    format: str = "auto"
    features: tuple[str, ...] = ()
    since: str = ""
    until: str = ""
    rate: float = DEFAULT_RATE
    rejects: str = ""


class SourceObject(msgspec.Struct, frozen=True, kw_only=True):
    """An object as it was listed; ``etag`` tells whether it was changed since."""

    key: str
    size: int
    etag: str


class Listing(msgspec.Struct, frozen=True, kw_only=True):
    """The objects of a source, by key; ``passed_over`` counts empty ones, and those named _x or .x."""

    bucket: str
    objects: tuple[SourceObject, ...]
    passed_over: int = 0

    @property
    def size(self) -> int:
        """Their bytes."""
        return sum(found.size for found in self.objects)


class Plan(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """What will be done.

    Attributes:
        id: Whose re-ingestion it is; one id, one plan.
        bucket: Of the source.
        objects: How many; the list itself is kept beside the plan.
        size: Their bytes.
        workers: Calls, or machines, that work side by side.
        why: Why it is done in this way, in a sentence for people.
        transitions: State transitions that Step Functions will charge for if no call has to be repeated.
        listing: Name of the kept list of objects.
        passed_over: Objects that hold nothing, or are no data.
        loses: Features that are not selected, so that records will have them no more.
    """

    id: str
    request: ReingestionRequest
    way: Way
    bucket: str
    objects: int
    size: int
    workers: int
    why: str
    transitions: int
    listing: str
    passed_over: int = 0
    loses: tuple[str, ...] = ()

    @property
    def rate_of_a_worker(self) -> float:
        """Records per second for each worker: together they keep the group's rate."""
        return self.request.rate / self.workers

    @property
    def text(self) -> str:
        """The plan in a sentence."""
        request = self.request
        over = f"; {self.passed_over} empty or hidden passed over" if self.passed_over else ""
        text = (
            f"{_objects(self.objects)} ({_size(self.size)}{over}) of {request.source} into"
            f" {request.feature_group}, at most {request.rate:g} records/s: {self.why}"
        )
        if self.loses:
            text += (
                "; a write replaces the whole record, so these will have no more"
                f" {', '.join(self.loses)}, which {'is' if len(self.loses) == 1 else 'are'} not selected"
            )
        return text


class ObjectOutcome(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """What became of one object, by its place in the list; ``error`` says why not all of it was read.

    Records are ``written``, ``rejected`` (kept with their reason) or ``passed_over`` (outside the time range).
    """

    object: int
    written: int = 0
    rejected: int = 0
    passed_over: int = 0
    error: str = ""


class Summary(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """How a re-ingestion ended: ``state`` is ``done``, ``failed`` or ``stopped``.

    ``finished`` counts objects that were read to their end; ``rejects`` is where rejected records lie.
    """

    state: str
    text: str
    way: Way
    objects: int
    finished: int = 0
    written: int = 0
    rejected: int = 0
    passed_over: int = 0
    rejects: str = ""


def request_of(parameters: Mapping[str, Any]) -> ReingestionRequest:
    """Read an action's parameters; an empty text counts as left out.

    Raises:
        RejectedRequestError: A parameter is missing, unknown or wrong; names it and what it takes.
    """
    known = {
        "feature_group", "source", "format", "features", "from", "until", "rate", "rejects",
    }  # fmt: skip
    given = {name: value for name, value in parameters.items() if value not in ("", None)}
    if unknown := sorted(given.keys() - known):
        raise _wrong(unknown[0], given[unknown[0]], f"reingest takes {', '.join(sorted(known))}")
    group = _text(given, "feature_group")
    if not _GROUP.fullmatch(group):
        raise _wrong("feature_group", group, "write the name or the ARN of a feature group")
    source = _place(given, "source")
    layout = _text(given, "format", "auto")
    if layout not in FORMATS:
        raise _wrong("format", layout, f"write one of {', '.join(FORMATS)}")
    since, until = _moment(given, "from"), _moment(given, "until")
    if since and until and since >= until:
        raise _wrong("until", given["until"], f"it has to be later than from, {given['from']}")
    return ReingestionRequest(
        feature_group=group,
        source=source,
        format=layout,
        features=_features(given.get("features", ())),
        since=since.isoformat() if since else "",
        until=until.isoformat() if until else "",
        rate=_rate(given.get("rate", DEFAULT_RATE)),
        rejects=_place(given, "rejects").rstrip("/") if "rejects" in given else "",
    )


def listing_of(source: str, found: Iterable[SourceObject]) -> Listing:
    """What is to be read of the objects under a source.

    Raises:
        NotFoundError: There is nothing to read.
        RejectedRequestError: There is too much.
    """
    bucket, _, wanted = source.removeprefix("s3://").partition("/")
    kept: list[SourceObject] = []
    passed_over = 0
    for item in found:
        if item.key == wanted and item.size:
            # the source is this object, not a prefix that others begin with too
            return Listing(bucket=bucket, objects=(item,))
        name = item.key.rpartition("/")[2]
        if not item.size or name.startswith(("_", ".")):
            passed_over += 1
            continue
        kept.append(item)
        if len(kept) > MOST_OBJECTS:
            raise RejectedRequestError(
                f"source {source} holds more than {MOST_OBJECTS} objects",
                remedy="Name a longer prefix, and ingest one after the other",
            )
    if not kept:
        raise NotFoundError(
            f"source {source} holds nothing to read ({passed_over} empty or hidden objects)",
            remedy="Check bucket and prefix; {window_start} and the like are filled as ISO times",
        )
    kept.sort(key=lambda item: item.key)
    return Listing(bucket=bucket, objects=tuple(kept), passed_over=passed_over)


def plan_of(
    run: str,
    request: ReingestionRequest,
    listing: Listing,
    machines: int = 0,
    loses: Sequence[str] = (),
) -> Plan:
    """Choose the way by number and size of the objects.

    Args:
        run: Whose re-ingestion it is.
        request: What is asked for.
        listing: What there is.
        machines: Machines that a Processing job may have; 0: there is no image for one.
        loses: Features that records will have no more.

    Raises:
        RejectedRequestError: The id cannot be one.
        MalformedSourceError: An object's name does not say its format.
    """
    if not _RUN.fullmatch(run):
        raise _wrong("id", run, "write letters, digits and hyphens, at most 51")
    for item in listing.objects:
        # what can never be done is refused before anything is written
        format_of(f"s3://{listing.bucket}/{item.key}", request.format)
    objects, size = len(listing.objects), listing.size
    workers, transitions = 1, 6
    if objects <= LAMBDA_OBJECTS and size <= LAMBDA_BYTES:
        way = Way.LAMBDA
        why = f"one call after the other, for at most {LAMBDA_OBJECTS} objects and {_size(LAMBDA_BYTES)}"
    elif machines and (objects > MAP_OBJECTS or size > MAP_BYTES):
        way, workers, transitions = Way.PROCESSING, min(machines, objects), 5
        why = f"a Processing job on {workers} machines, above {MAP_OBJECTS} objects or {_size(MAP_BYTES)}"
    else:
        way = Way.MAP
        workers = max(1, min(objects, MOST_WORKERS, math.ceil(request.rate / RATE_OF_A_WORKER)))
        # a state's entry is one transition: IngestObject, IsThereMoreOfIt, ObjectDone
        transitions = 5 + 3 * objects
        why = f"{workers} calls side by side, an object each, above what one call after the other does"
        if not machines and (objects > MAP_OBJECTS or size > MAP_BYTES):
            why += "; a Processing job would suit it better, but no image for one is set"
    return Plan(
        id=run,
        request=request,
        way=way,
        bucket=listing.bucket,
        objects=objects,
        size=size,
        workers=workers,
        why=why,
        transitions=transitions,
        listing=listing_name(listing.objects),
        passed_over=listing.passed_over,
        loses=tuple(loses),
    )


def summary_of(
    plan: Plan,
    keys: Sequence[str],
    outcomes: Iterable[ObjectOutcome],
    rejects: str,
    error: str = "",
    stopped: bool = False,
) -> Summary:
    """Sum up what became of a plan's objects.

    Done is only what was read to its end, with a record written; rejected records are done too, as they are
    kept with their reason, unless there are no others.

    Args:
        plan: What was to be done.
        keys: The objects' keys, in the plan's order.
        outcomes: What is known of them; of an object, the last one counts.
        rejects: Where rejected records lie.
        error: Why the way ended early.
        stopped: Whether somebody stopped it.
    """
    known = {outcome.object: outcome for outcome in outcomes}
    failed = [known[i] for i in sorted(known) if known[i].error]
    missing = [i for i in range(plan.objects) if i not in known]
    written, rejected, passed_over = (
        sum(getattr(outcome, name) for outcome in known.values())
        for name in ("written", "rejected", "passed_over")
    )
    troubles = [error] if error else []
    troubles += [f"{keys[outcome.object]}: {outcome.error}" for outcome in failed[:_NAMED]]
    if len(failed) > _NAMED:
        troubles.append(f"{len(failed) - _NAMED} more objects failed")
    if missing:
        more = f" and {len(missing) - 1} more" if len(missing) > 1 else ""
        troubles.append(f"not finished: {keys[missing[0]]}{more}")
    if not troubles and not written:
        troubles.append("every record was rejected" if rejected else _NO_RECORD)
    told = f"{written} records written into {plan.request.feature_group}"
    if rejected:
        told += f", {rejected} rejected (under {rejects}, each with its reason)"
    if passed_over:
        told += f", {passed_over} outside the time range"
    return Summary(
        state="stopped" if stopped else "failed" if troubles else "done",
        text="; ".join([told, *troubles])[:_LONGEST_TEXT],
        way=plan.way,
        objects=plan.objects,
        finished=len(known) - len(failed),
        written=written,
        rejected=rejected,
        passed_over=passed_over,
        rejects=rejects if rejected else "",
    )


class JobTerms(msgspec.Struct, frozen=True, kw_only=True):
    """What a Processing job runs on; without an ``image`` there is none."""

    image: str = ""
    role: str = ""
    instance_type: str = "ml.m5.xlarge"
    instances: int = 4
    region: str = ""

    @property
    def machines(self) -> int:
        """How many machines a plan may count on."""
        return self.instances if self.image else 0


def job_of(plan: Plan, terms: JobTerms, home: str) -> dict[str, Any]:
    """The CreateProcessingJob request of a plan, each machine with a share of the objects.

    Source: SageMaker API reference, CreateProcessingJob and ProcessingS3Input; names have at most 63 characters.

    Args:
        plan: What is to be done.
        terms: What it runs on.
        home: S3 URI under which plan, list and outcomes are kept.
    """
    gigabytes = math.ceil(plan.size / plan.workers * 2 / 1024**3) + 10
    return {
        # the state machine appends which try it is
        "ProcessingJobName": f"guiderail-reingest-{plan.id}"[:60].rstrip("-"),
        "RoleArn": terms.role,
        "AppSpecification": {
            "ImageUri": terms.image,
            "ContainerEntrypoint": ["python", "-m", "guiderail.adapters.processing_entry"],
            "ContainerArguments": ["--plan", f"{home}/plan.json"],
        },
        "Environment": {"AWS_DEFAULT_REGION": terms.region},
        "ProcessingResources": {
            "ClusterConfig": {
                "InstanceCount": plan.workers,
                "InstanceType": terms.instance_type,
                "VolumeSizeInGB": min(gigabytes, 16384),
            }
        },
        "ProcessingInputs": [
            {
                "InputName": "objects",
                "S3Input": {
                    "S3Uri": f"{home}/objects.manifest",
                    "LocalPath": "/opt/ml/processing/input/objects",
                    "S3DataType": "ManifestFile",
                    "S3InputMode": "File",
                    "S3DataDistributionType": "ShardedByS3Key",
                },
            }
        ],
        "ProcessingOutputConfig": {
            "Outputs": [
                {
                    "OutputName": "outcomes",
                    "S3Output": {
                        "S3Uri": f"{home}/outcomes",
                        "LocalPath": "/opt/ml/processing/output/outcomes",
                        "S3UploadMode": "Continuous",
                    },
                },
            ]
        },
        "StoppingCondition": {"MaxRuntimeInSeconds": 172800},
        "Tags": [{"Key": "guiderail:reingestion", "Value": plan.id}],
    }


def manifest_of(bucket: str, objects: Sequence[SourceObject]) -> list[Any]:
    """A manifest as SageMaker reads it: what all keys begin with, then the rest of each."""
    return [{"prefix": f"s3://{bucket}/"}, *(item.key for item in objects)]


def told_by(cause: str) -> str:
    """What a failed call says: Step Functions wraps Lambda's {"errorMessage": …} as text in {"Cause": …}."""
    told = cause
    for name in ("Cause", "errorMessage"):
        try:
            wrapped = msgspec.json.decode(told)
        except msgspec.DecodeError:
            break
        if isinstance(wrapped, dict) and isinstance(wrapped.get(name), str):
            told = wrapped[name]
    return told


def listing_name(objects: Sequence[SourceObject]) -> str:
    """A name that another list of objects does not have."""
    about = "\n".join(f"{item.key} {item.size} {item.etag}" for item in objects)
    return f"objects-{digest(about, 16)}.json"


def _wrong(name: str, value: object, remedy: str) -> RejectedRequestError:
    return RejectedRequestError(
        f"parameter {name} of reingest is {value!r}", remedy=remedy[0].upper() + remedy[1:]
    )


def _text(given: Mapping[str, Any], name: str, default: str = "") -> str:
    value = given.get(name, default)
    if not isinstance(value, str) or not value.strip():
        raise _wrong(name, value, "write a text; the policy's reingest names it")
    return value.strip()


def _place(given: Mapping[str, Any], name: str) -> str:
    value = _text(given, name)
    if not _S3.fullmatch(value):
        raise _wrong(name, value, "write s3://bucket/prefix")
    return value


def _features(value: object) -> tuple[str, ...]:
    listed = value if isinstance(value, list | tuple) else [value]
    if not all(isinstance(entry, str) for entry in listed):
        raise _wrong("features", value, "write a list of names")
    # `{features}` is filled with all of an incident's features as one text
    names = (name.strip() for entry in listed for name in str(entry).split(","))
    return tuple(dict.fromkeys(name for name in names if name))


def _moment(given: Mapping[str, Any], name: str) -> datetime | None:
    if name not in given:
        return None
    value = given[name]
    try:
        moment = datetime.fromisoformat(value)
    except (TypeError, ValueError):
        moment = None
    if moment is None or moment.tzinfo is None:
        raise _wrong(name, value, "write an ISO time with its zone, such as 2026-11-23T00:00:00Z")
    return moment


def _rate(value: object) -> float:
    try:
        rate = float(value)  # type: ignore[arg-type]
    except (TypeError, ValueError):
        rate = math.nan
    if isinstance(value, bool) or not 0 < rate < math.inf:
        raise _wrong("rate", value, "write records per second, a number above 0")
    return rate


def _objects(count: int) -> str:
    return "1 object" if count == 1 else f"{count} objects"


def _size(count: int) -> str:
    size, unit = float(count), "bytes"
    for larger in ("KiB", "MiB", "GiB", "TiB"):
        if size < 1024:
            break
        size, unit = size / 1024, larger
    return f"{size:.3g} {unit}"
