"""One function as it is shipped, on Lambda's own runtime, against the local cloud.

    python -m guiderail_local.sam_invoke OnJobFinished events/on_job_finished/completed.json

`sam local invoke` runs the built function and its layers in a container; everything it calls is the
local cloud, which holds the jobs, schedules and reports of the built-in runs. The event may be an
EventBridge event, an SQS batch of them, what the clock sends to OnDue, or a run folder, whose run is
then there as well.
"""

from __future__ import annotations

import argparse
import ipaddress
import json
import os
import shlex
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

from guiderail_local.cloud import ACCOUNT, REGION, LocalCloud
from guiderail_local.environment import REPOSITORY, find_uv
from guiderail_local.errors import LocalCloudError, SetUpError
from guiderail_local.forwarding import forwarded
from guiderail_local.runs import BUILT_IN, read_run, read_runs
from guiderail_local.staging import stage
from guiderail_local.template import read_template, with_environment

BUILD = Path(".aws-sam", "local")
"""Where the `local` environment of samconfig.toml builds to, as layers/build.py does."""

_INPUTS = ("functions", "layers", "template.yaml", "samconfig.toml")
_RUNTIME_IMAGE = "public.ecr.aws/lambda/python:3.13-x86_64"
_PIPELINE = "retrain-parcel-delay"
_INVOKE_SECONDS = 300
_EXIT_FUNCTION_FAILED = 1
_EXIT_NO_SET_UP = 3


def invoke(function: str, event: Path, repository: Path = REPOSITORY) -> int:
    """Run a function of the template with an event, and print what it logs and answers.

    Args:
        function: Its logical id.
        event: A file, or a run folder.
        repository: The checkout it is built from.

    Returns:
        0 if the function handled the event, 1 if it failed or wants a message again.

    Raises:
        LocalCloudError: It could not be run at all; the message says what helps.
    """
    _need_docker()
    runs = read_runs(BUILT_IN)
    if event.is_dir():
        run = read_run(event)
        runs = [*(one for one in runs if one.job_arn != run.job_arn), run]
        content: Mapping[str, Any] = run.event
    else:
        content = _read_event(event)
    build(repository)
    buckets = sorted({bucket for one in runs for bucket in one.buckets()})
    parameters = {
        "ReportBucketArns": ",".join(f"arn:aws:s3:::{bucket}" for bucket in buckets),
        "ClockState": "DISABLED",  # nobody but the event says what time it is
    }
    with LocalCloud(parameters, pipelines=[_PIPELINE], repository=repository, note=_note) as cloud:
        stage(cloud, runs)
        deployed = cloud.client("lambda").get_function_configuration(
            FunctionName=cloud.stack.physical_id(function)
        )
        variables = deployed.get("Environment", {}).get("Variables", {})
        with (
            _reachable_from_containers(variables, [cloud.url, cloud.sagemaker.url]) as reachable,
            _files(repository / BUILD, reachable, as_batch(content)) as (template, batch),
        ):
            _note(f"sam local invoke {function}")
            return _run_sam(function, template, batch, repository)


def build(repository: Path = REPOSITORY) -> None:
    """Build for this kind of machine, unless the build is younger than everything it is made of.

    Raises:
        SetUpError: The build failed.
    """
    template = repository / BUILD / "template.yaml"
    if template.is_file() and template.stat().st_mtime > _last_change(repository):
        return
    _note("building")
    command = [sys.executable, str(repository / "layers" / "build.py"), "--config-env", "local"]
    done = subprocess.run(
        command, cwd=repository, env=os.environ | {"SAM": _sam()}, check=False, stdout=sys.stderr
    )
    if done.returncode != 0:
        raise SetUpError("the build failed", "See above.")


def as_batch(event: Mapping[str, Any]) -> Mapping[str, Any]:
    """A bus event as it arrives from the queue; one of the queue or of the clock stays as it is."""
    if "detail" not in event:
        return event
    record = {
        "messageId": "11111111-2222-4333-8444-555555555555",
        "receiptHandle": "local",
        "body": json.dumps(event),
        "attributes": {"ApproximateReceiveCount": "1", "SentTimestamp": "0"},
        "messageAttributes": {},
        "eventSource": "aws:sqs",
        "eventSourceARN": f"arn:aws:sqs:{REGION}:{ACCOUNT}:reports",
        "awsRegion": REGION,
    }
    return {"Records": [record]}


def gateway(ipam: bytes) -> str:
    """The gateway in Docker's description of a network; where it names none, the subnet's first address.

    Raises:
        OSError: It describes no IPv4 network.
    """
    try:
        for config in json.loads(ipam) or []:
            network = ipaddress.ip_network(config["Subnet"])
            if network.version == 4:
                return str(ipaddress.IPv4Address(config.get("Gateway") or network[1]))
    except (ValueError, KeyError, TypeError) as exc:
        raise OSError(f"Docker describes its bridge as {ipam!r}") from exc
    raise OSError("Docker's bridge has no IPv4 network")


def failure(answer: str) -> str | None:
    """What is wrong with a function's answer, if anything: sam itself ends with 0 all the same."""
    try:
        content = json.loads(answer.strip().rpartition("\n")[2])
    except ValueError:
        return "the function gave no answer"
    if not isinstance(content, dict):
        return None
    if "errorType" in content or "errorMessage" in content:
        return (
            f"the function failed: {content.get('errorType', '')} {content.get('errorMessage', '')}"
        )
    if content.get("batchItemFailures"):
        return f"{len(content['batchItemFailures'])} message(s) have to come again"
    return None


