"""What holds for every suite: unit and architecture tests reach no network.

Made-up examples are the same in every run, so that a change passes or fails for what is in it;
``make search`` looks for new ones.
"""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import settings

settings.register_profile("same", derandomize=True, deadline=None)
settings.register_profile("search", settings.get_profile("default"), deadline=None)
settings.load_profile("same")

TESTS = Path(__file__).parent
WITHOUT_NETWORK = {"unit", "architecture"}


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if item.path.relative_to(TESTS).parts[0] in WITHOUT_NETWORK:
            item.add_marker(pytest.mark.disable_socket)
