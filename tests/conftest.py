"""What holds for every suite: unit and architecture tests reach no network."""

from __future__ import annotations

from pathlib import Path

import pytest

TESTS = Path(__file__).parent
WITHOUT_NETWORK = {"unit", "architecture"}


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if item.path.relative_to(TESTS).parts[0] in WITHOUT_NETWORK:
            item.add_marker(pytest.mark.disable_socket)
