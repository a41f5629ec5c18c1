"""`make invoke`: what goes into the container, and what is made of the answer."""

from __future__ import annotations

import json
import os
import socket
import threading
from pathlib import Path

import pytest
from guiderail_local import sam_invoke
from guiderail_local.errors import SetUpError
from guiderail_local.forwarding import forwarded


def test_wraps_an_event_as_the_queue_does() -> None:
    event = {"source": "aws.sagemaker", "detail": {}}
    (record,) = sam_invoke.as_batch(event)["Records"]
    assert json.loads(record["body"]) == event
    assert record["eventSource"] == "aws:sqs"


@pytest.mark.parametrize("event", [{"Records": [{"body": "{}"}]}, {"time": "2026-03-09T08:21:00Z"}])
def test_leaves_what_comes_from_the_queue_or_the_clock_as_it_is(event: dict[str, object]) -> None:
    assert sam_invoke.as_batch(event) is event


@pytest.mark.parametrize(
    ("answer", "wrong"),
    [
        ('{"batchItemFailures": []}\n', None),
        ('a print\n{"batchItemFailures": []}\n', None),
        ('"done"', None),
        ('{"batchItemFailures": [{"itemIdentifier": "1"}]}', "1 message(s) have to come again"),
        (
            '{"errorType": "ImportError", "errorMessage": "msgspec"}',
            "the function failed: ImportError msgspec",
        ),
        ("", "the function gave no answer"),
        ("Timed out", "the function gave no answer"),
    ],
)
def test_knows_failures_from_answers(answer: str, wrong: str | None) -> None:
    assert sam_invoke.failure(answer) == wrong


def test_says_that_docker_is_missing(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    assert sam_invoke.main(["OnJobFinished", "event.json"]) == 3
    assert "there is no Docker here" in capsys.readouterr().err


def test_builds_anew_only_what_is_older_than_its_sources(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("SAM", str(tmp_path / "nothing"))
    built = tmp_path / sam_invoke.BUILD / "template.yaml"
    built.parent.mkdir(parents=True)
    (tmp_path / "template.yaml").write_text("")
    built.write_text("")
    later = built.stat().st_mtime + 10
    os.utime(built, (later, later))
    sam_invoke.build(tmp_path)
    os.utime(tmp_path / "template.yaml", (later + 10, later + 10))
    with pytest.raises(SetUpError):
        sam_invoke.build(tmp_path)


@pytest.mark.parametrize(
    ("ipam", "address"),
    [
        (b'[{"Subnet": "172.17.0.0/16", "Gateway": "172.17.0.1"}]', "172.17.0.1"),
        (b'[{"Subnet": "10.9.0.0/24"}]', "10.9.0.1"),
        (b'[{"Subnet": "fd00::/64", "Gateway": "fd00::1"}, {"Subnet": "10.9.0.0/24"}]', "10.9.0.1"),
    ],
)
def test_finds_this_computer_as_containers_see_it(ipam: bytes, address: str) -> None:
    assert sam_invoke.gateway(ipam) == address


@pytest.mark.parametrize("ipam", [b"", b"null", b"[]", b"[{}]", b'[{"Subnet": "x"}]'])
def test_never_opens_every_address_for_want_of_one(ipam: bytes) -> None:
    with pytest.raises(OSError, match="Docker"):
        sam_invoke.gateway(ipam)


def test_forwards_both_ways_and_closes() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        url = f"http://127.0.0.1:{server.getsockname()[1]}"

        def answer() -> None:
            connection, _ = server.accept()
            with connection:
                received = b""
                while chunk := connection.recv(1024):
                    received += chunk
                connection.sendall(received[::-1])

        thread = threading.Thread(target=answer)
        thread.start()
        with forwarded([url], "127.0.0.1") as ways:
            port = int(ways[url].rpartition(":")[2])
            with socket.create_connection(("127.0.0.1", port)) as client:
                client.sendall(b"drift")
                client.shutdown(socket.SHUT_WR)
                assert client.recv(1024) == b"tfird"
        thread.join()
        with pytest.raises(OSError, match="refused"):
            socket.create_connection(("127.0.0.1", port))
