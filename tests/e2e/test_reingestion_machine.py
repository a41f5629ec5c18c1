"""The deployed state machine of re-ingestions, really executed, with a function that answers as told.

What the real function does with records, see test_reingestion.py.
"""

from __future__ import annotations

import io
import json
import time
import zipfile
from collections import Counter
from collections.abc import Iterator
from typing import Any

import pytest
from botocore.exceptions import ClientError
from guiderail_local.cloud import LocalCloud

pytestmark = pytest.mark.e2e

SECONDS = 60.0

# Plans what the request says, and writes down what it is asked.
REINGEST = """
import json, pathlib, time

class ThrottledError(Exception): pass
class NotFoundError(Exception): pass

FOLDER = pathlib.Path({folder!r})

def handler(event, _context):
    if event["step"] == "plan":
        name, request = event["id"], event["request"]
        (FOLDER / (name + ".request")).write_text(json.dumps(request))
    else:
        name = event["plan"]
        request = json.loads((FOLDER / (name + ".request")).read_text())
    with (FOLDER / name).open("a") as file:
        file.write(json.dumps(event) + "\\n")
    asked = [json.loads(line) for line in (FOLDER / name).read_text().splitlines()]
    same = sum(one["step"] == event["step"] and one.get("item") == event.get("item") for one in asked)
    told = request.get(event["step"], {{}})
    if event.get("item"):
        told = told.get(str(event["item"]["object"]), {{}})
    if told.get("sleep"):
        time.sleep(told["sleep"])
    if same <= told.get("throttled", 0):
        raise ThrottledError("slow down")
    if told.get("refused"):
        raise NotFoundError("no such bucket")
    if event["step"] == "plan":
        return {{"way": request["way"], "uri": name, "bucket": "{bucket}", "manifest": "list.json",
                "results": name + "/results", "workers": request.get("workers", 2),
                "job": request.get("job", {{}})}}
    if event["step"] == "ingest":
        return {{"more": same <= told.get("throttled", 0) + told.get("more", 0)}}
    if event["step"] == "note":
        return {{}}
    return {{"state": "failed" if event.get("error") else told.get("state", "done"), "text": "summed up"}}
"""


class Machine:
    """The machine, and what its function was asked."""

    def __init__(self, cloud: LocalCloud) -> None:
        self.cloud = cloud
        self._folder = cloud.folder / "asked"
        self._folder.mkdir()
        self._arn = cloud.stack.physical_id("ReingestionMachine")
        self.client = cloud.client("stepfunctions")
        bucket = cloud.stack.physical_id("ReingestionBucket")
        objects = [
            {"object": place, "key": f"{place}.csv", "size": 1, "etag": "e"} for place in range(3)
        ]
        cloud.client("s3").put_object(
            Bucket=bucket, Key="list.json", Body=json.dumps(objects).encode()
        )
        code = io.BytesIO()
        with zipfile.ZipFile(code, "w") as archive:
            archive.writestr("app.py", REINGEST.format(folder=str(self._folder), bucket=bucket))
        cloud.client("lambda").update_function_code(
            FunctionName=cloud.stack.physical_id("Reingest"), ZipFile=code.getvalue()
        )

    def asked(self, name: str) -> list[dict[str, Any]]:
        file = self._folder / name
        return [json.loads(line) for line in file.read_text().splitlines()] if file.exists() else []

    def steps(self, name: str) -> list[str]:
        return [event["step"] for event in self.asked(name)]

    def start(self, name: str, **request: Any) -> str:
        return str(
            self.client.start_execution(
                stateMachineArn=self._arn, name=name, input=json.dumps(request)
            )["executionArn"]
        )

    def described(self, arn: str) -> dict[str, Any]:
        deadline = time.monotonic() + SECONDS
        while time.monotonic() < deadline:
            described: dict[str, Any] = self.client.describe_execution(executionArn=arn)
            if described["status"] != "RUNNING":
                break
            time.sleep(0.05)
        return described

    def play(self, name: str, **request: Any) -> dict[str, Any]:
        return self.described(self.start(name, **request))


