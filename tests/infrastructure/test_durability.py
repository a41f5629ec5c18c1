"""Nothing is lost without somebody being told: queues, storage, logs, alarms."""

from __future__ import annotations

import pytest
from guiderail.adapters.channels import AT_ONCE
from guiderail.adapters.channels.slack import SEND_SECONDS
from guiderail.services.delivering import LEASE

from tests.template import Json, as_list, of_type

LONGEST_RETENTION = 14 * 24 * 3600
ALARMS = {
    ("AWS/SQS", "ApproximateNumberOfMessagesVisible", "<ReportsDeadLetterQueue.QueueName>"),
    ("AWS/SQS", "ApproximateAgeOfOldestMessage", "<ReportsQueue.QueueName>"),
    ("AWS/SQS", "ApproximateNumberOfMessagesVisible", "<DeliveriesDeadLetterQueue.QueueName>"),
    ("AWS/SQS", "ApproximateAgeOfOldestMessage", "<DeliveriesQueue.QueueName>"),
    ("AWS/SQS", "ApproximateNumberOfMessagesVisible", "<ActionsDeadLetterQueue.QueueName>"),
    ("AWS/SQS", "ApproximateAgeOfOldestMessage", "<ActionsQueue.QueueName>"),
    ("AWS/States", "ExecutionsFailed", "<RemediationMachine>"),
    ("AWS/Lambda", "Errors", "<OnActionFinished>"),
    ("AWS/Lambda", "Errors", "<Remediate>"),
    ("AWS/Lambda", "Errors", "<OnJobFinished>"),
    ("AWS/Lambda", "Errors", "<OnDue>"),
    ("AWS/Lambda", "Errors", "<Deliver>"),
    ("AWS/Lambda", "Errors", "<OnReply>"),
    ("AWS/Lambda", "Throttles", "<OnJobFinished>"),
}
# What each queue is read by, and where its messages go that nobody can handle.
SOURCES = {
    "ReportsQueue": ("OnJobFinished", "ReportsDeadLetterQueue"),
    "DeliveriesQueue": ("Deliver", "DeliveriesDeadLetterQueue"),
    "ActionsQueue": ("OnActionFinished", "ActionsDeadLetterQueue"),
}
RULES = {
    "ReportsQueue": ["JobFinishedRule"],
    "ActionsQueue": [
        "PipelineEndedRule", "ModelDecidedRule", "EndpointChangedRule", "BaselineJobEndedRule",
        "ExecutionEndedRule",
    ],
}  # fmt: skip
LONGEST_DELAY = 900
"""Seconds by which SQS puts a message off at most, so a try that has to wait."""


def test_queues_are_encrypted(stack: Json) -> None:
    queues = of_type(stack, "AWS::SQS::Queue")
    assert queues.keys() == {
        "ReportsQueue", "ReportsDeadLetterQueue", "DueDeadLetterQueue", "DeliveriesQueue",
        "DeliveriesDeadLetterQueue", "ActionsQueue", "ActionsDeadLetterQueue",
    }  # fmt: skip
    assert all(queue["SqsManagedSseEnabled"] is True for queue in queues.values())


@pytest.mark.parametrize("source", SOURCES)
def test_each_source_has_a_dead_letter_queue_of_its_own(stack: Json, source: str) -> None:
    _, dead_letters = SOURCES[source]
    assert stack[source]["Properties"]["RedrivePolicy"] == {
        "deadLetterTargetArn": f"<{dead_letters}.Arn>",
        "maxReceiveCount": 5,
    }


@pytest.mark.parametrize(
    "queue",
    [
        "ReportsDeadLetterQueue", "DueDeadLetterQueue", "DeliveriesDeadLetterQueue",
        "ActionsDeadLetterQueue",
    ],
)  # fmt: skip
def test_dead_letters_are_kept_longest(stack: Json, queue: str) -> None:
    assert stack[queue]["Properties"]["MessageRetentionPeriod"] == LONGEST_RETENTION


