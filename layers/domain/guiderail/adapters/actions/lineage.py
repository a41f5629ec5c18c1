"""Whose baseline is it: the deployed model, where it comes from, and what its runs are compared with.

Source of the shapes: the SageMaker API model (DescribeEndpoint … DescribeModelPackage). A model package
names its baselines in DriftCheckBaselines and ModelMetrics, and in MetadataProperties.GeneratedBy the
pipeline execution that registered it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

import msgspec
from msgspec.structs import replace

from guiderail.adapters.actions.calls import acting
from guiderail.adapters.actions.schedules import Baseline, baseline_of, schedule_named
from guiderail.adapters.clients import client
from guiderail.errors import NotFoundError, PermanentError
from guiderail.model.remediation import Lineage, Remediation

MADE_FOR = "guiderail_model"
"""Environment variable of a baseline's job: the model that was deployed when it was made."""

_MOST_JOBS = 50
"""Processing jobs of one pipeline execution that are asked where they wrote."""

_SECTIONS = {
    "DataQuality": "ModelDataQuality",
    "ModelQuality": "ModelQuality",
    "ModelBias": "Bias",
    "ModelExplainability": "Explainability",
}
_NO_BASELINE = frozenset({"ConfigFile", "Statistics"})


class Deployed(msgspec.Struct, frozen=True, kw_only=True):
    """What an endpoint serves; models and packages without repetition, in the order of its variants.

    Attributes:
        names_all: Whether the package of every model is known.
    """

    status: str
    config: str
    changed_at: datetime | None = None
    models: tuple[str, ...] = ()
    packages: tuple[str, ...] = ()
    names_all: bool = False
    made_at: datetime | None = None

    @property
    def model(self) -> str:
        """The one model package that it serves, or else its one model; empty where there are several."""
        if self.names_all and len(self.packages) == 1:
            return self.packages[0]
        return self.models[0] if len(self.models) == 1 else ""


def deployed(endpoint: str) -> Deployed:
    """Look up what an endpoint serves: DescribeEndpoint, DescribeEndpointConfig, one DescribeModel each.

    Raises:
        PermanentError: One of them is gone, or may not be read.
        TransientError: SageMaker throttled or failed.
    """
    sagemaker = client("sagemaker")
    with acting(f"DescribeEndpoint {endpoint}"):
        described = sagemaker.describe_endpoint(EndpointName=endpoint)
    config = str(described.get("EndpointConfigName", ""))
    with acting(f"DescribeEndpointConfig {config}"):
        variants = sagemaker.describe_endpoint_config(EndpointConfigName=config)[
            "ProductionVariants"
        ]
    models = tuple(dict.fromkeys(v["ModelName"] for v in variants if v.get("ModelName")))
    packages: dict[str, None] = {}
    unnamed, made_at = not models, None
    for model in models:
        with acting(f"DescribeModel {model}"):
            known = sagemaker.describe_model(ModelName=model)
        containers = [known.get("PrimaryContainer"), *(known.get("Containers") or ())]
        names = [c["ModelPackageName"] for c in containers if c and c.get("ModelPackageName")]
        packages |= dict.fromkeys(names)
        unnamed = unnamed or not names
        made_at = _utc(known.get("CreationTime"))
    return Deployed(
        status=str(described["EndpointStatus"]),
        config=config,
        changed_at=_utc(described.get("LastModifiedTime")),
        models=models,
        packages=tuple(packages),
        names_all=not unnamed,
        made_at=made_at,
    )


def pipeline_steps(execution: str) -> list[Mapping[str, Any]]:
    """The steps of a pipeline execution, oldest first: one ListPipelineExecutionSteps per 100."""
    steps: list[Mapping[str, Any]] = []
    following: dict[str, str] = {}
    while True:
        with acting(f"ListPipelineExecutionSteps {execution}"):
            page = client("sagemaker").list_pipeline_execution_steps(
                PipelineExecutionArn=execution, MaxResults=100, SortOrder="Ascending", **following
            )
        steps += page.get("PipelineExecutionSteps", [])
        if not page.get("NextToken"):
            return steps
        following = {"NextToken": page["NextToken"]}


def lineage(remediation: Remediation) -> Lineage:
    """Which model is deployed, and whether its runs are compared with its own baseline.

    True: the model's package names the baseline in use, the pipeline execution that made the model wrote
    it, or Guiderail made it for this model. False: it was made for another model, the package names
    another one, or it is older than the model. None: nothing says so, or it may not be read.

    At least six calls (endpoint, its config, model, package, schedule, job definition); where the package
    does not name the baseline, one to three more and one per processing job of the pipeline execution,
    at most 50 of these.

    Raises:
        TransientError: SageMaker throttled or failed.
    """
    scope = remediation.scope
    if not scope.endpoint:
        return Lineage(text=f"{scope.schedule} watches no endpoint, so no deployed model is known")
    known = Lineage()
    try:
        serving = deployed(scope.endpoint)
        known = Lineage(model=serving.model, deployed_at=serving.changed_at)
        package = _package(serving.packages[0]) if serving.model in serving.packages else {}
        known = replace(known, made_by=_made_by(package))
        schedule = schedule_named(scope.schedule)
        baseline = baseline_of(schedule)
        known = replace(known, baseline=baseline.constraints)
        if not serving.model:
            names = ", ".join(serving.models) or "its inference components' own"
            return replace(known, text=f"{scope.endpoint} has no one model: {names}")
        belongs, text = _judged(known, serving, package, baseline)
        return replace(known, belongs=belongs, text=text)
    except PermanentError as error:
        return replace(known, belongs=None, text=f"not known: {error}")


