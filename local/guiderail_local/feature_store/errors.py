"""What the service answers to a request that it refuses."""

from __future__ import annotations


class Refused(Exception):
    """A refusal: an HTTP status, the error's code in the header ``x-amzn-errortype``, and its message.

    Source: botocore's service model sagemaker-featurestore-runtime 2020-07-01.
    """

    status = 400
    code = "ValidationError"

    def __init__(self, message: str) -> None:
        """Keep the message, of which the service sends 2,048 characters."""
        super().__init__(message[:2048])


class ValidationError(Refused):
    """The request, or a record in it, is not valid."""


class ResourceNotFound(Refused):
    """There is no such feature group."""

    status = 404
    code = "ResourceNotFound"


class UnknownOperation(Refused):
    """The service has no such operation: what a region answers that does not have it yet."""

    status = 404
    code = "UnknownOperationException"
