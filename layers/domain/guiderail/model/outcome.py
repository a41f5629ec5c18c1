"""How a run ended, which monitor it was, and the reason codes that say why."""

from __future__ import annotations

from enum import StrEnum


class Outcome(StrEnum):
    """The honest state of one run; only ``clean`` is healthy."""

    VIOLATIONS = "violations"
    CLEAN = "clean"
    FAILED = "failed"
    STOPPED = "stopped"
    NO_DATA = "no_data"
    NO_GROUND_TRUTH = "no_ground_truth"
    TOO_FEW_ROWS = "too_few_rows"
    DEGENERATE = "degenerate"
    UNREADABLE = "unreadable"

    @property
    def is_unhealthy(self) -> bool:
        """Whether the monitor itself, not the model, needs somebody's attention."""
        return self not in (Outcome.VIOLATIONS, Outcome.CLEAN)


class MonitorKind(StrEnum):
    """What a monitoring schedule watches; ``custom`` is a container of the user's own."""

    DATA_QUALITY = "data_quality"
    MODEL_QUALITY = "model_quality"
    BIAS = "bias"
    EXPLAINABILITY = "explainability"
    CUSTOM = "custom"


class Direction(StrEnum):
    """On which side of its threshold a value is bad."""

    ABOVE = "above"
    BELOW = "below"
    FARTHER_FROM_ZERO = "farther_from_zero"
    OUTSIDE = "outside"
    MISMATCH = "mismatch"