def _judged(
    known: Lineage, serving: Deployed, package: Mapping[str, Any], baseline: Baseline
) -> tuple[bool | None, str]:
    if not baseline.constraints:
        return None, "the schedule names no baseline constraints"
    named = _named_by(package, baseline.monitoring_type)
    short, model = baseline.constraints, _short(known.model)
    if _plain(baseline.constraints) in map(_plain, named):
        return True, f"{model} names {short} as its own"
    job = _job(baseline.job) if baseline.job else {}
    made_for = job.get("Environment", {}).get(MADE_FOR, "")
    if made_for:
        if made_for == known.model:
            return True, f"Guiderail made {short} for {model}"
        return False, f"Guiderail made {short} for {_short(made_for)}, and {model} is deployed"
    steps = pipeline_steps(known.made_by) if known.made_by else []
    if wrote := _wrote(steps, baseline.constraints):
        return True, f"{short} was written by {wrote} of the execution that made {model}"
    if named:
        return False, f"{model} names {', '.join(sorted(named))}, and {short} is in use"
    return _by_age(known, serving, package, baseline, job)


def _by_age(
    known: Lineage,
    serving: Deployed,
    package: Mapping[str, Any],
    baseline: Baseline,
    job: Mapping[str, Any],
) -> tuple[bool | None, str]:
    """Nothing names the baseline: one that was there before the model was even begun is not its own."""
    made_at = _utc(job.get("ProcessingEndTime") or job.get("CreationTime"))
    made_at = made_at or _written_at(baseline.constraints)
    began = _utc(package.get("CreationTime")) or serving.made_at
    if known.made_by:
        with acting(f"DescribePipelineExecution {known.made_by}"):
            execution = client("sagemaker").describe_pipeline_execution(
                PipelineExecutionArn=known.made_by
            )
        began = _utc(execution.get("CreationTime")) or began
    if made_at and began and made_at < began:
        return False, (
            f"{baseline.constraints} is of {made_at:%Y-%m-%d %H:%M}, "
            f"older than {_short(known.model)} ({began:%Y-%m-%d %H:%M} UTC)"
        )
    return None, f"{_short(known.model)} names no baseline of its own"


def _package(arn: str) -> Mapping[str, Any]:
    with acting(f"DescribeModelPackage {arn}"):
        described: Mapping[str, Any] = client("sagemaker").describe_model_package(
            ModelPackageName=arn
        )
    return described


def _made_by(package: Mapping[str, Any]) -> str:
    made_by = str(package.get("MetadataProperties", {}).get("GeneratedBy", "")).strip()
    return made_by if ":pipeline/" in made_by and "/execution/" in made_by else ""


def _named_by(package: Mapping[str, Any], monitoring_type: str) -> set[str]:
    """What a package names as baseline of one kind of monitor."""
    section = _SECTIONS.get(monitoring_type, "")
    return {
        str(file["S3Uri"])
        for part in ("DriftCheckBaselines", "ModelMetrics")
        for name, file in package.get(part, {}).get(section, {}).items()
        if name not in _NO_BASELINE and file.get("S3Uri")
    }


def _job(name: str) -> Mapping[str, Any]:
    try:
        with acting(f"DescribeProcessingJob {name}"):
            described: Mapping[str, Any] = client("sagemaker").describe_processing_job(
                ProcessingJobName=name
            )
    except NotFoundError:
        return {}
    return described


def _wrote(steps: Sequence[Mapping[str, Any]], uri: str) -> str:
    """The step that wrote a file, empty if none did."""
    asked = 0
    for step in steps:
        metadata = step.get("Metadata", {})
        checks = [metadata.get(kind, {}) for kind in ("QualityCheck", "ClarifyCheck")]
        places = [
            c["CalculatedBaselineConstraints"]
            for c in checks
            if "CalculatedBaselineConstraints" in c
        ]
        arn = metadata.get("ProcessingJob", {}).get("Arn", "")
        if arn and asked < _MOST_JOBS:
            asked += 1
            outputs = _job(_short(arn)).get("ProcessingOutputConfig", {}).get("Outputs", [])
            places += [o["S3Output"]["S3Uri"] for o in outputs if o.get("S3Output")]
        if any(_plain(uri) == _plain(p) or uri.startswith(f"{_plain(p)}/") for p in places):
            return f"step {step.get('StepName')}"
    return ""


def _written_at(uri: str) -> datetime | None:
    bucket, _, key = uri.removeprefix("s3://").partition("/")
    try:
        with acting(f"HeadObject {uri}"):
            return _utc(client("s3").head_object(Bucket=bucket, Key=key)["LastModified"])
    except NotFoundError:
        return None


def _utc(value: Any) -> datetime | None:
    return value.astimezone(UTC) if isinstance(value, datetime) else None


def _plain(uri: str) -> str:
    return uri.rstrip("/")


def _short(arn: str) -> str:
    return arn.partition(":model-package/")[2] or arn.rpartition("/")[2]
