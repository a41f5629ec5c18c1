"""AWS without a server: calls of the adapters' clients are checked against the API model, kept and answered.

For operations that moto lacks. Requests pass botocore's own validation, answers are validated too, so neither
can have a shape that AWS does not know.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import pytest
from botocore.awsrequest import AWSResponse
from botocore.validate import ParamValidator
from guiderail.adapters import clients

Answer = Mapping[str, Any] | Callable[[Mapping[str, Any]], Mapping[str, Any]] | Exception


class Refusal(Exception):
    """An error that AWS answers."""

    def __init__(self, code: str, message: str = "", status: int = 400) -> None:
        super().__init__(code)
        self.answer = {
            "Error": {"Code": code, "Message": message},
            "ResponseMetadata": {"HTTPStatusCode": status},
        }
        self.status = status


class Answers:
    """What AWS answers by operation (``DescribeEndpoint``), and the calls that were made, in order."""

    def __init__(self) -> None:
        self.known: dict[str, Answer] = {}
        self.calls: list[tuple[str, Mapping[str, Any]]] = []

    def __call__(self, **answers: Answer) -> None:
        """Answer these operations so from now on; an exception is raised instead."""
        self.known |= answers

    def clear(self) -> None:
        """Forget answers and calls."""
        self.known.clear()
        self.calls.clear()

    @property
    def names(self) -> list[str]:
        """The operations that were called, in order."""
        return [name for name, _ in self.calls]

    def asked(self, operation: str) -> Mapping[str, Any]:
        """The parameters of the only call of an operation."""
        (asked,) = [given for name, given in self.calls if name == operation]
        return asked

    def listen(self, service: str) -> None:
        """Answer for a service."""
        client = (
            clients.client(service, 50.0, 1) if service == "lambda" else clients.client(service)
        )
        events, prefix = client.meta.events, client.meta.service_model.service_id.hyphenize()
        events.register_first(f"before-parameter-build.{prefix}", self._keep)
        events.register_first(f"before-call.{prefix}", self._answer)

    def _keep(self, params: Mapping[str, Any], context: dict[str, Any], **_: Any) -> None:
        context["asked"] = dict(params)

    def _answer(self, model: Any, context: dict[str, Any], **_: Any) -> Any:
        asked = context["asked"]
        self.calls.append((model.name, asked))
        assert model.name in self.known, f"nobody expected {model.name} {asked}"
        answer = self.known[model.name]
        if callable(answer):
            try:
                answer = answer(asked)
            except Refusal as refusal:
                answer = refusal
        if isinstance(answer, Refusal):
            return _response(answer.status), answer.answer
        if isinstance(answer, Exception):
            raise answer
        if model.output_shape is not None and not model.has_streaming_output:
            report = ParamValidator().validate(answer, model.output_shape)
            assert not report.has_errors(), (
                f"{model.name} never answers so: {report.generate_report()}"
            )
        meta = {"ResponseMetadata": {"HTTPStatusCode": 200}}
        return _response(200), {**answer, **meta}


def _response(status: int) -> Any:
    headers: Any = {}
    return AWSResponse("", status, headers, None)


@contextmanager
def answering(*services: str) -> Iterator[Answers]:
    """Answer for some services; every other call goes nowhere."""
    with pytest.MonkeyPatch.context() as environment:
        for name, value in {
            "AWS_ENDPOINT_URL": "http://127.0.0.1:9",
            "AWS_DEFAULT_REGION": "eu-west-1",
            "AWS_ACCESS_KEY_ID": "test",
            "AWS_SECRET_ACCESS_KEY": "test",
        }.items():
            environment.setenv(name, value)
        clients.forget()
        answers = Answers()
        for service in services:
            answers.listen(service)
        yield answers
        clients.forget()
