"""A retraining pipeline that Guiderail can start, built by the SageMaker SDK.

Prepare the data; measure it; train; evaluate; register the model with the baselines that this gave.
Run as a program it writes ``retrain.json`` beside itself, or with ``--check`` compares. Nothing is asked
of AWS. Version 2 of the SDK is used because version 3 uploads files while it builds.
"""

from __future__ import annotations

import json
import os
import sys
import tempfile
from pathlib import Path
from unittest import mock

REGION = "us-east-1"
ROLE = "arn:aws:iam::123456789012:role/harbour-pipelines"
BUCKET = "harbour-models"
# what sagemaker.image_uris.retrieve answers for this region
SKLEARN = f"683313688378.dkr.ecr.{REGION}.amazonaws.com/sagemaker-scikit-learn:1.2-1-cpu-py3"
XGBOOST = f"683313688378.dkr.ecr.{REGION}.amazonaws.com/sagemaker-xgboost:1.7-1"
ANALYZER = f"156813124566.dkr.ecr.{REGION}.amazonaws.com/sagemaker-model-monitor-analyzer"

_BUILT = Path(__file__).with_name("retrain.json")
_OPT_OUT = """\
SchemaVersion: "1.0"
SageMaker: {PythonSDK: {Modules: {TelemetryOptOut: true}}}
"""
_OF_THE_JOB = "/opt/ml/processing"


def built() -> str:
    """The definition, as indented JSON."""
    with tempfile.TemporaryDirectory() as folder:
        # the SDK reads these when it is imported: nothing is reported, no profile of yours is read
        config = Path(folder, "sagemaker.yaml")
        config.write_text(_OPT_OUT)
        settings = {
            "SAGEMAKER_USER_CONFIG_OVERRIDE": str(config),
            "SAGEMAKER_SUPPRESS_V2_WARNING": "1",
            "AWS_ACCESS_KEY_ID": "nobody",
            "AWS_SECRET_ACCESS_KEY": "nothing",
            "AWS_DEFAULT_REGION": REGION,
            "AWS_CONFIG_FILE": os.devnull,
            "AWS_SHARED_CREDENTIALS_FILE": os.devnull,
            "AWS_EC2_METADATA_DISABLED": "true",
        }
        with mock.patch.dict(os.environ, settings):
            definition = json.loads(_definition())
    return json.dumps(definition, indent=2, sort_keys=True) + "\n"