@pytest.fixture(scope="module")
def machine() -> Iterator[Machine]:
    parameters = {"ReportBucketArns": "arn:aws:s3:::reports", "ClockState": "DISABLED"}
    with LocalCloud(parameters) as cloud:
        yield Machine(cloud)


def test_a_small_one_goes_on_until_there_is_no_more(machine: Machine) -> None:
    end = machine.play("small", way="lambda", ingest={"more": 2})
    assert machine.steps("small") == ["plan", "ingest", "ingest", "ingest", "sum_up"]
    assert machine.asked("small")[0] == {
        "step": "plan",
        "id": "small",
        "request": {"way": "lambda", "ingest": {"more": 2}},
    }
    assert machine.asked("small")[1] == {"step": "ingest", "plan": "small"}
    assert (end["status"], json.loads(end["output"])["state"]) == ("SUCCEEDED", "done")


def test_each_object_has_a_machine_of_its_own(machine: Machine) -> None:
    end = machine.play("many", way="map", ingest={"1": {"more": 2}}, workers=1)
    asked = machine.asked("many")
    assert Counter(event["item"]["object"] for event in asked if event["step"] == "ingest") == {
        0: 1,
        1: 3,
        2: 1,
    }
    assert asked[1]["item"] == {"object": 0, "key": "0.csv", "size": 1, "etag": "e"}
    assert [event["step"] for event in asked][-1] == "sum_up"
    assert end["status"] == "SUCCEEDED"


def test_no_more_workers_than_planned_are_at_work(machine: Machine) -> None:
    slow = {str(place): {"sleep": 0.3} for place in range(3)}
    machine.play("in-turn", way="map", ingest=slow, workers=1)
    objects = [event["item"]["object"] for event in machine.asked("in-turn")[1:-1]]
    assert objects == [0, 1, 2]


def test_an_object_that_fails_is_noted_and_the_others_are_done(machine: Machine) -> None:
    end = machine.play("one-fails", way="map", ingest={"1": {"refused": True}})
    (note,) = [event for event in machine.asked("one-fails") if event["step"] == "note"]
    assert (note["item"]["object"], note["error"]["Error"]) == (1, "NotFoundError")
    assert "no such bucket" in note["error"]["Cause"]
    assert Counter(machine.steps("one-fails")) == {"plan": 1, "ingest": 3, "note": 1, "sum_up": 1}
    assert end["status"] == "SUCCEEDED"  # as the summary says; the real one counts the note


def test_what_is_throttled_is_called_again(machine: Machine) -> None:
    end = machine.play(
        "throttled", way="lambda", plan={"throttled": 1}, ingest={"throttled": 1, "more": 1}
    )
    assert machine.steps("throttled") == [*["plan"] * 2, *["ingest"] * 3, "sum_up"]
    assert end["status"] == "SUCCEEDED"


def test_what_is_refused_is_summed_up_with_its_error(machine: Machine) -> None:
    end = machine.play("refused", way="lambda", ingest={"refused": True})
    assert machine.steps("refused") == ["plan", "ingest", "sum_up"]
    assert machine.asked("refused")[2]["error"]["Error"] == "NotFoundError"
    assert (end["status"], end["error"]) == ("FAILED", "ReingestionFailed")
    assert json.loads(end["cause"]) == {"state": "failed", "text": "summed up"}


def test_what_cannot_be_planned_is_never_begun(machine: Machine) -> None:
    end = machine.play("unplanned", way="lambda", plan={"refused": True})
    assert machine.steps("unplanned") == ["plan"]
    assert (end["status"], end["error"]) == ("FAILED", "ReingestionNotPlanned")
    assert "no such bucket" in end["cause"]


