"""Mail on this computer: Amazon SES by the moto server, which keeps every message as it was sent.

MiniStack has SES too, but keeps no attachments and so no pictures.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from email import message_from_string
from email.message import EmailMessage
from email.policy import default as modern

from moto.ses.models import RawMessage, ses_backends


@dataclass(frozen=True)
class Mail:
    """A message that SES took; ``content`` has its parts."""

    id: str
    sender: str
    to: tuple[str, ...]
    content: EmailMessage

    @property
    def subject(self) -> str:
        """As the reader sees it."""
        return str(self.content["Subject"])

    @property
    def text(self) -> str:
        """The plain-text part, if there is one."""
        part = self.content.get_body(("plain",))
        return str(part.get_content()) if part is not None else ""

    @property
    def html(self) -> str:
        """The HTML part, if there is one."""
        part = self.content.get_body(("html",))
        return str(part.get_content()) if part is not None else ""

    @property
    def pictures(self) -> dict[str, bytes]:
        """PNG pictures by their Content-ID."""
        return {
            str(part["Content-ID"] or part.get_filename()).strip("<>"): part.get_content()
            for part in self.content.walk()
            if isinstance(part, EmailMessage) and part.get_content_type() == "image/png"
        }


def sent_mail(account: str, region: str) -> Sequence[Mail]:
    """Everything that was sent, oldest first."""
    found = []
    for message in ses_backends[account][region].sent_messages:
        if not isinstance(message, RawMessage):
            raise TypeError(
                f"SES was given a {type(message).__name__}; only raw mail has its parts"
            )
        parsed = message_from_string(message.raw_data, policy=modern)
        assert isinstance(parsed, EmailMessage)
        found.append(Mail(message.id, message.source, tuple(message.destinations), parsed))
    return found