def _definition() -> str:
    import boto3
    from sagemaker.drift_check_baselines import DriftCheckBaselines
    from sagemaker.estimator import Estimator
    from sagemaker.inputs import TrainingInput
    from sagemaker.model import Model
    from sagemaker.model_metrics import MetricsSource, ModelMetrics
    from sagemaker.processing import ProcessingInput, ProcessingOutput, Processor
    from sagemaker.workflow.execution_variables import ExecutionVariables
    from sagemaker.workflow.functions import Join
    from sagemaker.workflow.model_step import ModelStep
    from sagemaker.workflow.parameters import ParameterInteger, ParameterString
    from sagemaker.workflow.pipeline import Pipeline
    from sagemaker.workflow.pipeline_context import PipelineSession
    from sagemaker.workflow.steps import ProcessingStep, TrainingStep

    session = PipelineSession(boto_session=boto3.Session(region_name=REGION), default_bucket=BUCKET)
    data = ParameterString("InputData", default_value=f"s3://{BUCKET}/training/latest/")
    group = ParameterString("ModelPackageGroup", default_value="harbour")
    instance = ParameterString("InstanceType", default_value="ml.m5.xlarge")
    rounds = ParameterInteger("Rounds", default_value=200)

    def place(*parts: str) -> Join:
        here = ["s3:/", BUCKET, "runs", ExecutionVariables.PIPELINE_EXECUTION_ID, *parts]
        return Join(on="/", values=here)

    def given(name: str, uri: object) -> ProcessingInput:
        return ProcessingInput(input_name=name, source=uri, destination=f"{_OF_THE_JOB}/{name}")

    def left(name: str) -> ProcessingOutput:
        return ProcessingOutput(
            output_name=name, source=f"{_OF_THE_JOB}/{name}", destination=place(name)
        )

    prepare = ProcessingStep(
        "Prepare",
        step_args=Processor(
            role=ROLE,
            image_uri=SKLEARN,
            instance_count=1,
            instance_type=instance,
            entrypoint=["python3", f"{_OF_THE_JOB}/code/prepare.py"],
            sagemaker_session=session,
        ).run(
            inputs=[given("data", data), given("code", f"s3://{BUCKET}/code/prepare.py")],
            outputs=[left("train"), left("validation")],
        ),
    )
    baseline = ProcessingStep(
        "Baseline",
        step_args=Processor(
            role=ROLE,
            image_uri=ANALYZER,
            instance_count=1,
            instance_type=instance,
            # as DefaultModelMonitor.suggest_baseline sets them
            env={
                "dataset_format": '{"csv": {"header": true}}',
                "dataset_source": f"{_OF_THE_JOB}/train",
                "output_path": f"{_OF_THE_JOB}/baseline",
                "publish_cloudwatch_metrics": "Disabled",
            },
            sagemaker_session=session,
        ).run(inputs=[given("train", place("train"))], outputs=[left("baseline")]),
        depends_on=[prepare],
    )
    train = TrainingStep(
        "Train",
        step_args=Estimator(
            image_uri=XGBOOST,
            role=ROLE,
            instance_count=1,
            instance_type=instance,
            output_path=f"s3://{BUCKET}/models",
            hyperparameters={"objective": "binary:logistic", "num_round": rounds},
            max_run=3600,
            sagemaker_session=session,
        ).fit(
            {
                channel: TrainingInput(place(channel), content_type="text/csv")
                for channel in ("train", "validation")
            }
        ),
        depends_on=[prepare],
    )

    evaluate = ProcessingStep(
        "Evaluate",
        step_args=Processor(
            role=ROLE,
            image_uri=XGBOOST,
            instance_count=1,
            instance_type=instance,
            entrypoint=["python3", f"{_OF_THE_JOB}/code/evaluate.py"],
            sagemaker_session=session,
        ).run(
            inputs=[
                given("model", train.properties.ModelArtifacts.S3ModelArtifacts),
                given("validation", place("validation")),
                given("code", f"s3://{BUCKET}/code/evaluate.py"),
            ],
            outputs=[left("quality")],
        ),
    )

    def measured(folder: str, name: str) -> MetricsSource:
        return MetricsSource("application/json", place(folder, f"{name}.json"))

    # what monitors of this model have to compare with: it tells whose baseline one is
    baselines = {
        "model_data_statistics": measured("baseline", "statistics"),
        "model_data_constraints": measured("baseline", "constraints"),
        "model_statistics": measured("quality", "statistics"),
        "model_constraints": measured("quality", "constraints"),
    }
    register = ModelStep(
        "Register",
        step_args=Model(
            image_uri=XGBOOST,
            model_data=train.properties.ModelArtifacts.S3ModelArtifacts,
            role=ROLE,
            sagemaker_session=session,
        ).register(
            model_package_group_name=group,
            content_types=["text/csv"],
            response_types=["text/csv"],
            inference_instances=["ml.m5.large"],
            transform_instances=["ml.m5.large"],
            approval_status="PendingManualApproval",
            model_metrics=ModelMetrics(**baselines),
            drift_check_baselines=DriftCheckBaselines(**baselines),
        ),
        depends_on=[baseline, evaluate],
    )
    pipeline = Pipeline(
        name="harbour-retrain",
        parameters=[data, group, instance, rounds],
        steps=[prepare, baseline, train, evaluate, register],
        sagemaker_session=session,
    )
    return str(pipeline.definition())


if __name__ == "__main__":
    definition = built()
    if "--check" in sys.argv:
        sys.exit(_BUILT.read_text() != definition and "retrain.json is not what this file builds")
    _BUILT.write_text(definition)
