"""A sink on this computer that speaks each channel's protocol, remembers what came, and fails on request.

It checks what the real services check (tokens, shapes, limits) and answers as they do: tests, the demo and
benchmarks send to it what they would send to Slack, Teams, PagerDuty, JSM and webhooks.
"""

from __future__ import annotations

from guiderail_local.sink.faults import Fault
from guiderail_local.sink.server import Arrival, Sink

__all__ = ["Arrival", "Fault", "Sink"]
