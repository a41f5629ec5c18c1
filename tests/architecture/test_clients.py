"""The adapters' clients: the session knows just the services they name."""

from __future__ import annotations

import re
from pathlib import Path

import boto3
import pytest
from guiderail.adapters import clients

ADAPTERS = Path(clients.__file__).parent


def test_every_service_that_an_adapter_names_is_known() -> None:
    named = set(
        re.findall(r'client\("([\w-]+)"', "".join(p.read_text() for p in ADAPTERS.rglob("*.py")))
    )
    assert named == set(clients.SERVICES)


@pytest.mark.parametrize("service", clients.SERVICES)
def test_a_model_read_by_msgspec_is_botocores_own(
    service: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AWS_DEFAULT_REGION", "eu-west-1")
    # a client that was made before has changed the model that its session keeps
    clients._session.cache_clear()
    ours = clients._session().get_component("data_loader").load_service_model(service, "service-2")
    theirs = (
        boto3.Session()
        ._session.get_component("data_loader")
        .load_service_model(service, "service-2")
    )
    assert ours == theirs
