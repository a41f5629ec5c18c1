"""The stack as these tests look at it; nothing here reaches AWS."""

from __future__ import annotations

import pytest

from tests import template

# Every parameter that may be left empty, filled.
FULL = {
    "AlertEmail": "on-call@models.example",
    "NotificationTopicArns": "arn:aws:sns:eu-central-1:111122223333:chat",
    "NotificationKeyArns": "arn:aws:kms:eu-central-1:111122223333:key/2a7e",
    "SenderIdentityArns": "arn:aws:ses:eu-central-1:111122223333:identity/models.example",
    "SecretKeyArns": "arn:aws:kms:eu-central-1:111122223333:key/3c9b",
    "ReportBucketArns": "arn:aws:s3:::drift-reports,arn:aws:s3:::fairness-reports",
    "ReportKeyArns": "arn:aws:kms:eu-central-1:111122223333:key/1f0c",
    "RetrainingPipelineArns": "arn:aws:sagemaker:eu-central-1:111122223333:pipeline/retrain-churn",
    "RemediationEndpointArns": "arn:aws:sagemaker:eu-central-1:111122223333:endpoint/churn",
    "RemediationScheduleArns": "arn:aws:sagemaker:eu-central-1:111122223333:monitoring-schedule/churn-*",
    "RemediationRoleArns": "arn:aws:iam::111122223333:role/monitoring",
    "RemediationFeatureGroupArns": "arn:aws:sagemaker:eu-central-1:111122223333:feature-group/customers",
    "RemediationSourceArns": "arn:aws:s3:::corrected,arn:aws:s3:::lake",
    "RemediationKeyArns": "arn:aws:kms:eu-central-1:111122223333:key/4d8a",
    "RemediationTargetArns": "arn:aws:lambda:eu-central-1:111122223333:function:mend,"
    "arn:aws:states:eu-central-1:111122223333:stateMachine:repair",
    "ReingestionImageUri": "111122223333.dkr.ecr.eu-central-1.amazonaws.com/reingest:1",
}


@pytest.fixture(scope="session")
def written() -> template.Json:
    """template.yaml as it is written."""
    return template.load()


@pytest.fixture(scope="session")
def stack() -> template.Json:
    """Resources of the stack, transformed and resolved, with default parameters."""
    return template.resolve(template.transform())


@pytest.fixture(scope="session")
def full_stack() -> template.Json:
    """Resources of the stack with every optional parameter given."""
    return template.resolve(template.transform(FULL), FULL)
