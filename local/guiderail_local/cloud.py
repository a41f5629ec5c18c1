"""The local cloud as one object: MiniStack with the project's stack on it, SageMaker beside it."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import signal
import socket
import subprocess
import tempfile
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from datetime import datetime
from functools import cached_property
from pathlib import Path
from types import TracebackType
from typing import Any
from unittest import mock
from urllib.parse import urlsplit

import boto3
import botocore.session
from botocore.config import Config
from guiderail.adapters import clients

from guiderail_local.environment import REPOSITORY, MiniStackEnvironment, prepare
from guiderail_local.errors import FunctionFailedError, SetUpError
from guiderail_local.feature_store import FeatureStore
from guiderail_local.mail import Mail, sent_mail
from guiderail_local.sagemaker import SageMaker
from guiderail_local.stack import Stack, deploy

ACCOUNT = "123456789012"
"""The account everything belongs to: moto's; MiniStack takes it from the access key."""
REGION = "us-east-1"

PROBE = "guiderail.probe"
"""Nobody may put events of ``aws.*``; the rules listen to this source as well."""

_START_SECONDS = 30.0
_START_ATTEMPTS = 3
_LOG_TAIL_LINES = 40
_BY_MOTO = ("sagemaker", "ses", "sesv2")
_RECORDS = "sagemaker-featurestore-runtime"


