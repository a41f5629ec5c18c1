"""The use case behind ``reingest``: the steps of the state machine ``reingestion``, each safe to repeat.

``<bucket>/<id>/`` keeps a re-ingestion: ``plan.json`` and the list of objects, written once; ``outcomes/``, a
file per object or per machine; checkpoints and rejects, which are the core's.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime
from typing import Any, Protocol

import msgspec

from guiderail.errors import MalformedEventError, NotFoundError, PermanentError
from guiderail.model.ingestion import ObjectTask
from guiderail.services.reingest_planning import (
    JobTerms,
    ObjectOutcome,
    Plan,
    ReingestionRequest,
    SourceObject,
    Way,
    job_of,
    listing_of,
    manifest_of,
    plan_of,
    request_of,
    summary_of,
    told_by,
)
from guiderail.services.reingesting import FeatureGroups, Reingest

SECONDS_TO_SPARE = 30.0
"""A call stops this long before its time is over: what is under way is written, and noted."""

_READS_AT_ONCE = 16

_PLAN = msgspec.json.Decoder(Plan)
_OUTCOMES = msgspec.json.Decoder(list[ObjectOutcome])


class ListedObject(SourceObject, frozen=True, kw_only=True):
    """An object of a kept list, with its place in it."""

    object: int


_LIST = msgspec.json.Decoder(list[ListedObject])


class ReingestionFiles(Protocol):
    """S3, as far as re-ingestions need it. All raise AccessDeniedError and TransientError."""

    def objects(self, uri: str) -> Iterator[SourceObject]:
        """The objects whose URI begins so, in the order of their keys."""
        ...

    def read(self, uri: str) -> bytes:
        """An object's content. Raises NotFoundError."""
        ...

    def write(self, uri: str, content: bytes) -> None:
        """Keep an object."""
        ...

    def write_new(self, uri: str, content: bytes) -> bool:
        """Keep an object unless there is one already; False if there is."""
        ...


class Ingestion(Protocol):
    """The core, on one object of a plan."""

    def __call__(
        self, plan: Plan, item: ListedObject, seconds_left: Callable[[], float]
    ) -> ObjectOutcome | None:
        """Ingest an object from where its checkpoint says; None: time is up before its end.

        Raises:
            PermanentError: It cannot be read, or the feature group refuses everything.
            TransientError: It may work later.
        """
        ...


class ObjectIngestion:
    """Implements Ingestion by the core; ``folder`` holds copies of the objects, by key, if there is one."""

    def __init__(self, core: Reingest, bucket: str, folder: str = "") -> None:
        """Keep checkpoints and, unless the request names another place, rejects in a bucket."""
        self._core = core
        self._bucket = bucket
        self._folder = folder

    def __call__(
        self, plan: Plan, item: ListedObject, seconds_left: Callable[[], float]
    ) -> ObjectOutcome | None:
        """Ingest an object from where its checkpoint says; None: time is up before its end."""
        request = plan.request
        progress = self._core.ingest(
            ObjectTask(
                uri=f"s3://{plan.bucket}/{item.key}",
                size=item.size,
                etag=item.etag,
                feature_group=request.feature_group,
                format=request.format,
                features=request.features,
                since=_seconds(request.since),
                until=_seconds(request.until),
                rate=plan.rate_of_a_worker,
                checkpoint=f"s3://{self._bucket}/{plan.id}/checkpoints/{_outcome_name(item.object)}",
                rejects=f"{rejects_of(plan, self._bucket)}/{item.object:06d}",
                path=f"{self._folder}/{item.key}" if self._folder else "",
            ),
            seconds_left,
        )
        if not progress.done:
            return None
        return ObjectOutcome(
            object=item.object,
            written=progress.written,
            rejected=progress.rejected,
            passed_over=progress.passed_over,
        )