class Reason(StrEnum):
    """Why something was decided; the same word reaches log, metric, message and record.

    Each member's meaning stands in docs/reasons.md.
    """

    # the job is not a monitoring run
    IGNORED_MERGE_JOB = "ignored_merge_job"
    IGNORED_BASELINING_JOB = "ignored_baselining_job"
    IGNORED_PIPELINE_CHECK_JOB = "ignored_pipeline_check_job"
    IGNORED_AUTOPILOT_JOB = "ignored_autopilot_job"
    IGNORED_DEBUGGER_JOB = "ignored_debugger_job"
    IGNORED_ONE_OFF_CLARIFY_JOB = "ignored_one_off_clarify_job"
    IGNORED_UNRELATED_JOB = "ignored_unrelated_job"
    DUPLICATE_EVENT = "duplicate_event"
    DEAD_LETTER = "dead_letter"

    # the outcome
    VIOLATIONS_REPORTED = "violations_reported"
    REPORT_LISTS_NO_VIOLATIONS = "report_lists_no_violations"
    CLARIFY_WROTE_NO_VIOLATIONS_FILE = "clarify_wrote_no_violations_file"
    JOB_FAILED = "job_failed"
    JOB_STOPPED = "job_stopped"
    NO_INPUT_DATA = "no_input_data"
    NO_GROUND_TRUTH_DATA = "no_ground_truth_data"
    ZERO_ROWS = "zero_rows"
    ROWS_BELOW_MINIMUM = "rows_below_minimum"
    ALL_METRICS_ZERO = "all_metrics_zero"
    ALL_METRICS_EMPTY = "all_metrics_empty"
    ALL_ATTRIBUTIONS_ZERO = "all_attributions_zero"
    VIOLATIONS_FILE_MISSING = "violations_file_missing"
    VIOLATIONS_FILE_UNREADABLE = "violations_file_unreadable"
    STATISTICS_UNREADABLE = "statistics_unreadable"
    CONSTRAINTS_UNREADABLE = "constraints_unreadable"
    ANALYSIS_UNREADABLE = "analysis_unreadable"
    ANALYSIS_MISSING = "analysis_missing"
    NO_REPORT_FILES = "no_report_files"
    NO_REPORT_LOCATION = "no_report_location"
    REPORT_ACCESS_DENIED = "report_access_denied"
    REPORT_TOO_LARGE = "report_too_large"

    # what else was seen
    VIOLATION_COUNT_DISAGREES = "violation_count_disagrees"
    EXIT_MESSAGE_CONTRADICTS_REPORT = "exit_message_contradicts_report"
    JOB_STATE_UNKNOWN = "job_state_unknown"
    ROWS_UNKNOWN = "rows_unknown"
    BASELINE_UNREADABLE = "baseline_unreadable"
    MONITOR_KIND_FROM_IMAGE = "monitor_kind_from_image"
    MONITOR_KIND_FROM_JOB_NAME = "monitor_kind_from_job_name"
    MONITOR_KIND_FROM_REPORT = "monitor_kind_from_report"
    MONITOR_KIND_FROM_JOB_DEFINITION = "monitor_kind_from_job_definition"
    MONITOR_KIND_FROM_ANALYSIS_CONFIG = "monitor_kind_from_analysis_config"
    MONITOR_KIND_ASSUMED = "monitor_kind_assumed"
    OWN_CONTAINER = "own_container"
    SCHEDULE_NOT_FOUND = "schedule_not_found"
    UNPARSED_FINDINGS = "unparsed_findings"
    PERCENTAGE_ASSUMED_FRACTION = "percentage_assumed_fraction"
    PERCENTAGE_SETTLED_BY_STATISTICS = "percentage_settled_by_statistics"
    PERCENTAGE_SETTLED_BY_SIBLING = "percentage_settled_by_sibling"
    ATTRIBUTION_SCORE_DISAGREES = "attribution_score_disagrees"

    # what the policy makes of a finding
    COUNTS = "counts"
    WITHIN_THRESHOLD = "within_threshold"
    BELOW_MIN_ROWS = "below_min_rows"
    MUTED = "muted"
    SHADOW = "shadow"
    UNHEALTHY_RUN = "unhealthy_run"
    FOUND_BY_POLICY = "found_by_policy"
    TAGS_UNKNOWN = "tags_unknown"

    # what becomes of an incident
    WAITING_N_OF_M = "waiting_n_of_m"
    FIRST_SEEN = "first_seen"
    REOPENED = "reopened"
    SEVERITY_RAISED = "severity_raised"
    WORSENED = "worsened"
    SUPPRESSED_DUPLICATE = "suppressed_duplicate"
    WAITING_FOR_CLEAN_RUNS = "waiting_for_clean_runs"
    RESOLVED = "resolved"
    RESOLVED_BY_HAND = "resolved_by_hand"
    ENDPOINT_CHANGED = "endpoint_changed"
    FLAPPING = "flapping"
    FLAPPING_ENDED = "flapping_ended"
    ACKNOWLEDGED = "acknowledged"
    ACKNOWLEDGEMENT_WITHDRAWN = "acknowledgement_withdrawn"
    REMEDIATION_STARTED = "remediation_started"
    REMEDIATION_FINISHED = "remediation_finished"
    REMEDIATION_FAILED = "remediation_failed"
    VERIFICATION_FAILED = "verification_failed"
    WAITING_FOR_PROOF = "waiting_for_proof"
    LATE_RUN = "late_run"
    UPSTREAM_SUSPECTED = "upstream_suspected"

    # why people are told now, or not
    NEW_FINDINGS = "new_findings"
    REPEAT_DUE = "repeat_due"
    ESCALATED = "escalated"
    SILENCED = "silenced"
    SILENCE_SET = "silence_set"
    SILENCE_ENDED = "silence_ended"
    INHIBITED_BY = "inhibited_by"
    PART_OF_UPSTREAM = "part_of_upstream"
    OUTSIDE_HOURS = "outside_hours"
    WAITING_GROUP_WAIT = "waiting_group_wait"
    WAITING_GROUP_INTERVAL = "waiting_group_interval"
    GROUPS_FOLDED = "groups_folded"

    DIGEST = "digest"
    TEST_MESSAGE = "test_message"

    # what becomes of a delivery
    WAITING_FOR_DELIVERY = "waiting_for_delivery"
    DELIVERED = "delivered"
    CHANNEL_BUSY = "channel_busy"
    CHANNEL_FAILED = "channel_failed"
    CHANNEL_REFUSED = "channel_refused"
    CHANNEL_GONE = "channel_gone"
    CIRCUIT_OPEN = "circuit_open"
    GIVEN_UP = "given_up"
    SUPERSEDED = "superseded"
    FALLBACK = "fallback"
    REPLAYED = "replayed"

    # what people answer
    ASSIGNED = "assigned"
    MARKED_NOISE = "marked_noise"
    REPLY_DONE = "reply_done"
    REPLY_USED = "reply_used"
    REPLY_EXPIRED = "reply_expired"
    REPLY_UNKNOWN = "reply_unknown"
    REPLY_FORBIDDEN = "reply_forbidden"
    REPLY_BAD_SIGNATURE = "reply_bad_signature"
    REPLY_STALE = "reply_stale"
    REPLY_TOO_LARGE = "reply_too_large"
    REPLY_MALFORMED = "reply_malformed"
    REPLY_REFUSED = "reply_refused"

    # what gates say of a remediation
    GATE_PASSED = "gate_passed"
    SWITCHED_OFF = "switched_off"
    ACTION_UNKNOWN = "action_unknown"
    INCIDENT_OVER = "incident_over"
    CAUSE_NOT_ELIGIBLE = "cause_not_eligible"
    REPORT_DOUBTFUL = "report_doubtful"
    CHANGE_FREEZE = "change_freeze"
    ATTEMPTS_USED = "attempts_used"
    COOLING_DOWN = "cooling_down"
    BUDGET_USED = "budget_used"
    COST_CEILING = "cost_ceiling"
    TOO_MANY_TARGETS = "too_many_targets"
    TARGET_LOCKED = "target_locked"
    ONLY_SUGGESTED = "only_suggested"
    APPROVAL_NEEDED = "approval_needed"
    ANOTHER_APPROVAL_NEEDED = "another_approval_needed"
    STARTED_BY_HAND = "started_by_hand"
    GATE_NOT_EVALUATED = "gate_not_evaluated"

    # what becomes of a remediation
    REMEDIATION_REQUESTED = "remediation_requested"
    REMEDIATION_SUGGESTED = "remediation_suggested"
    REMEDIATION_ASKED = "remediation_asked"
    REMEDIATION_APPROVED = "remediation_approved"
    REMEDIATION_REJECTED = "remediation_rejected"
    APPROVAL_EXPIRED = "approval_expired"
    ACTION_STARTED = "action_started"
    ACTION_ENDED = "action_ended"
    ACTION_NOT_ENDED = "action_not_ended"
    NOBODY_WAITS = "nobody_waits"
    ACTION_REFUSED = "action_refused"
    ACTION_FAILED = "action_failed"
    ACTION_STOPPED = "action_stopped"
    ACTION_TIMED_OUT = "action_timed_out"
    LOCK_LOST = "lock_lost"
    NOTHING_TO_PROVE = "nothing_to_prove"
    REMEDIATION_PROVEN = "remediation_proven"
    PROOF_TIMED_OUT = "proof_timed_out"
    BASELINE_STALE = "baseline_stale"
    BASELINE_UNKNOWN = "baseline_unknown"
    ENDPOINT_UNCHANGED = "endpoint_unchanged"
    DRIVER_FAILED = "driver_failed"
    SWITCH_THROWN = "switch_thrown"
    SWITCH_RESET = "switch_reset"

    # the policy itself
    POLICY_MISSING = "policy_missing"
    POLICY_UNREADABLE = "policy_unreadable"

    # retraining
    RETRAINING_STARTED = "retraining_started"
    RETRAINING_SUGGESTED = "retraining_suggested"
    RETRAINING_OFF = "retraining_off"
    RETRAINING_NO_PIPELINE = "retraining_no_pipeline"
    RETRAINING_INCIDENT_KNOWN = "retraining_incident_known"
    RETRAINING_LEFT_TO_REMEDIATIONS = "retraining_left_to_remediations"
    RETRAINING_NO_FINDINGS = "retraining_no_findings"
    RETRAINING_BLOCKED_UNHEALTHY_RUN = "retraining_blocked_unhealthy_run"
    RETRAINING_BLOCKED_BROKEN_FEED = "retraining_blocked_broken_feed"
    RETRAINING_BLOCKED_BIAS_NEEDS_HUMAN = "retraining_blocked_bias_needs_human"
    RETRAINING_BLOCKED_DOUBTFUL_REPORT = "retraining_blocked_doubtful_report"
    RETRAINING_BLOCKED_UNKNOWN_CAUSE = "retraining_blocked_unknown_cause"
    RETRAINING_REFUSED = "retraining_refused"
