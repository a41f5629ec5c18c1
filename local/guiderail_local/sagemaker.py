"""SageMaker on this computer: a moto server, and beside it what moto lacks of monitoring.

moto knows no monitoring schedules and so no tags of them, forgets most of a processing job, and starts a
pipeline twice for one ClientRequestToken. Here, descriptions are registered and answered as they were recorded.
"""

from __future__ import annotations

import json
import logging
import threading
from collections import Counter
from collections.abc import Iterable, Mapping
from contextlib import ExitStack
from dataclasses import dataclass, field
from datetime import UTC, datetime
from types import TracebackType
from typing import Any
from unittest import mock

from moto.core.exceptions import JsonRESTError
from moto.moto_api._internal import moto_api_backend
from moto.sagemaker.responses import SageMakerResponse
from moto.server import ThreadedMotoServer

_TOKEN_LENGTHS = range(32, 129)
# Members of the two descriptions whose type is a timestamp; on the wire they are epoch seconds.
_TIMES = frozenset(
    {
        "CreationTime",
        "LastModifiedTime",
        "ProcessingStartTime",
        "ProcessingEndTime",
        "ScheduledTime",
    }
)


@dataclass(frozen=True)
class PipelineStart:
    """One accepted StartPipelineExecution."""

    pipeline: str
    arn: str
    parameters: Mapping[str, str]


@dataclass
class SageMaker:
    """A SageMaker endpoint on 127.0.0.1; a context manager.

    Attributes:
        calls: How often each operation was called, refused calls included.
        starts: The pipeline executions that were started, without repeated tokens.
    """

    calls: Counter[str] = field(default_factory=Counter)
    starts: list[PipelineStart] = field(default_factory=list)
    _jobs: dict[str, Mapping[str, Any]] = field(default_factory=dict)
    _schedules: dict[str, Mapping[str, Any]] = field(default_factory=dict)
    _tags: dict[str, list[Mapping[str, str]]] = field(default_factory=dict)
    _tokens: dict[tuple[str, str], str] = field(default_factory=dict)
    _lock: threading.RLock = field(default_factory=threading.RLock)
    _running: ExitStack = field(default_factory=ExitStack)
    _url: str = ""

    def __enter__(self) -> SageMaker:
        """Start the server on a free port."""
        # One line per request is not for the person who plays runs.
        logging.getLogger("werkzeug").setLevel(logging.ERROR)
        with ExitStack() as starting:
            for name, operation in self._operations().items():
                starting.enter_context(
                    mock.patch.object(SageMakerResponse, name, operation, create=True)
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

    def register_job(self, described: Mapping[str, Any]) -> None:
        """Answer DescribeProcessingJob for this job with this description from now on."""
        with self._lock:
            self._jobs[str(described["ProcessingJobName"])] = on_the_wire(described)

    def register_schedule(self, described: Mapping[str, Any]) -> None:
        """Answer DescribeMonitoringSchedule likewise; found by the name in whatever case.

        ``Tags``, which the service does not describe, are what ListTags answers.
        """
        on_wire = on_the_wire(described)
        tags = on_wire.pop("Tags", [])
        with self._lock:
            self._schedules[str(described["MonitoringScheduleName"]).lower()] = on_wire
            self._tags[str(described["MonitoringScheduleArn"])] = tags

    @staticmethod
    def _stop(server: ThreadedMotoServer) -> None:
        listening = server._server
        server.stop()
        if listening is not None:
            listening.server_close()
        moto_api_backend.reset()

    def _operations(self) -> dict[str, Any]:
        """What is put in place of moto's own methods; each is called with moto's request."""
        call_action = SageMakerResponse.call_action
        moto_list_tags = SageMakerResponse.list_tags

        def count(request: Any) -> Any:
            with self._lock:
                self.calls[request._get_action()] += 1
            return call_action(request)

        def describe_processing_job(request: Any) -> str:
            name = request._get_param("ProcessingJobName")
            described = self._jobs.get(name)
            if described is None:
                raise JsonRESTError(
                    "ValidationException", f"Could not find requested job with name: {name}"
                )
            return json.dumps(described)

        def describe_monitoring_schedule(request: Any) -> str:
            name = request._get_param("MonitoringScheduleName")
            described = self._schedules.get(str(name).lower())
            if described is None:
                raise JsonRESTError(
                    "ResourceNotFound", f"Could not find requested schedule with name: {name}"
                )
            return json.dumps(described)

        def list_tags(request: Any) -> Any:
            tags = self._tags.get(request._get_param("ResourceArn"))
            return moto_list_tags(request) if tags is None else json.dumps({"Tags": tags})

        def start_pipeline_execution(request: Any) -> str:
            return json.dumps({"PipelineExecutionArn": self._start_once(request)})

        return {
            "call_action": count,
            "describe_processing_job": describe_processing_job,
            "describe_monitoring_schedule": describe_monitoring_schedule,
            "list_tags": list_tags,
            "start_pipeline_execution": start_pipeline_execution,
        }

    def _start_once(self, request: Any) -> str:
        # The API takes a name or an ARN; moto only a name.
        pipeline = str(request._get_param("PipelineName")).rpartition("/")[2]
        token = request._get_param("ClientRequestToken")
        if not isinstance(token, str) or len(token) not in _TOKEN_LENGTHS:
            raise JsonRESTError(
                "ValidationException",
                "Value at 'clientRequestToken' failed to satisfy constraint: length between 32 and 128",
            )
        parameters: Iterable[Mapping[str, str]] = request._get_param("PipelineParameters") or []
        with self._lock:
            if (pipeline, token) not in self._tokens:
                arn = request.sagemaker_backend.start_pipeline_execution(
                    pipeline,
                    request._get_param("PipelineExecutionDisplayName"),
                    list(parameters),
                    request._get_param("PipelineExecutionDescription"),
                    request._get_param("ParallelismConfiguration"),
                    token,
                )["PipelineExecutionArn"]
                self._tokens[pipeline, token] = arn
                self.starts.append(
                    PipelineStart(pipeline, arn, {p["Name"]: p["Value"] for p in parameters})
                )
            return self._tokens[pipeline, token]


def on_the_wire(described: Mapping[str, Any]) -> dict[str, Any]:
    """Turn a description as a client shows it into what the service sends.

    Times become epoch seconds; ``ResponseMetadata`` is the client's own addition.
    """
    return {
        name: _wire(name, value) for name, value in described.items() if name != "ResponseMetadata"
    }


def _wire(name: str, value: Any) -> Any:
    if isinstance(value, Mapping):
        return {inner: _wire(inner, member) for inner, member in value.items()}
    if name in _TIMES and isinstance(value, str):
        moment = datetime.fromisoformat(value)
        return (moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp()
    return value