class ReingestTasks:
    """Does one step; an error that is raised is tried again by the state machine, or noted."""

    def __init__(
        self,
        *,
        files: ReingestionFiles,
        groups: FeatureGroups,
        ingestion: Ingestion,
        bucket: str,
        terms: JobTerms,
    ) -> None:
        """Keep plans and outcomes in a bucket of the stack's own."""
        self._files = files
        self._groups = groups
        self._ingestion = ingestion
        self._bucket = bucket
        self._terms = terms

    def __call__(
        self, event: Mapping[str, Any], seconds_left: Callable[[], float]
    ) -> dict[str, Any]:
        """Do the step that the event names.

        Args:
            event: ``{"step": "plan", "id", "request"}``, ``{"step": "ingest", "plan", "item"?}``,
                ``{"step": "note", "plan", "item", "error"}`` or ``{"step": "sum_up", "plan", "error"?}``.
            seconds_left: How long this call may take yet.

        Returns:
            What the state machine goes on with.

        Raises:
            PermanentError: Nothing will change by itself.
            TransientError: The same step may work later.
        """
        match event.get("step"):
            case "plan":
                return self._plan(event["id"], event.get("request"))
            case "ingest":
                return self._ingest(self._kept(event["plan"]), event.get("item"), seconds_left)
            case "note":
                return self._note(
                    self._kept(event["plan"]), event["item"]["object"], event["error"]
                )
            case "sum_up":
                return self._sum_up(self._kept(event["plan"]), event.get("error"))
            case step:
                raise MalformedEventError(
                    f"there is no step {step!r}",
                    remedy="Deploy function and state machine together",
                )

    def _plan(self, run: str, parameters: Any) -> dict[str, Any]:
        if not isinstance(parameters, Mapping):
            raise MalformedEventError(
                f"the request is {parameters!r}",
                remedy="Start the state machine with the parameters of a reingest action",
            )
        home = f"s3://{self._bucket}/{run}"
        try:
            plan = self._kept(f"{home}/plan.json")
        except NotFoundError:
            plan = self._make_plan(run, home, request_of(parameters))
        answer = {
            "way": plan.way,
            "uri": f"{home}/plan.json",
            "text": plan.text,
            "bucket": self._bucket,
            "manifest": f"{run}/{plan.listing}",
            "results": f"{run}/results",
            "workers": plan.workers,
        }
        if plan.way is Way.PROCESSING:
            answer["job"] = job_of(plan, self._terms, home)
        return answer

    def _make_plan(self, run: str, home: str, request: ReingestionRequest) -> Plan:
        loses = self._groups.describe(request.feature_group).left_out(request.features)
        listing = listing_of(request.source, self._files.objects(request.source))
        plan = plan_of(run, request, listing, self._terms.machines, loses)
        listed = [
            ListedObject(object=place, key=item.key, size=item.size, etag=item.etag)
            for place, item in enumerate(listing.objects)
        ]
        # before the plan, under a name that no other list has: the first plan holds, with its own list
        self._files.write(f"{home}/{plan.listing}", msgspec.json.encode(listed))
        if not self._files.write_new(f"{home}/plan.json", msgspec.json.encode(plan)):
            plan = self._kept(f"{home}/plan.json")
        if plan.way is Way.PROCESSING:
            manifest = manifest_of(plan.bucket, self._listed(plan))
            self._files.write(f"{home}/objects.manifest", msgspec.json.encode(manifest))
        return plan

    def _ingest(
        self, plan: Plan, item: Mapping[str, Any] | None, seconds_left: Callable[[], float]
    ) -> dict[str, Any]:
        if item is None:
            known = {outcome.object for outcome in self._outcomes(plan)}
            listed = [listed for listed in self._listed(plan) if listed.object not in known]
        else:
            listed = [ListedObject(**item)]
        for one in listed:
            if seconds_left() < SECONDS_TO_SPARE:
                return {"more": True}
            outcome = outcome_of(self._ingestion, plan, one, seconds_left)
            if outcome is None:
                return {"more": True}
            self._keep(plan, outcome)
        return {"more": False}

    def _note(self, plan: Plan, place: int, error: Mapping[str, Any]) -> dict[str, Any]:
        told = told_by(str(error.get("Cause", ""))) or "no cause given"
        known = {outcome.object for outcome in self._outcomes_in(plan, _outcome_name(place))}
        if place not in known:
            self._keep(
                plan, ObjectOutcome(object=place, error=f"{error.get('Error')}: {told}"[:500])
            )
        return {}

    def _sum_up(self, plan: Plan, error: Mapping[str, Any] | None) -> dict[str, Any]:
        why, stopped = _why(error) if error else ("", False)
        summary = summary_of(
            plan,
            [item.key for item in self._listed(plan)],
            self._outcomes(plan),
            rejects_of(plan, self._bucket),
            why,
            stopped,
        )
        answer: dict[str, Any] = msgspec.to_builtins(summary)
        return answer

    def _kept(self, uri: str) -> Plan:
        return read_plan(self._files, uri)

    def _listed(self, plan: Plan) -> Sequence[ListedObject]:
        return read_objects(self._files, f"s3://{self._bucket}/{plan.id}", plan)

    def _keep(self, plan: Plan, outcome: ObjectOutcome) -> None:
        name = _outcome_name(outcome.object)
        self._files.write(self._outcomes_place(plan) + name, msgspec.json.encode([outcome]))

    def _outcomes(self, plan: Plan) -> list[ObjectOutcome]:
        return self._outcomes_in(plan, "")

    def _outcomes_in(self, plan: Plan, name: str) -> list[ObjectOutcome]:
        keys = [item.key for item in self._files.objects(self._outcomes_place(plan) + name)]
        with ThreadPoolExecutor(_READS_AT_ONCE) as readers:
            contents = readers.map(lambda key: self._files.read(f"s3://{self._bucket}/{key}"), keys)
            return [outcome for content in contents for outcome in _OUTCOMES.decode(content)]

    def _outcomes_place(self, plan: Plan) -> str:
        return f"s3://{self._bucket}/{plan.id}/outcomes/"


