"""Each role may do what its code does, on what it does it to, and nothing else."""

from __future__ import annotations

import re

import pytest

from tests.infrastructure.conftest import FULL
from tests.template import ACCOUNT, REGION, TEMPLATE, Json, as_list, of_type, statements

# Actions for which AWS offers no narrower resource than all of them.
WITHOUT_RESOURCE_TYPES = {
    "xray:PutTelemetryRecords",
    "xray:PutTraceSegments",
}
SERVICES = {
    "OnJobFinishedRole": "lambda",
    "OnDueRole": "lambda",
    "DueScheduleRole": "scheduler",
    "DeliverRole": "lambda",
    "DrawPicturesRole": "lambda",
    "OnReplyRole": "lambda",
}
# In a key's own policy "*" is the key itself.
KEY_POLICIES = {"AlertTopicKey"}
POLICY = {
    "s3:GetObject": {"<PolicyBucket.Arn>/policy.json"},
    "s3:GetObjectVersion": {"<PolicyBucket.Arn>/policy.json"},
    "s3:ListBucket": {"<PolicyBucket.Arn>"},
    "s3:ListBucketVersions": {"<PolicyBucket.Arn>"},
}
# A transaction asks for the actions that it is made of.
TABLE = {
    f"dynamodb:{action}": {"<RunTable.Arn>"} for action in ("DeleteItem", "GetItem", "PutItem")
}


def observing(function: str) -> dict[str, set[str]]:
    """What every function may do to its own log group and with traces."""
    return {
        "logs:CreateLogStream": {f"<{function}LogGroup.Arn>"},
        "logs:PutLogEvents": {f"<{function}LogGroup.Arn>"},
        "xray:PutTelemetryRecords": {"*"},
        "xray:PutTraceSegments": {"*"},
    }


def granted(stack: Json, owner: str) -> dict[str, set[str]]:
    """Actions of a role with the resources they are granted on."""
    grants: dict[str, set[str]] = {}
    for name, statement in statements(stack):
        if name == owner:
            assert statement["Effect"] == "Allow"
            for action in as_list(statement["Action"]):
                grants.setdefault(action, set()).update(as_list(statement["Resource"]))
    return grants


def test_nothing_is_allowed_on_everything_but_for_a_known_reason(full_stack: Json) -> None:
    for name, statement in statements(full_stack):
        if "*" in as_list(statement["Resource"]) and name not in KEY_POLICIES:
            assert set(as_list(statement["Action"])) <= WITHOUT_RESOURCE_TYPES, (
                name,
                statement["Sid"],
            )


def test_the_reason_stands_beside_it() -> None:
    lines = [
        line
        for line in TEMPLATE.read_text(encoding="utf-8").splitlines()
        if 'Resource: "*"' in line
    ]
    assert lines
    assert [line for line in lines if "# reason: " not in line] == []


def test_no_action_is_a_wildcard_outside_key_policies(full_stack: Json) -> None:
    for name, statement in statements(full_stack):
        if name not in KEY_POLICIES and statement["Effect"] == "Allow":
            assert not any("*" in action for action in as_list(statement["Action"])), (
                name,
                statement,
            )


def test_no_managed_policies(full_stack: Json) -> None:
    # AWSLambdaBasicExecutionRole and its like are granted on every resource of the account.
    roles = of_type(full_stack, "AWS::IAM::Role")
    assert roles.keys() == SERVICES.keys()
    assert all("ManagedPolicyArns" not in role for role in roles.values())


def test_roles_are_assumed_by_their_own_service(stack: Json) -> None:
    for role, service in SERVICES.items():
        (statement,) = stack[role]["Properties"]["AssumeRolePolicyDocument"]["Statement"]
        assert statement["Principal"] == {"Service": f"{service}.amazonaws.com"}


def test_on_job_finished_without_options(stack: Json) -> None:
    here = f"{REGION}:{ACCOUNT}"
    sagemaker = {
        f"arn:aws:sagemaker:{here}:{kind}/*" for kind in ("monitoring-schedule", "processing-job")
    }
    assert granted(stack, "OnJobFinishedRole") == {
        "sqs:DeleteMessage": {"<ReportsQueue.Arn>"},
        "sqs:GetQueueAttributes": {"<ReportsQueue.Arn>"},
        "sqs:ReceiveMessage": {"<ReportsQueue.Arn>"},
        "sqs:SendMessage": {"<ReportsDeadLetterQueue.Arn>"},
        "sagemaker:DescribeMonitoringSchedule": sagemaker,
        "sagemaker:DescribeProcessingJob": sagemaker,
        "sagemaker:ListTags": {f"arn:aws:sagemaker:{here}:monitoring-schedule/*"},
        **TABLE,
        "dynamodb:BatchGetItem": {"<RunTable.Arn>"},
        **POLICY,
        "s3:GetObject": {"arn:aws:s3:::drift-reports/*", "<PolicyBucket.Arn>/policy.json"},
        "s3:ListBucket": {"arn:aws:s3:::drift-reports", "<PolicyBucket.Arn>"},
        "logs:CreateLogStream": {"<OnJobFinishedLogGroup.Arn>"},
        "logs:PutLogEvents": {"<OnJobFinishedLogGroup.Arn>"},
        "xray:PutTelemetryRecords": {"*"},
        "xray:PutTraceSegments": {"*"},
    }


