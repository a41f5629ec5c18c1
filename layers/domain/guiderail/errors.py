"""Errors of Guiderail, and whether trying again can help.

::

    GuiderailError
    ├── PermanentError            goes to the dead-letter queue with its reason
    │   ├── MalformedEventError   the event is not a processing-job event
    │   ├── MalformedReportError  a report file is damaged or has another shape
    │   ├── ReportTooLargeError   a report file is over the size limit
    │   ├── AccessDeniedError     AWS refused the call
    │   ├── NotFoundError         the job, schedule or object is gone
    │   ├── AlreadyExistsError    what a call would have made is there already
    │   ├── RejectedRequestError  AWS rejected the request as wrong
    │   ├── TooLargeToKeepError   an item is larger than the store takes
    │   ├── ChannelRefusedError   a channel refuses the message for good
    │   └── SettingsError         an environment variable or an option is wrong
    └── TransientError            stays in the queue and is tried again
        ├── ThrottledError        AWS asked to slow down
        ├── UnavailableError      AWS or the network failed
        ├── ConflictError         somebody else wrote in between
        ├── ChannelFailedError    a channel could not take the message now
        └── JobNotFinishedError   the event ran ahead of what DescribeProcessingJob says
"""

from __future__ import annotations


class GuiderailError(Exception):
    """Any error that Guiderail raises itself.

    Attributes:
        code: Stable reason code, the same in log, metric and dead letter.
        remedy: What a person can do about it; empty when waiting is all there is to do.
        retriable: Whether the same call may succeed later without anybody's doing.
    """

    code = "error"
    retriable = False

    def __init__(self, message: str, *, remedy: str = "") -> None:
        """Keep what went wrong and what to do about it."""
        super().__init__(message)
        self.remedy = remedy

    def __str__(self) -> str:
        """Message and remedy on one line."""
        message = super().__str__()
        return f"{message}. {self.remedy}" if self.remedy else message


class PermanentError(GuiderailError):
    """Trying again changes nothing until somebody acts."""

    code = "permanent_error"


class TransientError(GuiderailError):
    """Trying again later may succeed."""

    code = "transient_error"
    retriable = True


class MalformedEventError(PermanentError):
    """The event is not a SageMaker processing-job event."""

    code = "malformed_event"


class MalformedReportError(PermanentError):
    """A report file cannot be read as what its name says it is."""

    code = "malformed_report"


class ReportTooLargeError(PermanentError):
    """A report file is larger than the limit."""

    code = "report_too_large"


class AccessDeniedError(PermanentError):
    """AWS refused a call for lack of permission."""

    code = "access_denied"


class NotFoundError(PermanentError):
    """What a call asked for does not exist."""

    code = "not_found"


class AlreadyExistsError(PermanentError):
    """What a call would have made is there already."""

    code = "already_exists"


class RejectedRequestError(PermanentError):
    """AWS rejected a request as invalid."""

    code = "rejected_request"


class TooLargeToKeepError(PermanentError):
    """What is to be kept is larger than the store takes, however it is packed."""

    code = "too_large_to_keep"


class ChannelRefusedError(PermanentError):
    """A channel refuses a message, and would refuse it again: wrong address, token or content.

    Attributes:
        status: HTTP status, 0 where there was none.
        may_be_stale: Whether a newer secret may help: the channel did not accept the one it was given.
    """

    code = "channel_refused"

    def __init__(
        self, message: str, *, remedy: str = "", status: int = 0, may_be_stale: bool = False
    ) -> None:
        """Keep what the channel said; the message holds no secret."""
        super().__init__(message, remedy=remedy)
        self.status = status
        self.may_be_stale = may_be_stale


class SettingsError(PermanentError):
    """A setting is missing or cannot be read."""

    code = "wrong_setting"


class ThrottledError(TransientError):
    """AWS throttled the call."""

    code = "throttled"


class UnavailableError(TransientError):
    """AWS, or the way to it, failed."""

    code = "unavailable"


class ConflictError(TransientError):
    """What was read has been written by somebody else since."""

    code = "conflict"


class ChannelFailedError(TransientError):
    """A channel could not take a message now; it may have taken it all the same if it never answered.

    Attributes:
        status: HTTP status, 0 where there was none.
        retry_after: Seconds that the channel asks to wait; None where it does not say.
    """

    code = "channel_failed"

    def __init__(
        self, message: str, *, status: int = 0, retry_after: float | None = None, remedy: str = ""
    ) -> None:
        """Keep what the channel said; the message holds no secret."""
        super().__init__(message, remedy=remedy)
        self.status = status
        self.retry_after = retry_after


class JobNotFinishedError(TransientError):
    """The job's description does not yet show the end that the event announced."""

    code = "job_not_finished"
