"""Each role may do what its code does, on what it does it to, and nothing else."""

from __future__ import annotations

import re

import pytest
from guiderail.adapters.dynamodb import INDEX

from tests.infrastructure.conftest import FULL
from tests.template import ACCOUNT, REGION, TEMPLATE, Json, as_list, of_type, statements

# Actions for which AWS offers no narrower resource than all of them.
WITHOUT_RESOURCE_TYPES = {
    "xray:PutTelemetryRecords",
    "xray:PutTraceSegments",
    "xray:GetSamplingRules",
    "xray:GetSamplingTargets",
    # of what Step Functions sends to a log group, which is delivered for it
    "logs:CreateLogDelivery",
    "logs:DeleteLogDelivery",
    "logs:DescribeLogGroups",
    "logs:DescribeResourcePolicies",
    "logs:GetLogDelivery",
    "logs:ListLogDeliveries",
    "logs:PutResourcePolicy",
    "logs:UpdateLogDelivery",
    "ecr:GetAuthorizationToken",
}
SERVICES = {
    "OnJobFinishedRole": "lambda",
    "OnDueRole": "lambda",
    "DueScheduleRole": "scheduler",
    "DeliverRole": "lambda",
    "DrawPicturesRole": "lambda",
    "OnReplyRole": "lambda",
    "OnActionFinishedRole": "lambda",
    "RemediateRole": "lambda",
    "ReingestRole": "lambda",
    "ReingestionJobRole": "sagemaker",
    "RemediationMachineRole": "states",
    "ReingestionMachineRole": "states",
}
HERE = f"{REGION}:{ACCOUNT}"
MACHINE = {f"arn:aws:states:{HERE}:stateMachine:guiderail-remediation"}
DRIVING = {"states:StartExecution": MACHINE, "states:SendTaskSuccess": MACHINE}
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


def test_roles_are_assumed_by_their_own_service(full_stack: Json) -> None:
    for role, service in SERVICES.items():
        (statement,) = full_stack[role]["Properties"]["AssumeRolePolicyDocument"]["Statement"]
        assert statement["Principal"] == {"Service": f"{service}.amazonaws.com"}
        if service != "lambda":  # whose roles are passed to functions of the account alone
            assert statement["Condition"] == {"StringEquals": {"aws:SourceAccount": ACCOUNT}}


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
        **DRIVING,
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
        "sqs:SendMessage": {"<DeliveriesQueue.Arn>"},
        **DRIVING,
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


def sagemaker(*kinds: str) -> set[str]:
    """ARNs of everything of some kinds."""
    return {f"arn:aws:sagemaker:{HERE}:{kind}" for kind in kinds}


JOB_DEFINITIONS = ("data-quality", "model-bias", "model-explainability", "model-quality")
MODELS = sagemaker("endpoint/*", "endpoint-config/*", "model/*", "model-package/*", "pipeline/*")
MONITORING = sagemaker(
    "monitoring-schedule/*",
    "processing-job/*",
    *(f"{kind}-job-definition/*" for kind in JOB_DEFINITIONS),
)
DEFINITION_CALLS = (
    "DataQualityJobDefinition", "ModelBiasJobDefinition", "ModelExplainabilityJobDefinition",
    "ModelQualityJobDefinition",
)  # fmt: skip


def test_on_action_finished_wakes_and_does_nothing_else(full_stack: Json) -> None:
    assert granted(full_stack, "OnActionFinishedRole") == {
        "sqs:DeleteMessage": {"<ActionsQueue.Arn>"},
        "sqs:GetQueueAttributes": {"<ActionsQueue.Arn>"},
        "sqs:ReceiveMessage": {"<ActionsQueue.Arn>"},
        "sqs:SendMessage": {"<ActionsDeadLetterQueue.Arn>"},
        **TABLE,
        **DRIVING,
        **observing("OnActionFinished"),
    }


