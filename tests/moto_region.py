"""A region of moto's, over HTTP on loopback, which adapters and boto3 of this process talk to."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import pytest
from guiderail.adapters import clients
from guiderail_local.sagemaker import SageMaker

REGION = "eu-west-1"


@contextmanager
def region() -> Iterator[SageMaker]:
    """A fresh region; clients are made anew for it, and forgotten after it."""
    with SageMaker() as server, pytest.MonkeyPatch.context() as environment:
        for name, value in {
            "AWS_ENDPOINT_URL": server.url,
            "AWS_DEFAULT_REGION": REGION,
            "AWS_ACCESS_KEY_ID": "test",
            "AWS_SECRET_ACCESS_KEY": "test",
        }.items():
            environment.setenv(name, value)
        clients.forget()
        yield server
        clients.forget()