def _need_docker() -> None:
    if shutil.which("docker") is None:
        raise SetUpError(
            "there is no Docker here, which `sam local invoke` runs functions in", "Install Docker."
        )
    if _quietly("docker", "info").returncode != 0:
        raise SetUpError("the Docker engine does not answer", "Start it; `docker info` tells more.")


def _read_event(file: Path) -> Mapping[str, Any]:
    try:
        content = json.loads(file.read_text(encoding="utf-8"))
    except (OSError, ValueError) as exc:
        raise SetUpError(f"cannot read the event {file}: {exc}") from exc
    if not isinstance(content, dict):
        raise SetUpError(f"the event {file} is not a JSON object")
    return content


def _last_change(repository: Path) -> float:
    files = (
        file for name in _INPUTS for file in [repository / name, *(repository / name).rglob("*")]
    )
    return max(
        file.stat().st_mtime
        for file in files
        if file.is_file() and file.parent.name != "__pycache__"
    )


def _sam() -> str:
    uv = find_uv() or "uv"
    return os.environ.get("SAM", f"{shlex.quote(uv)} tool run --from aws-sam-cli==1.170.0 sam")


@contextmanager
def _reachable_from_containers(
    variables: Mapping[str, str], urls: Sequence[str]
) -> Iterator[Mapping[str, str]]:
    """The function's variables with addresses that lead out of its container.

    The local cloud listens on the loopback alone, and sam ignores `--docker-network host`. On Linux
    the bridge's gateway is this computer: there, and nowhere else, the servers are made reachable.
    Elsewhere Docker Desktop leads `host.docker.internal` to this computer's loopback by itself.
    """
    ipam = _quietly(
        "docker", "network", "inspect", "bridge", "--format", "{{json .IPAM.Config}}"
    ).stdout
    with ExitStack() as running:
        try:
            ways = running.enter_context(forwarded(urls, gateway(ipam)))
        except OSError:
            ways = {url: url.replace("127.0.0.1", "host.docker.internal") for url in urls}

        def led(value: str) -> str:
            for url, way in ways.items():
                value = value.replace(url, way)
            return value

        yield {name: led(value) for name, value in variables.items()}


@contextmanager
def _files(
    folder: Path, variables: Mapping[str, str], event: Mapping[str, Any]
) -> Iterator[tuple[Path, Path]]:
    """The built template with what the function finds in the local cloud, and the event.

    sam's own --env-vars takes only variables that the template has, so no endpoints. The file lies
    beside the built template because that names the code relative to itself.
    """
    built = read_template((folder / "template.yaml").read_text(encoding="utf-8"))
    with (
        tempfile.NamedTemporaryFile("w", dir=folder, prefix="invoke-", suffix=".json") as template,
        tempfile.NamedTemporaryFile("w", suffix=".json") as batch,
    ):
        json.dump(with_environment(built, variables), template)
        json.dump(event, batch)
        template.flush()
        batch.flush()
        yield Path(template.name), Path(batch.name)


def _run_sam(function: str, template: Path, event: Path, repository: Path) -> int:
    command = [*shlex.split(_sam()), "local", "invoke", function]
    command += ["--template", str(template), "--event", str(event)]
    command += ["--config-file", str(repository / "samconfig.toml"), "--config-env", "local"]
    if _quietly("docker", "image", "inspect", _RUNTIME_IMAGE).returncode == 0:
        command.append("--skip-pull-image")
    environment = {name: value for name, value in os.environ.items() if not name.startswith("AWS_")}
    environment |= {
        "AWS_ACCESS_KEY_ID": ACCOUNT,
        "AWS_SECRET_ACCESS_KEY": "local",
        "AWS_DEFAULT_REGION": REGION,
        "AWS_REGION": REGION,
        "SAM_CLI_TELEMETRY": "0",
    }
    try:
        done = subprocess.run(
            command, cwd=repository, env=environment, stdout=subprocess.PIPE, text=True, check=False,
            timeout=_INVOKE_SECONDS,
        )  # fmt: skip
    except (OSError, subprocess.TimeoutExpired) as exc:
        raise SetUpError(f"sam local invoke did not end: {exc}") from exc
    print(done.stdout, end="" if done.stdout.endswith("\n") else "\n")
    if done.returncode != 0:
        raise SetUpError(f"sam local invoke ended with {done.returncode}", "See above.")
    if wrong := failure(done.stdout):
        print(f"invoke: {wrong}", file=sys.stderr)
        return _EXIT_FUNCTION_FAILED
    return 0


def _quietly(*command: str) -> subprocess.CompletedProcess[bytes]:
    return subprocess.run(command, capture_output=True, check=False)


def _note(text: str) -> None:
    print(f"invoke: {text}", file=sys.stderr, flush=True)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line; returns its exit status."""
    parser = argparse.ArgumentParser(
        prog="python -m guiderail_local.sam_invoke",
        description="Run a built function in Lambda's runtime against the local cloud.",
        epilog="Exit status: 0 handled, 1 the function failed, 2 wrong use, 3 it could not be run.",
    )
    parser.add_argument(
        "function", metavar="FUNCTION", help="logical id in template.yaml, such as OnJobFinished"
    )
    parser.add_argument("event", metavar="EVENT", type=Path, help="JSON file, or run folder")
    options = parser.parse_args(arguments)
    try:
        return invoke(options.function, options.event)
    except LocalCloudError as exc:
        print(f"invoke: {exc}", file=sys.stderr)
        return _EXIT_NO_SET_UP


if __name__ == "__main__":
    sys.exit(main())