@pytest.mark.parametrize("source", SOURCES)
def test_messages_stay_hidden_for_six_timeouts(stack: Json, source: str) -> None:
    timeout = stack[SOURCES[source][0]]["Properties"]["Timeout"]
    assert stack[source]["Properties"]["VisibilityTimeout"] >= 6 * timeout


@pytest.mark.parametrize("source", SOURCES)
def test_age_alarm_waits_until_retries_are_over(stack: Json, source: str) -> None:
    queue = stack[source]["Properties"]
    retrying = queue["VisibilityTimeout"] * queue["RedrivePolicy"]["maxReceiveCount"]
    threshold = stack[f"{source}AgeAlarm"]["Properties"]["Threshold"]
    assert threshold >= max(retrying, 2 * LONGEST_DELAY)


def test_every_event_source_reports_single_failures(stack: Json) -> None:
    sources = of_type(stack, "AWS::Lambda::EventSourceMapping")
    assert {source["FunctionName"]: source["BatchSize"] for source in sources.values()} == {
        "<OnJobFinished>": 10,
        "<Deliver>": 8,
        "<OnActionFinished>": 10,
    }
    read = {one["FunctionName"]: one["EventSourceArn"] for one in sources.values()}
    assert read == {f"<{function}>": f"<{queue}.Arn>" for queue, (function, _) in SOURCES.items()}
    for source in sources.values():
        assert source["FunctionResponseTypes"] == ["ReportBatchItemFailures"]
    most = {
        one["FunctionName"]: one["ScalingConfig"]["MaximumConcurrency"] for one in sources.values()
    }
    assert most == {"<OnJobFinished>": 5, "<Deliver>": 20, "<OnActionFinished>": 2}


def test_a_batch_of_deliveries_ends_before_its_time_lease_and_visibility_do(stack: Json) -> None:
    # were every channel of a batch to hang
    in_a_row = stack["DeliverDeliveries"]["Properties"]["BatchSize"] / AT_ONCE
    longest = stack["Deliver"]["Properties"]["Timeout"]
    visibility = stack["DeliveriesQueue"]["Properties"]["VisibilityTimeout"]
    assert in_a_row * SEND_SECONDS < longest < LEASE.total_seconds() < visibility


@pytest.mark.parametrize("queue", ["DeliveriesQueue", "DeliveriesDeadLetterQueue"])
def test_deliveries_come_from_our_own_roles_alone(stack: Json, queue: str) -> None:
    policies = of_type(stack, "AWS::SQS::QueuePolicy").values()
    assert all(f"<{queue}>" not in policy["Queues"] for policy in policies)


def test_every_rule_target_retries_and_has_a_dead_letter_queue(stack: Json) -> None:
    rules = of_type(stack, "AWS::Events::Rule")
    assert sorted(rules) == sorted(name for names in RULES.values() for name in names)
    for queue, names in RULES.items():
        for name in names:
            (target,) = rules[name]["Targets"]
            assert target["Arn"] == f"<{queue}.Arn>"
            assert target["DeadLetterConfig"]["Arn"] == f"<{SOURCES[queue][1]}.Arn>"
            assert target["RetryPolicy"]["MaximumRetryAttempts"] > 0


@pytest.mark.parametrize(
    ("queue", "rules"),
    [(queue, RULES[source]) for source in RULES for queue in (source, SOURCES[source][1])],
)
def test_no_other_service_may_send(stack: Json, queue: str, rules: list[str]) -> None:
    (policy,) = [
        policy
        for policy in of_type(stack, "AWS::SQS::QueuePolicy").values()
        if policy["Queues"] == [f"<{queue}>"]
    ]
    (statement,) = policy["PolicyDocument"]["Statement"]
    assert statement["Principal"] == {"Service": "events.amazonaws.com"}
    assert statement["Action"] == "sqs:SendMessage"
    assert statement["Resource"] == f"<{queue}.Arn>"
    senders = as_list(statement["Condition"]["ArnEquals"]["aws:SourceArn"])
    assert statement["Condition"].keys() == {"ArnEquals"}
    assert senders == [f"<{rule}.Arn>" for rule in rules]


