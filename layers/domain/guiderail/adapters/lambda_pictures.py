"""Lambda: charts from the function that draws them, which is apart to keep delivery small."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import msgspec

from guiderail.adapters.clients import client, translated
from guiderail.errors import UnavailableError
from guiderail.model.message import Distribution, Picture

ANSWER_SECONDS = 8.0
"""A message is worth more than its pictures: it goes without them after this."""


class _Drawn(msgspec.Struct):
    pictures: tuple[Picture, ...]


# made here: threads that decode a struct for the first time at once crash msgspec
_DRAWN = msgspec.json.Decoder(_Drawn)


class LambdaPictures:
    """Implements Pictures: one Invoke, tried once."""

    def __init__(self, function: str) -> None:
        """Ask the function of this name or ARN."""
        self._function = function

    def draw(
        self,
        distributions: Sequence[Distribution],
        trends: Mapping[str, Sequence[float]],
        show_values: bool = False,
    ) -> Sequence[Picture]:
        """Draw; bucket labels, which are raw data, only with ``show_values``.

        Raises:
            UnavailableError: It failed, or answered something else.
            GuiderailError: The call was refused.
        """
        asked = {"distributions": distributions, "trends": trends, "show_values": show_values}
        with translated(f"Invoke {self._function}"):
            answer = client("lambda", ANSWER_SECONDS, 1).invoke(
                FunctionName=self._function, Payload=msgspec.json.encode(asked)
            )
            content = answer["Payload"].read()
        if answer.get("FunctionError"):
            raise UnavailableError(f"{self._function} failed: {answer['FunctionError']}")
        try:
            return _DRAWN.decode(content).pictures
        except (msgspec.MsgspecError, ValueError) as error:
            raise UnavailableError(f"{self._function} answered no pictures: {error}") from error
