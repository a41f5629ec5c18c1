"""Some hundred jobs that end at once, with events that come twice, through the local cloud."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator

import pytest
from guiderail_local.cloud import LocalCloud

from benchmarks.storm import FINDINGS, PARAMETERS, Account, Completion, Life, Storm, wave_of

pytestmark = pytest.mark.e2e

SCHEDULES, RUNS_EACH = 60, 5


@pytest.fixture(scope="module")
def wave() -> list[Completion]:
    return wave_of("storm", SCHEDULES, RUNS_EACH)


@pytest.fixture(scope="module")
def account(wave: list[Completion]) -> Iterator[Account]:
    with LocalCloud(PARAMETERS) as cloud:
        yield Storm(cloud).blow(wave, twice=7, redelivered=10)


def test_every_run_has_its_record(wave: list[Completion], account: Account) -> None:
    assert account.wrong == []
    assert account.recorded == Counter(c.schedule.life.value for c in wave)
    assert account.dead_letters == 0


def test_each_group_has_one_message(wave: list[Completion], account: Account) -> None:
    groups = {c.schedule.group for c in wave if c.schedule.life is not Life.CLEAN}

    assert account.excess == []
    assert account.messages == dict.fromkeys(groups, 1)


def test_no_incident_is_forgotten_and_failed_runs_hide_the_drift_beside_them(
    wave: list[Completion], account: Account
) -> None:
    failing = {c.schedule.endpoint for c in wave if c.schedule.life is Life.FAILING}

    assert account.unheard == []
    assert account.hidden == len(failing) * FINDINGS
