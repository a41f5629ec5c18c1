"""Clients of AWS services, made when first used, and the translation of their errors."""

from __future__ import annotations

import gzip
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import cache
from typing import Any

import botocore.session
import msgspec
from botocore.config import Config
from botocore.exceptions import (
    BotoCoreError,
    ClientError,
    HTTPClientError,
    ParamValidationError,
)
from botocore.loaders import JSONFileLoader, Loader
from botocore.parsers import ResponseParserError

from guiderail.errors import (
    AccessDeniedError,
    AlreadyExistsError,
    GuiderailError,
    NotFoundError,
    RejectedRequestError,
    ThrottledError,
    UnavailableError,
)

SERVICES = (
    "dynamodb",
    "events",
    "lambda",
    "s3",
    "sagemaker",
    "sagemaker-featurestore-runtime",
    "secretsmanager",
    "sesv2",
    "sns",
    "sqs",
    "ssm",
    "stepfunctions",
)
"""Services that the adapters make clients of."""

ONE_TRY = (10.0, 1)
"""Seconds and attempts of calls that tell people something: trying again after a time-out may say it twice,
so the outbox decides on that, not botocore."""

_DENIED = frozenset(
    {
        "AccessDenied",
        "AccessDeniedException",
        "AccessForbidden",
        "Forbidden",
        "403",
        "UnrecognizedClientException",
    }
)
_GONE = frozenset(
    {
        "NoSuchKey",
        "NoSuchBucket",
        "ResourceNotFound",
        "ResourceNotFoundException",
        "ExecutionDoesNotExist",
        "StateMachineDoesNotExist",
        "404",
    }
)
_THERE_ALREADY = frozenset({"ConditionalCheckFailedException", "ExecutionAlreadyExists"})
_SLOW_DOWN = frozenset(
    {
        "Throttling",
        "ThrottlingException",
        "ThrottledException",
        "TooManyRequestsException",
        "RequestLimitExceeded",
        "ProvisionedThroughputExceededException",
        "SlowDown",
        "LimitExceededException",
        "RequestThrottled",
        "RequestThrottledException",
        "KMSThrottling",
        "KMSThrottlingException",
    }
)
_PASSING = frozenset(
    {
        "RequestTimeout",
        "RequestTimeoutException",
        "TransactionConflictException",
        "TransactionInProgressException",
        "ExpiredToken",
    }
)


class Once:
    """functools.cache whose callers wait for the one that makes: it would make one for each thread.

    Besides, a botocore session makes one client at a time (boto3's guide, "Session", on threads).
    """

    def __init__(self, make: Callable[..., Any]) -> None:
        """Make with this."""
        self._made = cache(make)
        self._lock = threading.Lock()

    def __call__(self, *given: Any) -> Any:
        """What was made for the same arguments before, or is made now."""
        with self._lock:
            return self._made(*given)

    def cache_clear(self) -> None:
        """Make anew from now on."""
        self._made.cache_clear()


def forget() -> None:
    """Let the next call be that of a new process."""
    client.cache_clear()
    _session.cache_clear()


@Once
def client(service: str, read_timeout: float = 15, attempts: int = 4) -> Any:
    """Return the client of a service; botocore without boto3 saves the import of its transfer manager."""
    session = _session()
    return session.create_client(
        service,
        config=Config(
            retries={"mode": "standard", "total_max_attempts": attempts},
            connect_timeout=3,
            read_timeout=read_timeout,
            # neither is of use here, and each costs time in every call
            account_id_endpoint_mode="disabled",
            disable_request_compression=True,
        ),
    )


@Once
def _session() -> botocore.session.Session:
    session = botocore.session.get_session()
    session.register_component("data_loader", _ServiceModels(file_loader=_ModelFiles()))
    return session


class _ModelFiles(JSONFileLoader):
    """Reads botocore's API models with msgspec: a third of the time that json takes for them."""

    def load_file(self, file_path: str) -> Any:
        """Read a model; None where there is none, as botocore has it."""
        for suffix, opened in ((".json.gz", gzip.open), (".json", open)):
            try:
                with opened(file_path + suffix, "rb") as file:
                    return msgspec.json.decode(file.read())
            except FileNotFoundError:
                continue
        return None


class _ServiceModels(Loader):
    """Knows the services that are asked for; botocore would list all 400 to see that one is there."""

    def list_available_services(self, type_name: str) -> list[str]:
        """List the services that the adapters use."""
        return list(SERVICES)


@contextmanager
def translated(what: str) -> Iterator[None]:
    """Turn botocore's errors into ours, once, with what was being done in the message.

    Raises:
        AccessDeniedError, AlreadyExistsError, NotFoundError, RejectedRequestError: Nothing will
            change by itself.
        ThrottledError, UnavailableError: It may succeed later.
    """
    try:
        yield
    except ClientError as exc:
        raise _ours(what, exc) from exc
    except ResponseParserError as exc:
        # a gateway's page in place of an answer; the text holds all of it
        raise UnavailableError(f"{what}: the answer is not AWS's own") from exc
    except ParamValidationError as exc:
        # nothing was called, and never will be with these
        raise RejectedRequestError(f"{what}: {exc}") from exc
    except (HTTPClientError, BotoCoreError) as exc:
        raise UnavailableError(f"{what}: {exc}") from exc


def _ours(what: str, exc: ClientError) -> GuiderailError:
    code = str(exc.response.get("Error", {}).get("Code", ""))
    status = exc.response.get("ResponseMetadata", {}).get("HTTPStatusCode", 0)
    message = f"{what}: {code}: {exc.response.get('Error', {}).get('Message', '')}"
    if code in _THERE_ALREADY:
        return AlreadyExistsError(message)
    if code in _SLOW_DOWN or status == 429:
        return ThrottledError(message)
    if code in _PASSING or status >= 500:
        return UnavailableError(message)
    if code in _DENIED or status == 403:
        return AccessDeniedError(
            message, remedy="Grant the function's role this action on this resource"
        )
    if code in _GONE or status == 404 or "could not find" in message.lower():
        return NotFoundError(message)
    return RejectedRequestError(message)