def read_plan(files: ReingestionFiles, uri: str) -> Plan:
    """Read a kept plan. Raises PermanentError (NotFoundError if there is none), TransientError."""
    try:
        return _PLAN.decode(files.read(uri))
    except msgspec.DecodeError as error:
        raise PermanentError(
            f"{uri} is no plan of a re-ingestion: {error}",
            remedy="Start the re-ingestion anew, under another id",
        ) from error


def read_objects(files: ReingestionFiles, home: str, plan: Plan) -> Sequence[ListedObject]:
    """Read the list that belongs to a plan, kept beside it. Raises PermanentError, TransientError."""
    return _LIST.decode(files.read(f"{home}/{plan.listing}"))


def rejects_of(plan: Plan, bucket: str) -> str:
    """S3 prefix of a plan's rejects, without a slash at its end."""
    return f"{plan.request.rejects or f's3://{bucket}'}/{plan.id}/rejects"


def outcome_of(
    ingestion: Ingestion, plan: Plan, item: ListedObject, seconds_left: Callable[[], float]
) -> ObjectOutcome | None:
    """Ingest one object; what makes that impossible is its outcome, and the other objects go on.

    Raises:
        TransientError: It may work later.
    """
    try:
        return ingestion(plan, item, seconds_left)
    except PermanentError as error:
        return ObjectOutcome(object=item.object, error=f"{error.code}: {error}"[:500])


def _seconds(moment: str) -> float | None:
    return datetime.fromisoformat(moment).timestamp() if moment else None


def _outcome_name(place: int) -> str:
    return f"{place:06d}.json"


def _why(error: Mapping[str, Any]) -> tuple[str, bool]:
    """Why a way ended early, and whether somebody stopped it; a job's failure is its description as text."""
    cause = str(error.get("Cause", ""))
    try:
        job = msgspec.json.decode(cause)
    except msgspec.DecodeError:
        job = None
    if isinstance(job, dict) and "ProcessingJobStatus" in job:
        name, status = job.get("ProcessingJobName", ""), job["ProcessingJobStatus"]
        if status == "Stopped":
            return f"the Processing job {name} was stopped by hand", True
        said = job.get("FailureReason") or job.get("ExitMessage") or "it says no reason"
        return f"the Processing job {name} ended as {status}: {said}"[:1000], False
    return f"{error.get('Error', 'unknown error')}: {told_by(cause)}"[:1000], False
