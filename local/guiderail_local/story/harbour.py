"""The harbour's own machine learning: what remediations mend, and what its people do with it."""

from __future__ import annotations

import csv
import io
from collections.abc import Sequence
from typing import Any

from guiderail_local.cloud import LocalCloud
from guiderail_local.environment import REPOSITORY
from guiderail_local.sagemaker import Ending
from guiderail_local.story.run_files import BUCKET, schedule_of
from guiderail_local.story.script import About

PIPELINE = "harbour-retrain"
"""The pipeline of ``examples/pipelines``."""

GROUP = "arrivals"
LAKE = "northquay-lake"

_DEFINITION = REPOSITORY / "examples" / "pipelines" / "retrain.json"
_ARRIVALS = 120
_FEATURES = ("arrival_id", "event_time", "eta_minutes", "draught_m")
_ROLE = "arn:aws:iam::123456789012:role/harbour"
_IMAGE = "156813124566.dkr.ecr.us-east-1.amazonaws.com/sagemaker-model-monitor-analyzer"
_OUT_OF_MEMORY = "AlgorithmError: XGBoost ran out of memory, exit code: 137"


class Harbour:
    """Endpoints, their models and baselines, one pipeline, and a feature group that lacks values."""

    def __init__(self, cloud: LocalCloud, endpoints: Sequence[str]) -> None:
        """Deploy a first model behind each endpoint, with the baseline of its own."""
        self._cloud = cloud
        self._sagemaker = cloud.client("sagemaker")
        self._records = cloud.client("sagemaker-featurestore-runtime")
        self._s3 = cloud.client("s3")
        self._served: dict[str, int] = {}
        self._make_pipeline()
        self._make_feature_group()
        for endpoint in endpoints:
            self._sagemaker.create_model_package_group(ModelPackageGroupName=endpoint)
            self._serve(endpoint, self._register_by_hand(endpoint))

    def finish_pipeline(self, about: About) -> None:
        """Let the execution that runs end well."""
        self._cloud.sagemaker.pipelines.end(self._running())

    def break_pipeline(self, about: About) -> None:
        """Let it fail in its third step."""
        ending = Ending("Failed", _OUT_OF_MEMORY, step="Train")
        self._cloud.sagemaker.pipelines.end(self._running(), ending)

    def stop_pipeline(self, about: About) -> None:
        """Stop it, as a person does at the console."""
        self._sagemaker.stop_pipeline_execution(
            PipelineExecutionArn=self._running(), ClientRequestToken="o" * 32
        )

    def approve_model(self, about: About) -> None:
        """Approve the newest model of an endpoint, and deploy it with its baseline."""
        self._approve(about.endpoint, with_baseline=True)

    def forget_baseline(self, about: About) -> None:
        """Approve and deploy it, but go on comparing with the baseline of the one before."""
        self._approve(about.endpoint, with_baseline=False)

    def read_back(self, about: About) -> None:
        """Read every record of the file from the online store.

        Raises:
            LookupError: One is not there, or not as the file has it.
        """
        for row in csv.DictReader(io.StringIO(_arrivals())):
            record = self._records.get_record(
                FeatureGroupName=GROUP, RecordIdentifierValueAsString=row["arrival_id"]
            ).get("Record", ())
            found = {value["FeatureName"]: value["ValueAsString"] for value in record}
            if {name: float(found.get(name, "nan")) for name in _FEATURES[2:]} != {
                name: float(row[name]) for name in _FEATURES[2:]
            }:
                raise LookupError(f"{GROUP} has {found or 'nothing'}, and the file {row}")

    def _approve(self, endpoint: str, with_baseline: bool) -> None:
        package = self._newest(endpoint)
        self._sagemaker.update_model_package(
            ModelPackageArn=package, ModelApprovalStatus="Approved"
        )
        self._serve(endpoint, package, with_baseline)

    def _running(self) -> str:
        running = self._cloud.sagemaker.pipelines.running(PIPELINE)
        if not running:
            raise LookupError(f"no execution of {PIPELINE} runs")
        return running[-1]

    def _newest(self, group: str) -> str:
        packages = self._sagemaker.list_model_packages(
            ModelPackageGroupName=group, SortBy="CreationTime", SortOrder="Descending"
        )["ModelPackageSummaryList"]
        return str(packages[0]["ModelPackageArn"])

    def _make_pipeline(self) -> None:
        self._sagemaker.create_pipeline(
            PipelineName=PIPELINE,
            PipelineDefinition=_DEFINITION.read_text(),
            ClientRequestToken=PIPELINE.ljust(32, "-"),
            RoleArn=_ROLE,
        )

    def _make_feature_group(self) -> None:
        """Arrivals whose estimate is missing, and the file that has it."""
        self._sagemaker.create_feature_group(
            FeatureGroupName=GROUP,
            RecordIdentifierFeatureName=_FEATURES[0],
            EventTimeFeatureName=_FEATURES[1],
            FeatureDefinitions=[
                {"FeatureName": _FEATURES[0], "FeatureType": "String"},
                {"FeatureName": _FEATURES[1], "FeatureType": "String"},
                *({"FeatureName": name, "FeatureType": "Fractional"} for name in _FEATURES[2:]),
            ],
            OnlineStoreConfig={"EnableOnlineStore": True},
            RoleArn=_ROLE,
        )
        for row in csv.DictReader(io.StringIO(_arrivals())):
            first = {**row, "event_time": "2026-03-15T00:00:00Z"}
            del first["eta_minutes"]
            record = [{"FeatureName": n, "ValueAsString": v} for n, v in first.items()]
            self._records.put_record(FeatureGroupName=GROUP, Record=record)
        self._s3.create_bucket(Bucket=LAKE)
        self._s3.put_object(Bucket=LAKE, Key=f"{GROUP}/day.csv", Body=_arrivals().encode())

    def _register_by_hand(self, group: str) -> str:
        registered = self._sagemaker.create_model_package(
            ModelPackageGroupName=group,
            ModelApprovalStatus="Approved",
            DriftCheckBaselines={
                "ModelQuality": {
                    "Constraints": {
                        "ContentType": "application/json",
                        "S3Uri": f"s3://{BUCKET}/baselines/{group}/constraints.json",
                    }
                }
            },
            InferenceSpecification={
                "Containers": [{"Image": _IMAGE, "ModelDataUrl": f"s3://{BUCKET}/{group}.tar.gz"}]
            },
        )
        return str(registered["ModelPackageArn"])

    def _serve(self, endpoint: str, package: str, with_baseline: bool = True) -> None:
        """Deploy a model package as a release does: model, endpoint config, endpoint, and the baseline."""
        version = self._served[endpoint] = self._served.get(endpoint, 0) + 1
        name = f"{endpoint}-{version}"
        self._sagemaker.create_model(
            ModelName=name,
            PrimaryContainer={"ModelPackageName": package},
            ExecutionRoleArn=_ROLE,
        )
        self._sagemaker.create_endpoint_config(
            EndpointConfigName=name,
            ProductionVariants=[
                {
                    "VariantName": "all",
                    "ModelName": name,
                    "InitialInstanceCount": 1,
                    "InstanceType": "ml.m5.large",
                }
            ],
        )
        change = self._sagemaker.create_endpoint
        if version > 1:
            change = self._sagemaker.update_endpoint
        change(EndpointName=endpoint, EndpointConfigName=name)
        if with_baseline:
            self._compare_with(endpoint, name, self._baseline_of(package))
        # deployments take their time; this one is over
        self._sagemaker.describe_endpoint(EndpointName=endpoint)

    def _baseline_of(self, package: str) -> str:
        described = self._sagemaker.describe_model_package(ModelPackageName=package)
        baselines: Any = described["DriftCheckBaselines"]
        return str(baselines["ModelQuality"]["Constraints"]["S3Uri"])

    def _compare_with(self, endpoint: str, definition: str, constraints: str) -> None:
        """Point the endpoint's schedule at a baseline."""
        self._sagemaker.create_model_quality_job_definition(
            JobDefinitionName=definition,
            ModelQualityBaselineConfig={"ConstraintsResource": {"S3Uri": constraints}},
            ModelQualityAppSpecification={
                "ImageUri": _IMAGE,
                "ProblemType": "BinaryClassification",
            },
            ModelQualityJobInput={
                "EndpointInput": {
                    "EndpointName": endpoint,
                    "LocalPath": "/opt/ml/processing/input",
                },
                "GroundTruthS3Input": {"S3Uri": f"s3://{BUCKET}/labels/{endpoint}"},
            },
            ModelQualityJobOutputConfig={
                "MonitoringOutputs": [
                    {"S3Output": {"S3Uri": f"s3://{BUCKET}/reports", "LocalPath": "/opt/ml/out"}}
                ]
            },
            JobResources={
                "ClusterConfig": {
                    "InstanceCount": 1,
                    "InstanceType": "ml.m5.large",
                    "VolumeSizeInGB": 20,
                }
            },
            RoleArn=_ROLE,
        )
        config = {
            "ScheduleConfig": {"ScheduleExpression": "cron(0 * ? * * *)"},
            "MonitoringJobDefinitionName": definition,
            "MonitoringType": "ModelQuality",
        }
        schedule = schedule_of(endpoint, "model_quality")
        change = self._sagemaker.update_monitoring_schedule
        if definition.endswith("-1"):
            change = self._sagemaker.create_monitoring_schedule
        change(MonitoringScheduleName=schedule, MonitoringScheduleConfig=config)


def _arrivals() -> str:
    """A day of arrivals as CSV."""
    text = io.StringIO()
    table = csv.writer(text, lineterminator="\n")
    table.writerow(_FEATURES)
    for number in range(_ARRIVALS):
        moment = f"2026-03-16T{number // 60:02}:{number % 60:02}:00Z"
        table.writerow((f"A{number:04}", moment, 15 + number % 40, 4.5 + number % 7))
    return text.getvalue()
