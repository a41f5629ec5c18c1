"""Names of metrics, and the loggers and meters that write them."""

from __future__ import annotations

NAMESPACE = "Guiderail"

METRICS = {
    "Runs": ("Count", "monitoring runs by endpoint, monitor and outcome"),
    "Findings": ("Count", "findings by endpoint, monitor, check and severity"),
    "Decisions": (
        "Count",
        "what became of findings and incidents, by endpoint, monitor and reason",
    ),
    "FeatureDistance": ("Count", "distance of the worst features of a run from their threshold"),
    "RetrainingDecisions": ("Count", "retraining decisions by endpoint, monitor and reason"),
    "Notifications": ("Count", "messages to people by receiver and reason"),
    "Deliveries": ("Count", "what became of deliveries, by channel, state and reason"),
    "DeliveryLatency": ("Seconds", "time from a notification to its delivery, by channel"),
    "Remediations": (
        "Count",
        "what became of remediations, by endpoint, action, state and reason",
    ),
    "Replies": ("Count", "what people answered, by action and reason"),
    "AlertLatency": ("Seconds", "time from the end of a job until a channel had its alert"),
    "JobsIgnored": ("Count", "processing jobs that are no monitoring runs, by reason"),
    "DeadLetters": ("Count", "messages kept as dead letters, by reason"),
}
"""Unit and meaning of each metric, by name."""