def test_remediate_changes_nothing_unless_parameters_name_it(stack: Json) -> None:
    executions = f"arn:aws:states:{HERE}:execution:guiderail-reingestion:*"
    assert granted(stack, "RemediateRole") == {
        **TABLE,
        **POLICY,
        "dynamodb:BatchGetItem": {"<RunTable.Arn>"},
        # what fires is found by the index alone
        "dynamodb:Query": {f"<RunTable.Arn>/index/{INDEX}"},
        "sqs:SendMessage": {"<DeliveriesQueue.Arn>"},
        "s3:GetObject": {"<PolicyBucket.Arn>/policy.json", "arn:aws:s3:::drift-reports/*"},
        "s3:ListBucket": {"<PolicyBucket.Arn>", "arn:aws:s3:::drift-reports"},
        **{
            f"sagemaker:{action}": MODELS
            for action in (
                "DescribeEndpoint", "DescribeEndpointConfig", "DescribeModel",
                "DescribeModelPackage", "DescribePipelineExecution", "ListPipelineExecutionSteps",
            )
        },
        **{
            f"sagemaker:Describe{what}": MONITORING
            for what in (*DEFINITION_CALLS, "MonitoringSchedule", "ProcessingJob")
        },
        "states:SendTaskSuccess": MACHINE,
        "states:StartExecution": {*MACHINE, "<ReingestionMachine>"},
        "states:DescribeExecution": {executions},
        **observing("Remediate"),
    }  # fmt: skip


def test_remediate_changes_what_parameters_name(stack: Json, full_stack: Json) -> None:
    before, after = (granted(one, "RemediateRole") for one in (stack, full_stack))
    added = {action: where - before.get(action, set()) for action, where in after.items()}
    own = sagemaker(
        "monitoring-schedule/guiderail-*",
        "processing-job/guiderail-*",
        *(f"{kind}-job-definition/guiderail-*" for kind in JOB_DEFINITIONS),
    )
    schedules = {FULL["RemediationScheduleArns"]}
    function, machine = FULL["RemediationTargetArns"].split(",")
    assert {action: where for action, where in added.items() if where} == {
        # sources of re-ingestions, and reports and baselines of the second bucket
        "s3:ListBucket": {
            "arn:aws:s3:::corrected", "arn:aws:s3:::lake", "arn:aws:s3:::fairness-reports",
        },
        "s3:GetObject": {"arn:aws:s3:::fairness-reports/*"},
        "s3:PutObject": {"arn:aws:s3:::drift-reports/*", "arn:aws:s3:::fairness-reports/*"},
        "sagemaker:DescribePipeline": {FULL["RetrainingPipelineArns"]},
        "sagemaker:StartPipelineExecution": {FULL["RetrainingPipelineArns"]},
        "sagemaker:ListTags": {FULL["RemediationEndpointArns"]},
        "sagemaker:UpdateEndpoint": {
            FULL["RemediationEndpointArns"], *sagemaker("endpoint-config/*"),
        },
        "sagemaker:StartMonitoringSchedule": schedules,
        "sagemaker:StopMonitoringSchedule": schedules,
        "sagemaker:UpdateMonitoringSchedule": schedules,
        "sagemaker:AddTags": own,
        "sagemaker:CreateMonitoringSchedule": own,
        "sagemaker:CreateProcessingJob": own,
        **{f"sagemaker:Create{what}": own for what in DEFINITION_CALLS},
        "iam:PassRole": {FULL["RemediationRoleArns"]},
        "lambda:InvokeFunction": {function, machine},
        "states:StartExecution": {function, machine},
        # of a function this names nothing that there could be
        "states:DescribeExecution": {
            f"{function}:*", f"arn:aws:states:{HERE}:execution:repair:*",
        },
    }  # fmt: skip


@pytest.mark.parametrize("owner", ["RemediateRole", "ReingestionMachineRole"])
def test_roles_are_passed_to_sagemaker_alone(full_stack: Json, owner: str) -> None:
    (passing,) = [
        statement
        for name, statement in statements(full_stack)
        if name == owner and statement["Action"] == "iam:PassRole"
    ]
    assert passing["Condition"] == {
        "StringEquals": {"iam:PassedToService": "sagemaker.amazonaws.com"}
    }


