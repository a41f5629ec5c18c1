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
