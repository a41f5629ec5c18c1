"""What a person in Slack is told after pressing a button: a note that only they see."""

from __future__ import annotations

import msgspec

_SECONDS = 1.0
"""Slack waits three seconds for the answer to the button itself, and this comes before it."""


class SlackNotes:
    """Implements SlackAnswers."""

    def tell(self, url: str, text: str) -> None:
        """Post a note to an interaction's ``response_url``. Raises GuiderailError.

        Source: "Handling user interaction", docs.slack.dev: ``response_type`` ephemeral is the default,
        ``replace_original`` must be false for the message to stay. Plain text knows no markup.
        """
        # only needed after a button in Slack, not for links
        from guiderail.adapters.channels.http import post

        plain = {"type": "plain_text", "text": text[:3000], "emoji": False}
        harmless = text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
        note = {
            "response_type": "ephemeral",
            "replace_original": False,
            "text": harmless[:3000],
            "mrkdwn": False,
            "blocks": [{"type": "section", "text": plain}],
        }
        headers = {"Content-Type": "application/json; charset=utf-8"}
        post(url, msgspec.json.encode(note), headers, _SECONDS)
