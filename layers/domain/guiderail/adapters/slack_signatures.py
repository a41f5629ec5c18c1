"""Slack's word that a request is its own, checked by slack-sdk's verifier."""

from __future__ import annotations

from datetime import datetime
from functools import cache
from importlib.util import find_spec, module_from_spec, spec_from_file_location
from pathlib import Path
from types import ModuleType

from guiderail.model.outcome import Reason

_FRESH = 300
"""Seconds that a signature holds, before and after: "Verifying requests from Slack", docs.slack.dev."""


class SlackSdkSignatures:
    """Implements SlackSignatures."""

    def check(
        self, secret: str, body: bytes, timestamp: str, signature: str, now: datetime
    ) -> Reason | None:
        """What is wrong with a request, None where nothing is; compared in constant time."""
        # the verifier raises for text that is no number, not ASCII or not UTF-8
        if not (timestamp.isascii() and timestamp.isdigit() and len(timestamp) <= 12):
            return Reason.REPLY_BAD_SIGNATURE
        if abs(now.timestamp() - int(timestamp)) > _FRESH:
            return Reason.REPLY_STALE
        if not signature.isascii():
            return Reason.REPLY_BAD_SIGNATURE
        try:
            text = body.decode()
        except UnicodeDecodeError:
            return Reason.REPLY_BAD_SIGNATURE
        verifier = _verifier().SignatureVerifier(secret, _At(now))
        return None if verifier.is_valid(text, timestamp, signature) else Reason.REPLY_BAD_SIGNATURE


class _At:
    """The verifier's clock: ours, so that both judge by the same time."""

    def __init__(self, now: datetime) -> None:
        self._now = now

    def now(self) -> float:
        return self._now.timestamp()


@cache
def _verifier() -> ModuleType:
    """slack_sdk.signature alone: importing the package loads all of its clients, over 100 ms."""
    package = find_spec("slack_sdk")
    if package is None or package.origin is None:
        raise ImportError("slack-sdk is not installed")
    file = Path(package.origin).parent / "signature" / "__init__.py"
    spec = spec_from_file_location("guiderail_slack_signature", file)
    if spec is None or spec.loader is None:
        raise ImportError(f"{file} is not there: slack-sdk has another shape")
    module = module_from_spec(spec)
    spec.loader.exec_module(module)
    return module
