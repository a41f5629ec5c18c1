"""Errors of the local cloud.

```
LocalCloudError          a person has to do something first; says what
├── SetUpError           an environment, a layer or a server could not be made
├── DeploymentError      the template did not become a stack
├── InvalidRunError      a run folder, or a policy, cannot be played
├── FunctionFailedError  a function that was invoked ended with an error
└── RemediationStuckError  a remediation did not get where it had to in time
```
"""

from __future__ import annotations


class LocalCloudError(Exception):
    """The local cloud cannot go on; ``remedy`` is what a person can do about it."""

    def __init__(self, message: str, remedy: str = "") -> None:
        """Keep what went wrong apart from what helps."""
        super().__init__(message)
        self.message = message
        self.remedy = remedy

    def __str__(self) -> str:
        """Both, as one text."""
        return f"{self.message}\n{self.remedy}" if self.remedy else self.message


class SetUpError(LocalCloudError):
    """An environment, a layer or a server could not be made."""


class DeploymentError(LocalCloudError):
    """The template did not become a stack."""


class InvalidRunError(LocalCloudError):
    """A run folder, or a policy, cannot be played."""


class FunctionFailedError(LocalCloudError):
    """A function that was invoked ended with an error."""


class RemediationStuckError(LocalCloudError):
    """A remediation did not get where it had to in time; ``remedy`` is its machine's history."""
