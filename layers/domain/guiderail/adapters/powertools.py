"""Powertools: metrics in CloudWatch's embedded metric format, and the structured log."""

from __future__ import annotations

import threading
from collections.abc import Mapping

from aws_lambda_powertools import Logger
from aws_lambda_powertools.metrics import MetricUnit, single_metric

from guiderail.observability import METRICS, NAMESPACE

_ONE_LINE = threading.Lock()
"""Metrics are printed with their line break after them: no thread's line, of either kind, comes between."""


class EmfMeter:
    """Implements Meter: one line of JSON per value, no call to AWS."""

    def record(self, name: str, value: float, dimensions: Mapping[str, str]) -> None:
        """Write one value; CloudWatch takes dimension values of 1 to 1024 printable ASCII characters."""
        cleaned = {key: _dimension(text) for key, text in dimensions.items()}
        with (
            _ONE_LINE,
            single_metric(
                name=name,
                unit=MetricUnit(METRICS[name][0]),
                value=value,
                namespace=NAMESPACE,
                default_dimensions=cleaned,
            ),
        ):
            pass


class StructuredJournal:
    """Implements Journal."""

    def __init__(self) -> None:
        """Log as the service of POWERTOOLS_SERVICE_NAME."""
        self._logger = Logger()

    def info(self, message: str, **fields: object) -> None:
        """Log a decision."""
        with _ONE_LINE:
            self._logger.info(message, extra=fields, stacklevel=3)

    def warning(self, message: str, **fields: object) -> None:
        """Log what somebody may have to look at."""
        with _ONE_LINE:
            self._logger.warning(message, extra=fields, stacklevel=3)

    def error(self, message: str, **fields: object) -> None:
        """Log an error that is being handled, with its traceback."""
        with _ONE_LINE:
            self._logger.exception(message, extra=fields, stacklevel=3)


def _dimension(text: str) -> str:
    return "".join(c if " " < c <= "~" else "_" for c in text)[:1024] or "none"