def test_table_forgets_in_time_and_can_be_restored(stack: Json) -> None:
    table = stack["RunTable"]["Properties"]
    assert table["BillingMode"] == "PAY_PER_REQUEST"
    assert table["SSESpecification"] == {"SSEEnabled": True}
    assert table["PointInTimeRecoverySpecification"] == {"PointInTimeRecoveryEnabled": True}
    assert table["TimeToLiveSpecification"] == {"AttributeName": "expires_at", "Enabled": True}
    assert {key["AttributeName"]: key["KeyType"] for key in table["KeySchema"]} == {
        "pk": "HASH",
        "sk": "RANGE",
    }


def test_firing_incidents_are_listed_without_a_scan(stack: Json) -> None:
    table = stack["RunTable"]["Properties"]
    assert table["GlobalSecondaryIndexes"] == [
        {
            "IndexName": "ByListing",
            "KeySchema": [
                {"AttributeName": "listing", "KeyType": "HASH"},
                {"AttributeName": "pk", "KeyType": "RANGE"},
            ],
            "Projection": {"ProjectionType": "KEYS_ONLY"},
        }
    ]
    assert {one["AttributeName"] for one in table["AttributeDefinitions"]} == {
        "pk", "sk", "listing",
    }  # fmt: skip


@pytest.mark.parametrize("kept", ["RunTable", "PolicyBucket", "ReingestionBucket"])
def test_what_is_known_outlives_the_stack(stack: Json, kept: str) -> None:
    assert stack[kept]["DeletionPolicy"] == stack[kept]["UpdateReplacePolicy"] == "Retain"


def test_policies_are_kept_by_version_encrypted_and_private(stack: Json) -> None:
    bucket = stack["PolicyBucket"]["Properties"]
    assert bucket["VersioningConfiguration"] == {"Status": "Enabled"}
    (encryption,) = bucket["BucketEncryption"]["ServerSideEncryptionConfiguration"]
    assert encryption["ServerSideEncryptionByDefault"] == {"SSEAlgorithm": "AES256"}
    assert bucket["PublicAccessBlockConfiguration"] == {
        "BlockPublicAcls": True,
        "BlockPublicPolicy": True,
        "IgnorePublicAcls": True,
        "RestrictPublicBuckets": True,
    }
    (rule,) = bucket["LifecycleConfiguration"]["Rules"]
    # Versions expire only when twenty newer ones are there: there is always one to fall back to.
    assert rule["Status"] == "Enabled"
    assert rule["NoncurrentVersionExpiration"] == {
        "NoncurrentDays": 400,
        "NewerNoncurrentVersions": 20,
    }
    # An expiry of the current version would be a policy that vanishes by itself.
    assert not rule.keys() & {"ExpirationInDays", "ExpirationDate"}


def test_what_is_ingested_again_is_kept_for_90_days_encrypted_and_private(stack: Json) -> None:
    bucket = stack["ReingestionBucket"]["Properties"]
    (encryption,) = bucket["BucketEncryption"]["ServerSideEncryptionConfiguration"]
    assert encryption["ServerSideEncryptionByDefault"] == {"SSEAlgorithm": "AES256"}
    assert set(bucket["PublicAccessBlockConfiguration"].values()) == {True}
    (rule,) = bucket["LifecycleConfiguration"]["Rules"]
    assert (rule["Status"], rule["ExpirationInDays"]) == ("Enabled", 90)


