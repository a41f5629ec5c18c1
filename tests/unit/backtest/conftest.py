"""Small stored histories: one endpoint, one run an hour, a drift distance each."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from guiderail.model.policy import Policy
from guiderail_cli.backtest.result import Backtest
from guiderail_cli.backtest.run import backtest
from guiderail_cli.backtest.shelves import shelf_at
from guiderail_cli.backtest.stored_runs import find_runs

from tests import builders as b

FIRST = datetime(2026, 11, 2, 6, tzinfo=UTC)
MAX_BYTES = 1_000_000

Tell = Callable[..., Backtest]


class History:
    """A folder of run folders that tests fill run by run."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.count = 0

    def add(
        self,
        violations: Sequence[b.Document] | None,
        *,
        endpoint: str = "loan-risk-prod",
        after: timedelta = timedelta(hours=1),
        **job: Any,
    ) -> Path:
        """Store the next run; None leaves no report."""
        self.count += 1
        ended = FIRST + after * (self.count - 1)
        name = f"model-monitoring-{ended:%Y%m%d%H%M}-{self.count:024d}"
        schedule = f"{endpoint}-hourly"
        fields = {
            "ProcessingJobName": name,
            "ProcessingJobArn": f"{b.ARN}:processing-job/{name}",
            "MonitoringScheduleArn": f"{b.ARN}:monitoring-schedule/{schedule}",
            "ProcessingEndTime": ended.isoformat(),
            "Environment": {
                "sagemaker_endpoint_name": endpoint,
                "sagemaker_monitoring_schedule_name": schedule,
            },
        }
        described = b.described_job(**{**fields, **job})
        described_schedule = b.described_schedule(
            MonitoringScheduleName=schedule, EndpointName=endpoint
        )
        place = self.folder / f"{self.count:04d}"
        (place / "report").mkdir(parents=True)
        (place / "job.json").write_text(json.dumps(described))
        (place / "schedule.json").write_text(json.dumps(described_schedule))
        if violations is not None:
            (place / "report" / "statistics.json").write_bytes(b.statistics())
            (place / "report" / "constraint_violations.json").write_bytes(b.violations(*violations))
        return place

    def add_distances(
        self, distances: Sequence[float | None], feature: str = "income", **fields: Any
    ) -> None:
        """Store a run per distance; None is a clean one."""
        for distance in distances:
            found = [] if distance is None else [b.drifted(feature, str(distance))]
            self.add(found, **fields)


@pytest.fixture
def history(tmp_path: Path) -> History:
    return History(tmp_path / "history")


@pytest.fixture
def told(history: History) -> Tell:
    """Replay the history under policies, the one to try first."""

    def tell(*policies: Policy) -> Backtest:
        shelf = shelf_at(str(history.folder), MAX_BYTES)
        named = list(zip(("new", "old"), policies or (Policy(),), strict=False))
        return backtest(shelf, find_runs(shelf), named, 30)

    return tell
