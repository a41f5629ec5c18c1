"""What AWS answers becomes an error that says whether trying again helps."""

from __future__ import annotations

from typing import Any

import pytest
from botocore.exceptions import ClientError, EndpointConnectionError, ReadTimeoutError
from guiderail.adapters import clients
from guiderail.adapters.clients import translated
from guiderail.adapters.s3 import S3ReportFiles
from guiderail.errors import (
    AccessDeniedError,
    AlreadyExistsError,
    GuiderailError,
    NotFoundError,
    RejectedRequestError,
    ThrottledError,
    UnavailableError,
)

from tests.integration.conftest import BUCKET, Stack


def refusal(code: str, status: int, message: str = "") -> ClientError:
    answer: Any = {
        "Error": {"Code": code, "Message": message},
        "ResponseMetadata": {"HTTPStatusCode": status},
    }
    return ClientError(answer, "GetObject")


@pytest.mark.parametrize(
    ("error", "ours"),
    [
        (refusal("ThrottlingException", 400), ThrottledError),
        (refusal("SlowDown", 503), ThrottledError),
        (refusal("TooManyRequestsException", 429), ThrottledError),
        (refusal("ProvisionedThroughputExceededException", 400), ThrottledError),
        (refusal("InternalError", 500), UnavailableError),
        (refusal("ServiceUnavailable", 503), UnavailableError),
        (refusal("RequestTimeout", 400), UnavailableError),
        (refusal("AccessDenied", 403), AccessDeniedError),
        (refusal("AccessDeniedException", 400), AccessDeniedError),
        (refusal("KMS.DisabledException", 403), AccessDeniedError),
        (refusal("ConditionalCheckFailedException", 400), AlreadyExistsError),
        (refusal("ExecutionAlreadyExists", 400), AlreadyExistsError),
        (refusal("NoSuchKey", 404), NotFoundError),
        (refusal("ResourceNotFound", 400), NotFoundError),
        (refusal("ValidationException", 400, "Could not find requested job"), NotFoundError),
        (refusal("ValidationException", 400, "1 validation error"), RejectedRequestError),
        (EndpointConnectionError(endpoint_url="https://s3"), UnavailableError),
        (ReadTimeoutError(endpoint_url="https://s3"), UnavailableError),
    ],
    ids=lambda value: value.__name__ if isinstance(value, type) else str(value)[:40],
)
def test_an_answer_of_aws_tells_whether_to_try_again(
    error: Exception, ours: type[GuiderailError]
) -> None:
    with pytest.raises(ours, match="reading the report"), translated("reading the report"):
        raise error


def test_a_forbidden_file_is_not_a_missing_one(
    stack: Stack, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Given a bucket with one file, another that S3 refuses, and nothing else
    stack.put(f"s3://{BUCKET}/there", b"{}")
    s3 = clients.client("s3")
    get_object = s3.get_object

    def guarded(**call: Any) -> Any:
        if call["Key"] == "forbidden":
            raise refusal("AccessDenied", 403)
        return get_object(**call)

    monkeypatch.setattr(s3, "get_object", guarded)
    names = ("there", "forbidden", "missing")

    files = S3ReportFiles(100).fetch({name: f"s3://{BUCKET}/{name}" for name in names})

    assert set(files.contents) == {"there"}
    assert {name: type(error) for name, error in files.failures.items()} == {
        "forbidden": AccessDeniedError
    }


def test_a_bucket_that_is_gone_is_no_missing_file(stack: Stack) -> None:
    files = S3ReportFiles(100).fetch({"report": "s3://no-such-bucket-of-ours/report.json"})
    assert isinstance(files.failures["report"], NotFoundError)