@pytest.mark.parametrize("bucket", ["PolicyBucket", "ReingestionBucket"])
def test_buckets_are_read_and_written_over_tls_only(stack: Json, bucket: str) -> None:
    policy = stack[f"{bucket}Policy"]["Properties"]
    assert policy["Bucket"] == f"<{bucket}>"
    (statement,) = policy["PolicyDocument"]["Statement"]
    assert (statement["Effect"], statement["Principal"], statement["Action"]) == (
        "Deny", "*", "s3:*",
    )  # fmt: skip
    assert statement["Resource"] == [f"<{bucket}.Arn>", f"<{bucket}.Arn>/*"]
    assert statement["Condition"] == {"Bool": {"aws:SecureTransport": "false"}}


def test_audit_is_kept_for_400_days(stack: Json) -> None:
    variables = stack["OnDue"]["Properties"]["Environment"]["Variables"]
    assert variables["GUIDERAIL_AUDIT_DAYS"] == "400"


def test_runs_are_remembered_longer_than_a_message_lives(written: Json) -> None:
    assert written["Parameters"]["RecordDays"]["MinValue"] * 24 * 3600 > LONGEST_RETENTION


def test_functions_and_state_machines_log_where_lines_expire(stack: Json) -> None:
    groups = of_type(stack, "AWS::Logs::LogGroup")
    assert all(group["RetentionInDays"] == "30" for group in groups.values())
    for function in of_type(stack, "AWS::Lambda::Function").values():
        assert function["LoggingConfig"]["LogGroup"].strip("<>") in groups
    for machine in of_type(stack, "AWS::StepFunctions::StateMachine").values():
        (destination,) = machine["LoggingConfiguration"]["Destinations"]
        assert (
            destination["CloudWatchLogsLogGroup"]["LogGroupArn"].strip("<>").removesuffix(".Arn")
            in groups
        )


def test_everything_is_traced(stack: Json) -> None:
    for function in of_type(stack, "AWS::Lambda::Function").values():
        assert function["TracingConfig"] == {"Mode": "Active"}


def test_alarms_watch_every_place_where_runs_can_be_lost(stack: Json) -> None:
    alarms = of_type(stack, "AWS::CloudWatch::Alarm")
    watched = {
        (alarm["Namespace"], alarm["MetricName"], alarm["Dimensions"][0]["Value"])
        for alarm in alarms.values()
    }
    assert watched == ALARMS
    assert all(name.endswith("Alarm") for name in alarms)


def test_alarms_reach_people(stack: Json) -> None:
    for alarm in of_type(stack, "AWS::CloudWatch::Alarm").values():
        assert alarm["AlarmActions"] == ["<AlertTopic>"]
        assert alarm["TreatMissingData"] == "notBreaching"
        assert alarm["AlarmDescription"]


def test_alarms_can_publish_to_the_encrypted_topic(stack: Json) -> None:
    # Through the key alias/aws/sns CloudWatch cannot, and nobody would notice.
    assert stack["AlertTopic"]["Properties"]["KmsMasterKeyId"] == "<AlertTopicKey>"
    key, topic = stack["AlertTopicKey"]["Properties"], stack["AlertTopicPolicy"]["Properties"]
    assert key["EnableKeyRotation"] is True
    for document, actions in [
        (key["KeyPolicy"], {"kms:Decrypt", "kms:GenerateDataKey*"}),
        (topic["PolicyDocument"], {"sns:Publish"}),
    ]:
        (statement,) = [one for one in document["Statement"] if one["Sid"] == "AlarmsMayPublish"]
        given = statement["Action"]
        assert statement["Principal"] == {"Service": "cloudwatch.amazonaws.com"}
        assert set([given] if isinstance(given, str) else given) == actions


def test_email_is_optional(stack: Json, full_stack: Json) -> None:
    assert "AlertEmailSubscription" not in stack
    subscription = full_stack["AlertEmailSubscription"]["Properties"]
    assert subscription == {
        "TopicArn": "<AlertTopic>",
        "Protocol": "email",
        "Endpoint": "on-call@models.example",
    }