def test_an_unknown_way_is_a_failure(machine: Machine) -> None:
    end = machine.play("astray", way="by hand")
    assert (end["status"], end["error"]) == ("FAILED", "ReingestionNotPlanned")
    assert machine.steps("astray") == ["plan"]


@pytest.mark.parametrize(
    ("state", "error"), [("failed", "ReingestionFailed"), ("stopped", "ReingestionStopped")]
)
def test_the_summary_says_how_it_ended(machine: Machine, state: str, error: str) -> None:
    end = machine.play(f"ends-{state}", way="lambda", sum_up={"state": state})
    assert (end["status"], end["error"]) == ("FAILED", error)


def test_a_summary_that_fails_is_told_as_that(machine: Machine) -> None:
    end = machine.play("unsummed", way="lambda", sum_up={"refused": True})
    assert (end["status"], end["error"]) == ("FAILED", "ReingestionNotSummedUp")


JOB = {
    "ProcessingJobName": "guiderail-reingest-bulk",
    "RoleArn": "arn:aws:iam::123456789012:role/jobs",
    "AppSpecification": {"ImageUri": "image", "ContainerArguments": ["--plan", "bulk"]},
    "ProcessingResources": {
        "ClusterConfig": {"InstanceCount": 2, "InstanceType": "ml.m5.xlarge", "VolumeSizeInGB": 10}
    },
}


def job_that_ended(machine: Machine, run: str, status: str) -> dict[str, Any]:
    """Play a job to an end; its description."""
    name = f"guiderail-reingest-{run}"
    arn = machine.start(run, way="processing", job=JOB | {"ProcessingJobName": name})
    sagemaker = machine.cloud.client("sagemaker")
    deadline = time.monotonic() + SECONDS
    while time.monotonic() < deadline:
        try:
            job: dict[str, Any] = sagemaker.describe_processing_job(ProcessingJobName=f"{name}-0")
            break
        except ClientError:
            time.sleep(0.1)
    assert machine.client.describe_execution(executionArn=arn)["status"] == "RUNNING"
    machine.cloud.sagemaker.monitoring.end_job(f"{name}-0", status)
    return {"job": job, "end": machine.described(arn)}


def test_bulk_is_a_processing_job(machine: Machine) -> None:
    played = job_that_ended(machine, "bulk", "Completed")
    assert played["end"]["status"] == "SUCCEEDED"
    assert machine.steps("bulk") == ["plan", "sum_up"]
    job = played["job"]
    assert job["AppSpecification"]["ContainerArguments"] == ["--plan", "bulk"]
    assert job["ProcessingResources"]["ClusterConfig"]["InstanceCount"] == 2


def test_a_job_that_was_stopped_is_begun_no_second_time(machine: Machine) -> None:
    played = job_that_ended(machine, "bulk-stopped", "Stopped")
    assert played["end"]["status"] == "FAILED"
    (error,) = [event["error"] for event in machine.asked("bulk-stopped") if "error" in event]
    assert error["Error"] == "States.TaskFailed"
    described = json.loads(error["Cause"])
    assert described["ProcessingJobName"] == "guiderail-reingest-bulk-stopped-0"
    assert described["ProcessingJobStatus"] == "Stopped"


def test_one_name_is_one_execution(machine: Machine) -> None:
    first = machine.start("once", way="lambda")
    machine.described(first)
    with pytest.raises(machine.client.exceptions.ExecutionAlreadyExists):
        machine.start("once", way="map")
    assert machine.steps("once") == ["plan", "ingest", "sum_up"]


def test_stopped_by_hand_it_ends(machine: Machine) -> None:
    arn = machine.start("stopped", way="lambda", ingest={"sleep": 2.0, "more": 100})
    machine.client.stop_execution(executionArn=arn, cause="wrong month")
    end = machine.described(arn)
    assert (end["status"], end["cause"]) == ("ABORTED", "wrong month")
