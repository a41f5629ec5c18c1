"""What calls that act have in common: their errors, their parameters, the names that they give."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from botocore.exceptions import ClientError, ParamValidationError

from guiderail.adapters.clients import translated
from guiderail.errors import (
    AlreadyExistsError,
    NotFoundError,
    RejectedRequestError,
    ThrottledError,
    UnavailableError,
)
from guiderail.model.remediation import Remediation

NAMED = "guiderail-"
"""How the name of everything begins that an action makes; permissions are granted by it."""

# as the API models of SageMaker, Step Functions and Lambda name them
_QUOTAS = frozenset(
    {"ResourceLimitExceeded", "ExecutionLimitExceeded", "ServiceQuotaExceededException"}
)
_BUSY = frozenset({"ConflictException", "ResourceConflictException", "ResourceNotReadyException"})
_TAKEN = frozenset({"ResourceInUse", "ResourceInUseException"})


@contextmanager
def acting(what: str) -> Iterator[None]:
    """Translate errors as elsewhere, and besides what a quota or another change forbids only for now.

    Raises:
        PermanentError: Nothing will change by itself; AlreadyExistsError where the name is taken.
        TransientError: It may succeed later.
    """
    try:
        with translated(what):
            yield
    except UnavailableError as error:
        if isinstance(error.__cause__, ParamValidationError):
            # nothing was called: what botocore refuses it refuses every time
            raise RejectedRequestError(error.args[0]) from error
        raise
    except RejectedRequestError as error:
        code = ""
        if isinstance(error.__cause__, ClientError):
            code = str(error.__cause__.response.get("Error", {}).get("Code", ""))
        message = error.args[0]
        if code in _QUOTAS:
            raise ThrottledError(
                f"a quota is used up: {message}",
                remedy="It is tried again; to have more at once, ask for a higher service quota",
            ) from error
        if code in _BUSY:
            raise UnavailableError(f"something else changes it now: {message}") from error
        if code in _TAKEN:
            raise AlreadyExistsError(message) from error
        raise


@contextmanager
def named(field: str, value: str, remedy: str) -> Iterator[None]:
    """Say which parameter named what is not there, and what to do.

    Raises:
        NotFoundError: There is nothing of this name.
    """
    try:
        yield
    except NotFoundError as error:
        message = f"{field} is {value}, and there is none of this name"
        raise NotFoundError(message, remedy=remedy) from error


def text_of(remediation: Remediation, field: str, remedy: str) -> str:
    """A parameter that has to be there.

    Raises:
        RejectedRequestError: It is missing, empty, or no text.
    """
    value = remediation.parameters.get(field)
    if not isinstance(value, str) or not value.strip():
        raise RejectedRequestError(
            f"{remediation.action}: {field} is {value!r}", remedy=f"{remedy}, and push the policy"
        )
    return value.strip()


def name_for(what: str, remediation: Remediation) -> str:
    """What a remediation's job, definition or schedule is called: always the same, at most 63 characters."""
    return f"{NAMED}{what}-{remediation.id}"[:63].rstrip("-")