def test_reingest_reads_and_writes_what_parameters_name(stack: Json, full_stack: Json) -> None:
    kept = {
        "s3:ListBucket": {"<ReingestionBucket.Arn>"},
        "s3:GetObject": {"<ReingestionBucket.Arn>/*"},
        "s3:PutObject": {"<ReingestionBucket.Arn>/*"},
    }
    assert granted(stack, "ReingestPolicy") == kept
    assert granted(stack, "ReingestRole") == observing("Reingest")
    group = {FULL["RemediationFeatureGroupArns"]}
    assert granted(full_stack, "ReingestPolicy") == {
        "s3:ListBucket": {*kept["s3:ListBucket"], *FULL["RemediationSourceArns"].split(",")},
        "s3:GetObject": {
            *kept["s3:GetObject"],
            *(f"{bucket}/*" for bucket in FULL["RemediationSourceArns"].split(",")),
        },
        "s3:PutObject": kept["s3:PutObject"],
        "kms:Decrypt": {FULL["RemediationKeyArns"]},
        "kms:GenerateDataKey": {FULL["RemediationKeyArns"]},
        "sagemaker:BatchWriteRecord": group,
        "sagemaker:DescribeFeatureGroup": group,
        "sagemaker:GetRecord": group,
        "sagemaker:PutRecord": group,
    }


def test_jobs_that_ingest_may_do_what_the_function_does(stack: Json, full_stack: Json) -> None:
    assert "ReingestionJobRole" not in stack
    assert stack["ReingestPolicy"]["Properties"]["Roles"] == ["<ReingestRole>"]
    assert full_stack["ReingestPolicy"]["Properties"]["Roles"] == [
        "<ReingestRole>", "<ReingestionJobRole>",
    ]  # fmt: skip
    environment = full_stack["Reingest"]["Properties"]["Environment"]["Variables"]
    assert environment["GUIDERAIL_REINGESTION_ROLE"] == "<ReingestionJobRole.Arn>"


def delivering_logs() -> dict[str, set[str]]:
    """What every state machine may do with logs and traces."""
    return {
        action: {"*"} for action in WITHOUT_RESOURCE_TYPES if action.startswith(("logs:", "xray:"))
    }


def test_the_remediation_machine_calls_its_function_and_nothing_else(full_stack: Json) -> None:
    assert granted(full_stack, "RemediationMachineRole") == {
        "lambda:InvokeFunction": {"<Remediate.Arn>"},
        **delivering_logs(),
    }


def test_the_reingestion_machine(stack: Json, full_stack: Json) -> None:
    bucket = {"<ReingestionBucket.Arn>/*"}
    machine = f"arn:aws:states:{HERE}:stateMachine:guiderail-reingestion"
    children = f"arn:aws:states:{HERE}:execution:guiderail-reingestion/*"
    before = granted(stack, "ReingestionMachineRole")
    assert before == {
        "lambda:InvokeFunction": {"<Reingest.Arn>"},
        "states:StartExecution": {machine},
        "states:DescribeExecution": {children},
        "states:StopExecution": {children},
        "s3:AbortMultipartUpload": bucket,
        "s3:GetObject": bucket,
        "s3:ListMultipartUploadParts": bucket,
        "s3:PutObject": bucket,
        **delivering_logs(),
    }
    after = granted(full_stack, "ReingestionMachineRole")
    jobs = sagemaker("processing-job/guiderail-reingest-*")
    rule = f"arn:aws:events:{HERE}:rule/StepFunctionsGetEventsForSageMakerProcessingJobsRule"
    assert {action: where for action, where in after.items() if action not in before} == {
        "sagemaker:AddTags": jobs,
        "sagemaker:CreateProcessingJob": jobs,
        "sagemaker:DescribeProcessingJob": jobs,
        "sagemaker:StopProcessingJob": jobs,
        "iam:PassRole": {"<ReingestionJobRole.Arn>"},
        "events:DescribeRule": {rule},
        "events:PutRule": {rule},
        "events:PutTargets": {rule},
    }
    assert stack["ReingestionMachine"]["Properties"]["StateMachineName"] in machine
