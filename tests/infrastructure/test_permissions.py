"""Each role may do what its code does, on what it does it to, and nothing else."""

from __future__ import annotations

from tests.template import ACCOUNT, REGION, TEMPLATE, Json, as_list, of_type, statements

# Actions for which AWS offers no narrower resource than all of them.
WITHOUT_RESOURCE_TYPES = {
    "logs:CreateLogDelivery",
    "logs:DeleteLogDelivery",
    "logs:DescribeLogGroups",
    "logs:DescribeResourcePolicies",
    "logs:GetLogDelivery",
    "logs:ListLogDeliveries",
    "logs:PutResourcePolicy",
    "logs:UpdateLogDelivery",
    "xray:GetSamplingRules",
    "xray:GetSamplingTargets",
    "xray:PutTelemetryRecords",
    "xray:PutTraceSegments",
}
# In a key's own policy "*" is the key itself.
KEY_POLICIES = {"AlertTopicKey"}


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
        if name not in KEY_POLICIES:
            assert not any("*" in action for action in as_list(statement["Action"])), (
                name,
                statement,
            )


def test_no_managed_policies(full_stack: Json) -> None:
    # AWSLambdaBasicExecutionRole and its like are granted on every resource of the account.
    roles = of_type(full_stack, "AWS::IAM::Role")
    assert roles.keys() == {"OnJobFinishedRole", "AlertStateMachineRole"}
    assert all("ManagedPolicyArns" not in role for role in roles.values())


def test_roles_are_assumed_by_their_own_service(stack: Json) -> None:
    for role, service in [("OnJobFinishedRole", "lambda"), ("AlertStateMachineRole", "states")]:
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
        "s3:GetObject": {"arn:aws:s3:::drift-reports/*"},
        "s3:ListBucket": {"arn:aws:s3:::drift-reports"},
        "dynamodb:GetItem": {"<RunTable.Arn>"},
        "dynamodb:PutItem": {"<RunTable.Arn>"},
        "states:StartExecution": {"<AlertStateMachine>"},
        "logs:CreateLogStream": {"<OnJobFinishedLogGroup.Arn>"},
        "logs:PutLogEvents": {"<OnJobFinishedLogGroup.Arn>"},
        "xray:PutTelemetryRecords": {"*"},
        "xray:PutTraceSegments": {"*"},
    }


def test_options_grant_what_they_name(stack: Json, full_stack: Json) -> None:
    before, after = (granted(one, "OnJobFinishedRole") for one in (stack, full_stack))
    assert after["s3:GetObject"] == {
        "arn:aws:s3:::drift-reports/*",
        "arn:aws:s3:::fairness-reports/*",
    }
    assert after["s3:ListBucket"] == {"arn:aws:s3:::drift-reports", "arn:aws:s3:::fairness-reports"}
    assert {action: after[action] for action in after.keys() - before.keys()} == {
        "kms:Decrypt": {"arn:aws:kms:eu-central-1:111122223333:key/1f0c"},
        "sagemaker:StartPipelineExecution": {
            "arn:aws:sagemaker:eu-central-1:111122223333:pipeline/retrain-churn"
        },
    }


def test_alert_state_machine(stack: Json) -> None:
    grants = granted(stack, "AlertStateMachineRole")
    assert {
        action: where for action, where in grants.items() if action not in WITHOUT_RESOURCE_TYPES
    } == {
        "sns:Publish": {"<AlertTopic>"},
        "kms:Decrypt": {"<AlertTopicKey.Arn>"},
        "kms:GenerateDataKey": {"<AlertTopicKey.Arn>"},
        "events:PutEvents": {"<GuiderailBus.Arn>"},
    }
