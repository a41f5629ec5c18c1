"""The server: moto, with our parts in place of some of its methods."""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Callable, Mapping
from contextlib import ExitStack
from datetime import datetime
from types import TracebackType
from typing import Any
from unittest import mock

from moto.moto_api._internal import moto_api_backend
from moto.sagemaker.responses import SageMakerResponse
from moto.server import ThreadedMotoServer

from guiderail_local.sagemaker.endpoints import Endpoints
from guiderail_local.sagemaker.feature_groups import FeatureGroups
from guiderail_local.sagemaker.monitoring import Monitoring
from guiderail_local.sagemaker.parts import Event, Shared
from guiderail_local.sagemaker.pipelines import Pipelines, PipelineStart
from guiderail_local.sagemaker.registry import Registry


class SageMaker:
    """A SageMaker endpoint on 127.0.0.1; a context manager.

    Attributes:
        calls: How often each operation was called, refused calls included.
        pipelines: Its pipelines, which run and end.
        monitoring: Its schedules and processing jobs.
        endpoints: Its endpoints.
        feature_groups: Its feature groups.
    """

    def __init__(self) -> None:
        """Prepare the parts; nothing listens yet."""
        self.calls: Counter[str] = Counter()
        self._shared = Shared()
        self.monitoring = Monitoring(self._shared)
        self.pipelines = Pipelines(self._shared, self.monitoring.register_job)
        self._registry = Registry(self._shared)
        self.endpoints = Endpoints(self._shared)
        self.feature_groups = FeatureGroups(self._shared)
        self._running = ExitStack()
        self._url = ""

    def __enter__(self) -> SageMaker:
        """Start the server on a free port."""
        # One line per request is not for the person who plays runs.
        logging.getLogger("werkzeug").setLevel(logging.ERROR)
        with ExitStack() as starting:
            for name, operation in self._operations().items():
                starting.enter_context(
                    mock.patch.object(SageMakerResponse, name, _method(operation), create=True)
                )
            server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
            server.start()
            starting.callback(self._stop, server)
            host, port = server.get_host_and_port()
            self._url = f"http://{host}:{port}"
            self._running = starting.pop_all()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        """Stop the server; moto is as it was."""
        self._running.close()

    @property
    def url(self) -> str:
        """Where the server listens."""
        return self._url

    @property
    def starts(self) -> list[PipelineStart]:
        """The pipeline executions that were started, without repeated tokens."""
        return self.pipelines.starts

    def register_job(self, described: Mapping[str, Any]) -> None:
        """Answer DescribeProcessingJob for this job with this description from now on."""
        self.monitoring.register_job(described)

    def register_schedule(self, described: Mapping[str, Any]) -> None:
        """Answer DescribeMonitoringSchedule likewise; ``Tags`` are what ListTags answers."""
        self.monitoring.register_schedule(described)

    def live_by(self, clock: Callable[[], datetime], tell: Callable[[Event], None]) -> None:
        """Take the time from a clock, and tell somebody of each event from now on."""
        self._shared.now, self._shared.tell = clock, tell

    @staticmethod
    def _stop(server: ThreadedMotoServer) -> None:
        listening = server._server
        server.stop()
        if listening is not None:
            listening.server_close()
        moto_api_backend.reset()

    def _operations(self) -> dict[str, Callable[[Any], Any]]:
        call_action = SageMakerResponse.call_action

        def count(request: Any) -> Any:
            with self._shared.lock:
                self.calls[request._get_action()] += 1
            return call_action(request)

        return {
            "call_action": count,
            **self.pipelines.operations(),
            **self._registry.operations(),
            **self.monitoring.operations(),
            **self.endpoints.operations(),
            **self.feature_groups.operations(),
        }


def _method(operation: Callable[[Any], Any]) -> Callable[[Any], Any]:
    """A plain function, so that it becomes a method of moto's class."""

    def method(request: Any) -> Any:
        return operation(request)

    return method