def test_options_grant_what_they_name(stack: Json, full_stack: Json) -> None:
    before, after = (granted(one, "OnJobFinishedRole") for one in (stack, full_stack))
    assert after["s3:GetObject"] - before["s3:GetObject"] == {"arn:aws:s3:::fairness-reports/*"}
    assert after["s3:ListBucket"] - before["s3:ListBucket"] == {"arn:aws:s3:::fairness-reports"}
    assert {action: after[action] for action in after.keys() - before.keys()} == {
        "kms:Decrypt": {"arn:aws:kms:eu-central-1:111122223333:key/1f0c"},
        "sagemaker:StartPipelineExecution": {
            "arn:aws:sagemaker:eu-central-1:111122223333:pipeline/retrain-churn"
        },
    }


def test_on_due(stack: Json) -> None:
    assert granted(stack, "OnDueRole") == {
        **TABLE,
        **POLICY,
        "dynamodb:Query": {"<RunTable.Arn>"},
        "dynamodb:UpdateItem": {"<RunTable.Arn>"},
        "sqs:SendMessage": {"<DeliveriesQueue.Arn>", "<DueDeadLetterQueue.Arn>"},
        **observing("OnDue"),
    }


def test_deliver_without_options(stack: Json) -> None:
    here = f"{REGION}:{ACCOUNT}"
    assert granted(stack, "DeliverRole") == {
        "sqs:DeleteMessage": {"<DeliveriesQueue.Arn>"},
        "sqs:GetQueueAttributes": {"<DeliveriesQueue.Arn>"},
        "sqs:ReceiveMessage": {"<DeliveriesQueue.Arn>"},
        "sqs:SendMessage": {"<DeliveriesQueue.Arn>", "<DeliveriesDeadLetterQueue.Arn>"},
        **TABLE,
        "dynamodb:BatchGetItem": {"<RunTable.Arn>"},
        "dynamodb:Query": {"<RunTable.Arn>"},
        **POLICY,
        "sns:Publish": {"<AlertTopic>"},
        "kms:Decrypt": {"<AlertTopicKey.Arn>"},
        "kms:GenerateDataKey": {"<AlertTopicKey.Arn>"},
        "events:PutEvents": {"<GuiderailBus.Arn>"},
        "lambda:InvokeFunction": {"<DrawPictures.Arn>"},
        "secretsmanager:GetSecretValue": {
            f"arn:aws:secretsmanager:{here}:secret:guiderail/*",
        },
        "ssm:GetParameter": {f"arn:aws:ssm:{here}:parameter/guiderail/*"},
        **observing("Deliver"),
    }


def test_deliver_reaches_what_options_name(stack: Json, full_stack: Json) -> None:
    before, after = (granted(one, "DeliverRole") for one in (stack, full_stack))
    added = {action: where - before.get(action, set()) for action, where in after.items()}
    assert {action: where for action, where in added.items() if where} == {
        "sns:Publish": {FULL["NotificationTopicArns"]},
        "kms:Decrypt": {FULL["NotificationKeyArns"], FULL["SecretKeyArns"]},
        "kms:GenerateDataKey": {FULL["NotificationKeyArns"]},
        "ses:SendEmail": {FULL["SenderIdentityArns"]},
        "ses:SendRawEmail": {FULL["SenderIdentityArns"]},
    }


def test_draw_pictures_reaches_nothing(full_stack: Json) -> None:
    assert granted(full_stack, "DrawPicturesRole") == observing("DrawPictures")


def test_on_reply_reads_one_secret_and_keeps_what_was_answered(
    stack: Json, full_stack: Json
) -> None:
    secret = f"arn:aws:secretsmanager:{REGION}:{ACCOUNT}:secret:guiderail/slack-signing-??????"
    before = granted(stack, "OnReplyRole")
    assert before == {
        **TABLE,
        **POLICY,
        "dynamodb:Query": {"<RunTable.Arn>"},
        "dynamodb:UpdateItem": {"<RunTable.Arn>"},
        "secretsmanager:GetSecretValue": {secret},
        **observing("OnReply"),
    }
    after = granted(full_stack, "OnReplyRole")
    assert after == before | {"kms:Decrypt": {FULL["SecretKeyArns"]}}


@pytest.mark.parametrize("parameter", ["SlackSigningSecretName"])
def test_no_secret_of_others_can_be_named(written: Json, parameter: str) -> None:
    pattern = written["Parameters"][parameter]["AllowedPattern"]
    assert re.match(pattern, "guiderail/slack-signing")
    for name in ("prod/database", "guiderail/*", "guiderail/", "x/guiderail/slack"):
        assert not re.match(pattern, name)


def test_the_policy_that_may_be_read_is_the_one_that_is_read(stack: Json) -> None:
    key = stack["OnDue"]["Properties"]["Environment"]["Variables"]["GUIDERAIL_POLICY_KEY"]
    assert granted(stack, "OnDueRole")["s3:GetObject"] == {f"<PolicyBucket.Arn>/{key}"}


def test_due_schedule(stack: Json) -> None:
    assert granted(stack, "DueScheduleRole") == {
        "lambda:InvokeFunction": {"<OnDue.Arn>"},
        "sqs:SendMessage": {"<DueDeadLetterQueue.Arn>"},
    }