class LocalCloud:
    """The project's stack, deployed from ``template.yaml`` on this computer; a context manager.

    Everything listens on 127.0.0.1 on free ports. On leaving, all processes and files of it are gone.

    Attributes:
        sagemaker: The SageMaker endpoint that the functions use; mail goes there too.
        feature_store: The runtime of the feature groups that this SageMaker keeps.
        stack: The deployed stack; there once the cloud is entered.
        folder: For files of this cloud; gone with it, even if this process is killed.
    """

    sagemaker: SageMaker
    feature_store: FeatureStore
    stack: Stack
    folder: Path

    def __init__(
        self,
        parameters: Mapping[str, str],
        *,
        pipelines: Sequence[str] = (),
        repository: Path = REPOSITORY,
        note: Callable[[str], None] = lambda _: None,
    ) -> None:
        """Prepare a cloud.

        Args:
            parameters: Values for the template's parameters, without the pipelines.
            pipelines: Names of SageMaker pipelines that exist; the stack may start these.
            repository: The checkout whose template is deployed.
            note: Is told what is done now, for a person who waits.
        """
        self._parameters = dict(parameters)
        self._pipelines = tuple(pipelines)
        self._repository = repository
        self._note = note
        self._running = ExitStack()
        self._url = ""
        self._log = Path(os.devnull)
        self._session: Any = None
        self._entered = False

    def __enter__(self) -> LocalCloud:
        """Start the servers and deploy the stack.

        Raises:
            LocalCloudError: It cannot be done; the message says what helps.
        """
        with ExitStack() as starting:
            self._note("preparing MiniStack's environment")
            environment = prepare(self._repository)
            self._session = _session_of_its_own()
            self.sagemaker = starting.enter_context(SageMaker())
            self.feature_store = starting.enter_context(
                FeatureStore(self.sagemaker.feature_groups.described)
            )
            home = Path(tempfile.mkdtemp(prefix="guiderail-local-"))
            starting.callback(shutil.rmtree, home, ignore_errors=True)
            self.folder = home
            self._note("starting MiniStack")
            self._start(starting, environment, home)
            self._note("deploying template.yaml")
            parameters = dict(self._parameters)
            if self._pipelines:
                parameters["RetrainingPipelineArns"] = ",".join(
                    map(self._make_pipeline, self._pipelines)
                )
            try:
                self.stack = deploy(
                    self.client,
                    environment,
                    self._repository / "template.yaml",
                    parameters,
                    self._endpoints,
                )
            except Exception as exc:
                exc.add_note(f"MiniStack's log ends with:\n{self.log_tail()}")
                raise
            self._running = starting.pop_all()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        """Stop everything and delete its files."""
        self._running.close()

    @property
    def url(self) -> str:
        """Where all services but SageMaker, its feature store and SES listen."""
        return self._url

    def client(self, service: str) -> Any:
        """A boto3 client of this cloud; nothing of the person's own AWS configuration is read."""
        return self._session.client(
            service,
            endpoint_url=self._endpoint(service),
            # proxies: an empty mapping, unlike None, keeps proxies of the environment out.
            config=Config(
                retries={"total_max_attempts": 3}, proxies={}, s3={"addressing_style": "path"}
            ),
        )

    def tick(self, now: datetime) -> dict[str, Any]:
        """Have OnDue tell what is due at a time, as the schedule does every minute.

        Deploy with ``ClockState=DISABLED`` to be the only one who does.

        Returns:
            What the function answers: counts.

        Raises:
            FunctionFailedError: It ended with an error.
        """
        answer = self._lambda.invoke(
            FunctionName=self.stack.physical_id("OnDue"),
            Payload=json.dumps({"time": now.isoformat()}).encode(),
        )
        content = answer["Payload"].read().decode()
        if answer.get("FunctionError"):
            raise FunctionFailedError(
                f"OnDue failed at {now.isoformat()}: {content}",
                f"The log group {self.stack.physical_id('OnDueLogGroup')} tells more.",
            )
        counts: dict[str, Any] = json.loads(content)
        return counts

    def put_event(self, event: Mapping[str, Any]) -> None:
        """Put an event of SageMaker's on the default bus, with a source that everybody may put.

        Raises:
            RuntimeError: The bus refused it.
        """
        answer = self._events.put_events(
            Entries=[
                {
                    "Source": PROBE,
                    "DetailType": event["detail-type"],
                    "Detail": json.dumps(event["detail"]),
                    "Resources": list(event.get("resources", [])),
                }
            ]
        )
        if answer.get("FailedEntryCount"):
            raise RuntimeError(f"the bus refused an event: {answer['Entries']}")

    def here(self, text: str) -> str:
        """A link, or a text with links, to ``OnReply`` as they are followed on this computer.

        Its Function URL names a host of AWS's; MiniStack serves it under a path of its own.
        """
        url = self.stack.outputs["ReplyUrl"]
        return text.replace(
            url, f"{self._url}/_aws/lambda-url/{urlsplit(url).netloc.split('.')[0]}/"
        )

    def mail(self) -> Sequence[Mail]:
        """Everything that was sent through SES, oldest first."""
        return sent_mail(ACCOUNT, REGION)

    def log_lines(self, log_group: str, since: float) -> Iterator[dict[str, Any]]:
        """What a function logged as JSON since a time (epoch), by the log group's logical id."""
        answer = self._logs.filter_log_events(
            logGroupName=self.stack.physical_id(log_group), startTime=int(since * 1000)
        )
        for logged in answer["events"]:
            for line in logged["message"].splitlines():
                if line.startswith("{"):
                    try:
                        content = json.loads(line)
                    except ValueError:
                        continue
                    if isinstance(content, dict):
                        yield content

    def set_variable(self, function: str, name: str, value: str) -> None:
        """Give a function one more environment variable, by its logical id."""
        self._lambda.update_function_configuration(
            FunctionName=self.stack.physical_id(function),
            Environment={"Variables": self.variables(function) | {name: value}},
        )

    def variables(self, function: str) -> dict[str, str]:
        """The environment variables of a function, by its logical id."""
        described = self._lambda.get_function_configuration(
            FunctionName=self.stack.physical_id(function)
        )
        return dict(described.get("Environment", {}).get("Variables", {}))

    def _endpoint(self, service: str) -> str:
        if service == _RECORDS:
            return self.feature_store.url
        return self.sagemaker.url if service in _BY_MOTO else self._url

    @property
    def _endpoints(self) -> dict[str, str]:
        own = {
            f"AWS_ENDPOINT_URL_{service.upper().replace('-', '_')}": self._endpoint(service)
            for service in (*_BY_MOTO, _RECORDS)
        }
        return {"AWS_ENDPOINT_URL": self._url, **own}

    @property
    def environment(self) -> dict[str, str]:
        """Variables that lead botocore to this cloud, in this process or another one."""
        return {
            **self._endpoints,
            "AWS_ACCESS_KEY_ID": ACCOUNT,
            "AWS_SECRET_ACCESS_KEY": "local",
            "AWS_DEFAULT_REGION": REGION,
            "AWS_REGION": REGION,
            "AWS_CONFIG_FILE": os.devnull,
            "AWS_SHARED_CREDENTIALS_FILE": os.devnull,
            "AWS_EC2_METADATA_DISABLED": "true",
            "NO_PROXY": "127.0.0.1",
            "no_proxy": "127.0.0.1",
        }

    @contextmanager
    def in_environment(self) -> Iterator[None]:
        """Let the project's own adapters, in this process, talk to this cloud meanwhile.

        Within itself it changes nothing: the clients are made once.
        """
        if self._entered:
            yield
            return
        ours = {name: value for name, value in os.environ.items() if not name.startswith("AWS_")}
        with mock.patch.dict(os.environ, ours | self.environment, clear=True):
            clients.forget()
            self._entered = True
            try:
                yield
            finally:
                self._entered = False
                clients.forget()

    @cached_property
    def _events(self) -> Any:
        return self.client("events")

    @cached_property
    def _lambda(self) -> Any:
        return self.client("lambda")

    @cached_property
    def _logs(self) -> Any:
        return self.client("logs")

    def log_tail(self) -> str:
        """The end of MiniStack's log."""
        try:
            lines = self._log.read_text(errors="replace").splitlines()
        except OSError:
            return ""
        return "\n".join(lines[-_LOG_TAIL_LINES:])

    def _make_pipeline(self, name: str) -> str:
        created = self.client("sagemaker").create_pipeline(
            PipelineName=name,
            PipelineDefinition='{"Version": "2020-12-01", "Steps": []}',
            ClientRequestToken=name.ljust(32, "-"),
            RoleArn=f"arn:aws:iam::{ACCOUNT}:role/pipelines",
        )
        return str(created["PipelineArn"])

    def _start(self, starting: ExitStack, environment: MiniStackEnvironment, home: Path) -> None:
        self._log = home / "ministack.log"
        for attempt in range(1, _START_ATTEMPTS + 1):
            port = _free_port()
            self._url = f"http://127.0.0.1:{port}"
            with ExitStack() as trying:
                process = _spawn(environment.python, home, port, self._log, self.sagemaker.url)
                trying.callback(_stop, process)
                if self._is_ready(process):
                    starting.push(trying.pop_all())
                    return
            # The port was free a moment ago; another process may have taken it since.
            if attempt == _START_ATTEMPTS:
                raise SetUpError(f"MiniStack did not start; its log ends with\n{self.log_tail()}")

    def _is_ready(self, process: subprocess.Popen[bytes]) -> bool:
        direct = urllib.request.build_opener(urllib.request.ProxyHandler({}))
        deadline = time.monotonic() + _START_SECONDS
        while time.monotonic() < deadline and process.poll() is None:
            try:
                with direct.open(f"{self._url}/_ministack/health", timeout=2):
                    return True
            except (urllib.error.URLError, OSError):
                time.sleep(0.05)
        return False


def _session_of_its_own() -> Any:
    nothing = {
        "profile": (None, None, None, None),
        "config_file": (None, None, os.devnull, None),
        "credentials_file": (None, None, os.devnull, None),
    }
    return boto3.session.Session(
        aws_access_key_id=ACCOUNT,
        aws_secret_access_key="local",
        region_name=REGION,
        botocore_session=botocore.session.Session(session_vars=nothing),
    )


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def _spawn(
    python: Path, home: Path, port: int, log: Path, sagemaker: str
) -> subprocess.Popen[bytes]:
    environment = {
        name: value
        for name, value in os.environ.items()
        if not name.startswith(("AWS_", "PYTHON", "MINISTACK_", "LAMBDA_"))
        and name != "VIRTUAL_ENV"
    }
    environment |= {
        "GATEWAY_PORT": str(port),
        "BIND_HOST": "127.0.0.1",
        "MINISTACK_HOST": "127.0.0.1",
        "MINISTACK_ACCOUNT_ID": ACCOUNT,
        "MINISTACK_REGION": REGION,
        "AWS_ACCESS_KEY_ID": ACCOUNT,
        "AWS_SECRET_ACCESS_KEY": "local",
        "AWS_DEFAULT_REGION": REGION,
        "AWS_CONFIG_FILE": os.devnull,
        "AWS_SHARED_CREDENTIALS_FILE": os.devnull,
        "AWS_EC2_METADATA_DISABLED": "true",
        "NO_PROXY": "127.0.0.1",
        "no_proxy": "127.0.0.1",
        "TMPDIR": str(home),
        "GUIDERAIL_SAGEMAKER_URL": sagemaker,  # where state machines start processing jobs
        "S3_DATA_DIR": str(home / "s3"),
        "STATE_DIR": str(home / "state"),
    }
    with log.open("ab") as output:
        return subprocess.Popen(
            [str(python), str(Path(__file__).with_name("ministack_entry.py"))],
            stdin=subprocess.PIPE,
            stdout=output,
            stderr=subprocess.STDOUT,
            env=environment,
            # A group of its own: stopping it takes the Lambda workers along, and Ctrl-C reaches only us.
            start_new_session=True,
        )


def _stop(process: subprocess.Popen[bytes]) -> None:
    # Killed, not asked: it keeps nothing, and the group holds the Lambda workers too.
    with contextlib.suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()
    if process.stdin is not None:
        process.stdin.close()
