# ruff: noqa: E501 - a table: one case on one line
"""What is wrong with a policy: each problem with its place, its field and what to do."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest
from guiderail.model.policy import Channel, ChannelKind, Policy, Receiver, Replies, Route
from guiderail.services.tightening import CANNOT_TIGHTEN
from guiderail_cli.policy_file import CompiledPolicy, Level, compile_policy

from tests.builders import judgement
from tests.fakes import Cloud

NOW = datetime(2026, 11, 23, tzinfo=UTC)


def compiled(text: str) -> CompiledPolicy:
    return compile_policy("version: 1\n" + text, "p.yaml", NOW)


def rule(match: str = "{endpoint: loans}", set_: str = "{severity: info}", name: str = "r") -> str:
    return f"rules:\n  - name: {name}\n    match: {match}\n    set: {set_}\n"


def action(text: str, more: str = "") -> str:
    return f"remediations:\n  fix: {{{text}}}\ndefaults: {{remediation: fix}}\n{more}"


def channel(text: str) -> str:
    return f"receivers: {{default: {{\n channels: [\n   {'':3}{text}]}}}}\n"


WRONG = [
    # what stands in the file (line 1 is the version), line, column, field, message, remedy
    ("silences: []", 2, 1, "silences", "not known", "guiderail incidents silence"),
    ("rulez: []", 2, 1, "rulez", "the key rulez is not known", "Did you mean rules?"),
    ("defaults: {severty: info}", 2, 12, "defaults.severty", "not known", "severity?"),
    ("defaults: {threshold: abc}", 2, 23, "defaults.threshold", "abc is no number", "0.25"),
    ("defaults: {threshold: .inf}", 2, 23, "defaults.threshold", "no number", "0.25"),
    ("defaults: {threshold: nan}", 2, 23, "defaults.threshold", "no finite number", "0.25"),
    ("defaults: {threshold: }", 2, 23, "defaults.threshold", "nothing stands here", "remove"),
    ("defaults: {threshold: [1]}", 2, 23, "defaults.threshold", "a list is no number", "0.25"),
    ("defaults: {minimum_rows: 1.5}", 2, 26, "defaults.minimum_rows", "whole number", "30"),
    ("defaults: {minimum_rows: -1}", 2, 26, "defaults.minimum_rows", "out of range", "at least 0"),
    ("defaults: {for: 2}", 2, 17, "defaults.for", "2 is not N of M", "for: 2 of 3"),
    ("defaults: {for: 3 of 2}", 2, 17, "defaults.for", "never be reached", "at most M"),
    ("defaults: {for: 0 of 2}", 2, 17, "defaults.for", "always hold", "at least 1"),
    ("defaults: {for: 2 of 25}", 2, 17, "defaults.for", "24 are remembered", "at most 24"),
    ("defaults: {severity: critcal}", 2, 22, "defaults.severity", "not known", "critical?"),
    ("defaults: {direction: outside}", 2, 23, "defaults.direction", "not known", "above, below"),
    ("defaults: {shadow: yes}", 2, 20, "defaults.shadow", "neither true nor false", "true or"),
    ("defaults: {owner: ''}", 2, 19, "defaults.owner", "empty", "remove the line"),
    ("defaults: {runbook: 'ftp://x/y'}", 2, 21, "defaults.runbook", "no web address", "https"),
    ("defaults: {runbook: 'http://[x'}", 2, 21, "defaults.runbook", "no web address", "https"),
    ("defaults: {mute_until: 2026-12-01}", 2, 24, "defaults.mute_until", "no zone", "and zone"),
    ("defaults: {mute_until: friday}", 2, 24, "defaults.mute_until", "no time", "and zone"),
    ("defaults: {labels: {severity: x}}", 2, 31, "defaults.labels.severity", "own", "another name"),
    ("defaults: {route: nights}", 2, 19, "defaults.route", "nights is not declared", "routes"),
    ("defaults: [a]", 2, 11, "defaults", "a list is not a mapping", "indented"),
    (rule(match="{endpoint: {a: b}}"), 4, 23, "rules[0].match.endpoint", "not a list", "dash"),
    (rule(match="{endpoint: [[a]]}"), 4, 24, "rules[0].match.endpoint[0]", "not text", "text"),
    (rule(match="{endpoint: []}"), 4, 23, "rules[0].match.endpoint", "list is empty", "remove"),
    (rule(match="{endpiont: a}"), 4, 13, "rules[0].match.endpiont", "not known", "endpoint?"),
    (rule(match="{severity: info}"), 4, 13, "rules[0].match.severity", "not known", "inhibitions"),
    (rule(match="{labels: {a: b}}"), 4, 13, "rules[0].match.labels", "not known", "tag:"),
    (rule(match="{}"), 4, 12, "rules[0].match", "not what it is about", "defaults"),
    (rule(match="{monitor: data-quality}"), 4, 22, "rules[0].match.monitor[0]", "no monitor", "data_quality?"),
    (rule(match="{feature: '" + "*a" * 9 + "'}"), 4, 22, "rules[0].match.feature[0]", "9 times *", "List the names"),
    (rule(match="{feature: " + "a" * 257 + "}"), 4, 22, "rules[0].match.feature[0]", "257 characters", "Shorten"),
    (rule(set_="{}"), 5, 10, "rules[0].set", "sets nothing", "remove the rule"),
    ("rules:\n  - match: {endpoint: a}\n    set: {owner: b}", 3, 5, "rules[0].name", "name is missing", "Add name:"),
    ("rules:\n  - name: a\n    severity: info\n    match: {endpoint: a}\n    set: {owner: b}", 4, 5, "rules[0].severity", "not known", "below set:"),
    ("rules:\n  - name: a\n    endpoint: a\n    match: {feature: a}\n    set: {owner: b}", 4, 5, "rules[0].endpoint", "not known", "below match:"),
    (rule() + "models:\n  - {name: r, match: {feature: a}, set: {owner: b}}", 3, 11, "rules[0].name", "stands on line 7 too", "its own name"),
    ("routes: {routes: [{name: a, match: {tag: {x: y}}}]}", 2, 37, "routes.routes[0].match.tag", "not known", "labels:"),
    ("routes: {match: {endpoint: a}}", 2, 10, "routes.match", "not known", "Known keys are"),
    ("routes: {routes: [{name: default, match: {check: failed}}]}", 2, 26, "routes.routes[0].name", "line 2 too", "its own name"),
    ("routes: {routes: [{name: a, match: {severity: eror}}]}", 2, 47, "routes.routes[0].match.severity[0]", "no severity", "error?"),
    ("routes: {receiver: opss}\nreceivers: {ops: {}}", 2, 20, "routes.receiver", "not declared", "Did you mean ops?"),
    ("routes: {escalation: [{after: 5m, receiver: x}]}\nreceivers: {}", 2, 45, "routes.escalation[0].receiver", "not declared", "receivers"),
    ("routes: {escalation: [{after: 5m, receiver: x}, {after: 5m, receiver: y}]}", 2, 57, "routes.escalation[1].after", "not later", "Order"),
    ("routes: {active: offce}\nhours: {office: {}}", 2, 18, "routes.active[0]", "not declared", "office?"),
    ("routes: {group_by: [endpoint, teem]}\ndefaults: {labels: {team: a}}", 2, 31, "routes.group_by[1]", "not declared", "team?"),
    ("routes: {group_wait: 5}", 2, 22, "routes.group_wait", "5 is no duration", "30s, 5m"),
    ("routes: {group_wait: 5m 3s}", 2, 22, "routes.group_wait", "no duration", "30s, 5m"),
    ("routes: {repeat_interval: 0s}", 2, 27, "routes.repeat_interval", "is 0", "longer"),
    ("hours: {office: {from: '25:00'}}", 2, 24, "hours.office[0].from", "no time of day", '"08:00"'),
    ("hours: {office: {from: '24:00', to: '08:00'}}", 2, 24, "hours.office[0].from", "24:00 is an end", "00:00"),
    ("hours: {office: {from: '08:00', to: '08:00'}}", 2, 37, "hours.office[0].to", "no length", "24:00"),
    ("hours: {office: {zone: Europe/Brelin}}", 2, 24, "hours.office[0].zone", "no time zone", "Europe/Berlin"),
    ("hours: {office: {days: [mon, tues]}}", 2, 30, "hours.office[0].days[1]", "not known", "tue?"),
    ("hours: {office: []}", 2, 17, "hours.office", "list is empty", "remove"),
    ("inhibitions: [{name: a, source: {check: failed}, target: {monitor: bias}, same: [monitor]}]", 2, 81, "inhibitions[0].same", "endpoint is not among them", "Add endpoint"),
    ("inhibitions: [{name: a, source: {check: failed}, target: {}}]", 2, 58, "inhibitions[0].target", "matches every", "Say which"),
    ("inhibitions: [{name: a, source: {check: failed}, target: {monitor: bias}, same: [endpoint, x]}]", 2, 92, "inhibitions[0].same[1]", "not declared", "Known are"),
    ("feature_groups: [{name: a}, {name: a}]", 2, 36, "feature_groups[1].name", "line 2 too", "its own name"),
    ("upstream: {endpoints: 1}", 2, 23, "upstream.endpoints", "out of range", "at least 2"),
    ("incidents: {worse_by: 1}", 2, 23, "incidents.worse_by", "out of range", "more than 1"),
    ("incidents: {resolve_after: 25}", 2, 28, "incidents.resolve_after", "out of range", "at most 24"),
    ("routes: {at_most: {messages: 0}}", 2, 30, "routes.at_most.messages", "0 is out of range", "at least 1"),
    ("routes: {at_most: {messages: many}}", 2, 30, "routes.at_most.messages", "no whole number", "such as 30"),
    ("routes: {at_most: {within: 1h}}", 2, 19, "routes.at_most.messages", "is missing", "Add messages:"),
    ("routes: {at_most: {messages: 9, within: 30s}}", 2, 41, "routes.at_most.within", "shorter than 1m", "at least 1m"),
    ("routes: {at_most: {messages: 9, within: 2d}}", 2, 41, "routes.at_most.within", "longer than 1d", "at most 1d"),
    (channel("{slak: {}}"), 4, 8, "receivers.default.channels[0].slak", "not known", "Did you mean slack?"),
    (channel("{bus: {}}"), 4, 8, "receivers.default.channels[0].bus", "not known", "anyway"),
    (channel("{}"), 4, 7, "receivers.default.channels[0]", "no channel stands here", "one of topic, email, slack"),
    (channel("{topic: }"), 4, 15, "receivers.default.channels[0].topic", "nothing stands here", "Write"),
    (channel("topic"), 4, 7, "receivers.default.channels[0]", "is not a mapping", "key: value"),
    (channel("{topic: {}, jsm: {secret: guiderail/x}}"), 4, 7, "receivers.default.channels[0]", "topic and jsm in one entry", "dash"),
    (channel("{teams: {}}"), 4, 15, "receivers.default.channels[0].teams.secret", "is missing", "Add secret:"),
    (channel("{teams: {secret: guiderail/x, url: y}}"), 4, 37, "receivers.default.channels[0].teams.url", "not known", "Known keys are secret"),
    (channel("{slack: {secret: guiderail/x}}"), 4, 15, "receivers.default.channels[0].slack.channel", "is missing", "Add channel:"),
    (channel("{slack: {secret: guiderail/x, channel: '#ml'}}"), 4, 46, "receivers.default.channels[0].slack.channel", "#ml is a channel's name", "its id"),
    (channel("{slack: {secret: guiderail/x, channel: ml-alerts}}"), 4, 46, "receivers.default.channels[0].slack.channel", "a channel's name", "its id"),
    (channel("{slack: {secret: guiderail/x, channel: U0123456789}}"), 4, 46, "receivers.default.channels[0].slack.channel", "no id of a Slack channel", "C, G or D"),
    (channel("{jsm: {secret: jsm-key}}"), 4, 22, "receivers.default.channels[0].jsm.secret", "names no secret", "guiderail/name"),
    (channel("{jsm: {secret: ssm:/other/key}}"), 4, 22, "receivers.default.channels[0].jsm.secret", "names no secret", "ssm:/guiderail/name"),
    (channel("{jsm: {secret: guiderail/}}"), 4, 22, "receivers.default.channels[0].jsm.secret", "names no secret", "guiderail/name"),
    (channel("{jsm: {secret: 'arn:aws:secretsmanager:eu-west-1:123456789012:secret:guiderail/x'}}"), 4, 22, "receivers.default.channels[0].jsm.secret", "an ARN", "guiderail/name"),
    (channel("{topic: {arn: x}}"), 4, 21, "receivers.default.channels[0].topic.arn", "no ARN of an SNS topic", "arn:aws:sns"),
    (channel("{topic: {arn: 'arn:aws:sns:eu-west-1:123456789012:x.fifo'}}"), 4, 21, "receivers.default.channels[0].topic.arn", "FIFO", "standard"),
    (channel("{amazon_q: {}}"), 4, 18, "receivers.default.channels[0].amazon_q.topic_arn", "is missing", "Add topic_arn:"),
    (channel("{email: {to: [a@example.com, b], from: c@example.com}}"), 4, 36, "receivers.default.channels[0].email.to[1]", "b is no email address", "ml@example.com"),
    (channel("{email: {to: 'a b@example.com', from: c@example.com}}"), 4, 20, "receivers.default.channels[0].email.to[0]", "no email address", "ml@example.com"),
    (channel("{email: {to: [], from: c@example.com}}"), 4, 20, "receivers.default.channels[0].email.to", "list is empty", "remove"),
    (channel("{email: {to: [" + "a@example.com, " * 51 + "], from: c@example.com}}"), 4, 20, "receivers.default.channels[0].email.to", "51 addresses", "mailing list"),
    (channel("{email: {to: a@example.com}}"), 4, 15, "receivers.default.channels[0].email.from", "is missing", "Add from:"),
    (channel("{topic: {}, name: bus}"), 4, 25, "receivers.default.channels[0].name", "Guiderail's own", "another name"),
    ("receivers: {default: {channels: [{topic: {}}, {topic: {}, name: default/topic}]}}", 2, 65, "receivers.default.channels[1].name", "has the name default/topic too", "its own name"),
    ("receivers: {default: {channels: [" + "{topic: {}}, " * 11 + "]}}", 2, 33, "receivers.default.channels", "at most 10", "pass it on"),
    ("receivers: {default: {slack: {}}}", 2, 23, "receivers.default.slack", "not known", "below channels:"),
    ("receivers: {default: {channels: {topic: {}}}}", 2, 33, "receivers.default.channels", "a mapping is not a list", "dash"),
    ("receivers: {default: {fallback: opps}, ops: {}}\nroutes: {escalation: [{after: 5m, receiver: ops}]}", 2, 33, "receivers.default.fallback", "opps is not declared", "Did you mean ops?"),
    ("receivers: {default: {fallback: default}}", 2, 33, "receivers.default.fallback", "stand in for itself", "stack's topic"),
    ("receivers: {default: {fallback: a}, a: {fallback: b}, b: {fallback: a}}", 2, 51, "receivers.a.fallback", "in a circle: a -> b -> a", "the last one"),
    ("delivery: {attempts: 0}", 2, 22, "delivery.attempts", "out of range", "at least 1"),
    ("delivery: {attempts: 101}", 2, 22, "delivery.attempts", "out of range", "at most 100"),
    ("delivery: {give_up_after: 8d}", 2, 27, "delivery.give_up_after", "longer than 7d", "at most 7d"),
    ("delivery: {breaker_pause: 16m}", 2, 27, "delivery.breaker_pause", "longer than 15m", "at most 15m"),
    ("delivery: {breaker_failures: 0}", 2, 30, "delivery.breaker_failures", "out of range", "at least 1"),
    ("delivery: {link_life: 1m}", 2, 23, "delivery.link_life", "shorter than 5m", "at least 5m"),
    ("replies: {allowed: [U012]}", 2, 21, "replies.allowed[0]", "matches nobody", "slack:<team>"),
    ("defaults: {remediation: retrian}\nremediations: {retrain: {ticket: {}}}", 2, 25, "defaults.remediation", "the remediation retrian is not declared", "Did you mean retrain?"),
    ("remediations: [{name: a}]", 2, 15, "remediations", "a list is not a mapping", "indented"),
    ("guardrails: {}", 2, 1, "guardrails", "not known", "Did you mean guard_rails?"),
    (action("mode: ask"), 3, 8, "remediations.fix", "no action stands here", "retrain, reingest"),
    (action("ticket: {}, pause: {}"), 3, 8, "remediations.fix", "pause and ticket in one entry", "a name of its own"),
    (action("ticket: {}, mod: ask"), 3, 21, "remediations.fix.mod", "not known", "Did you mean mode?"),
    (action("ticket: {}, schedule: a"), 3, 21, "remediations.fix.schedule", "not known", "Write schedule below rebaseline:"),
    (action("retrian: {pipeline: a}"), 3, 9, "remediations.fix.retrian", "not known", "Did you mean retrain?"),
    (action("ticket: {}, mode: manual"), 3, 27, "remediations.fix.mode", "manual is not known", "suggest, ask or auto"),
    (action("ticket: {}, causes: qualty"), 3, 29, "remediations.fix.causes[0]", "qualty is not known", "quality?"),
    (action("ticket: {}, causes: []"), 3, 29, "remediations.fix.causes", "list is empty", "remove"),
    (action("ticket: {}, causes: [drift, bias], mode: auto"), 3, 37, "remediations.fix.causes[1]", "bias is for a human", "mode: ask"),
    (action("ticket: {}, approvers: [bob]"), 3, 33, "remediations.fix.approvers[0]", "bob matches nobody", "or arn:"),
    ("replies: {allowed: ['arn:*']}", 2, 21, "replies.allowed[0]", "matches nobody", "link:<channel>"),
    (action("ticket: {}, cooldown: -1h"), 3, 31, "remediations.fix.cooldown", "-1h is no duration", "30s, 5m"),
    (action("ticket: {}, cooldown: 31d"), 3, 31, "remediations.fix.cooldown", "longer than 30d", "at most 30d"),
    (action("ticket: {}, approval_life: 1m"), 3, 36, "remediations.fix.approval_life", "shorter than 5m", "at least 5m"),
    (action("ticket: {}, time_out: 15d"), 3, 31, "remediations.fix.time_out", "longer than 14d", "at most 14d"),
    (action("ticket: {}, attempts: 0"), 3, 31, "remediations.fix.attempts", "out of range", "at least 1"),
    (action("ticket: {}, cost: -1"), 3, 27, "remediations.fix.cost", "out of range", "at least 0"),
    (action("ticket: {}, cost: $5"), 3, 27, "remediations.fix.cost", "$5 is no number", "0.25"),
    (action("ticket: {}, verify: {clean_runs: 25}"), 3, 42, "remediations.fix.verify.clean_runs", "out of range", "at most 24"),
    (action("ticket: {}, verify: {within: 1m}"), 3, 38, "remediations.fix.verify.within", "shorter than 5m", "at least 5m"),
    (action("ticket: {a: b}"), 3, 18, "remediations.fix.ticket.a", "not known", ""),
    (action("retrain: {}"), 3, 18, "remediations.fix.retrain.pipeline", "is missing", "Add pipeline:"),
    (action("retrain: {pipeline: my pipeline}"), 3, 29, "remediations.fix.retrain.pipeline", "my pipeline is no pipeline", "or its ARN"),
    (action("retrain: {pipeline: 'arn:aws:sagemaker:eu-west-1:1:pipeline/a'}"), 3, 29, "remediations.fix.retrain.pipeline", "is no pipeline", "or its ARN"),
    (action("retrain: {pipeline: 'a-{endpiont}'}"), 3, 29, "remediations.fix.retrain.pipeline", "{endpiont} is no field", "Did you mean endpoint?"),
    (action("retrain: {pipeline: a, parameters: {In: '{uri}'}}"), 3, 49, "remediations.fix.retrain.parameters.In", "{uri} is no field", "Known are endpoint, schedule"),
    (action("retrain: {pipeline: a, parameters: {In: '{endpoint'}}"), 3, 49, "remediations.fix.retrain.parameters.In", "a brace without its other half", "{endpoint}"),
    (action("retrain: {pipeline: a, parameters: {In: " + "a" * 1025 + "}}"), 3, 49, "remediations.fix.retrain.parameters.In", "1025 characters, the limit is 1024", "S3"),
    (action("retrain: {pipeline: a, parameters: {my input: b}}"), 3, 55, "remediations.fix.retrain.parameters.my input", "no name of a parameter", "Letters"),
    (action("retrain: {pipeline: a, wait_for_model: 1}"), 3, 48, "remediations.fix.retrain.wait_for_model", "neither true nor false", "true or false"),
    (action("reingest: {feature_group: a, source: /lake}"), 3, 46, "remediations.fix.reingest.source", "/lake is no place in S3", "s3://bucket"),
    (action("reingest: {feature_group: a, source: 's3://Lake/x'}"), 3, 46, "remediations.fix.reingest.source", "no place in S3", "s3://bucket"),
    (action("reingest: {feature_group: a b, source: 's3://lake/'}"), 3, 35, "remediations.fix.reingest.feature_group", "a b is no feature group", "{feature_group}"),
    (action("reingest: {feature_group: a, source: 's3://lake/', format: xml}"), 3, 68, "remediations.fix.reingest.format", "xml is not known", "auto, csv, parquet or jsonl"),
    (action("reingest: {feature_group: a, source: 's3://lake/', rate: 0}"), 3, 66, "remediations.fix.reingest.rate", "out of range", "more than 0"),
    (action("reingest: {feature_group: a, source: 's3://lake/', from: 2026-12-01}"), 3, 66, "remediations.fix.reingest.from", "has no zone", "{window_start}"),
    (action("reingest: {feature_group: a, source: 's3://lake/', from: '{window_start}Z'}"), 3, 66, "remediations.fix.reingest.from", "more than one field", "{window_start}"),
    (action("reingest: {feature_group: a, source: 's3://lake/', from: '2026-12-01T00:00:00Z', until: '2026-12-01T00:00:00+00:00'}"), 3, 97, "remediations.fix.reingest.until", "not later than from", "length"),
    (action("rebaseline: {}"), 3, 21, "remediations.fix.rebaseline.dataset", "is missing", "Add dataset:"),
    (action("rebaseline: {dataset: 's3://lake/'}, mode: auto"), 3, 52, "remediations.fix.mode", "is for a human", "mode: ask"),
    (action("rebaseline: {dataset: 's3://lake/', output: 's3://lake/', instance_type: big}"), 3, 82, "remediations.fix.rebaseline.instance_type", "big is no instance type", "ml.m5.xlarge"),
    (action("pause: {schedule: " + "a" * 64 + "}"), 3, 27, "remediations.fix.pause.schedule", "no name of SageMaker's", "up to 63"),
    (action("invoke: {target: mend-loans}"), 3, 26, "remediations.fix.invoke.target", "no ARN of a Lambda function", "arn:aws:lambda"),
    (action("invoke: {target: 'arn:aws:lambda:eu-west-1:123456789012:function:f', payload: {a: ['{x}']}}"), 3, 92, "remediations.fix.invoke.payload.a[0]", "{x} is no field", "Known are"),
    ("guard_rails: {per_day: 0}", 2, 24, "guard_rails.per_day", "0 is out of range", "guiderail remediation stop"),
    ("guard_rails: {per_day: none}", 2, 24, "guard_rails.per_day", "none is no limit", "or unlimited"),
    ("guard_rails: {cost_per_month: 0}", 2, 31, "guard_rails.cost_per_month", "out of range", "more than 0"),
    ("guard_rails: {targets_at_once: 0}", 2, 32, "guard_rails.targets_at_once", "out of range", "at least 1"),
    ("guard_rails: {freezes: [relase]}\nhours: {release: {}}", 2, 25, "guard_rails.freezes[0]", "the window relase is not declared", "Did you mean release?"),
    ("version: 1", 2, 1, "version", "stands twice, first on line 1", "Keep one"),
    ("? {a: b}\n: c", 2, 3, "", "a key that is not text", "plain word"),
]  # fmt: skip


@pytest.mark.parametrize(
    ("text", "line", "column", "field", "message", "remedy"), WRONG, ids=lambda v: str(v)[:40]
)
def test_errors(text: str, line: int, column: int, field: str, message: str, remedy: str) -> None:
    result = compiled(text)
    assert result.policy is None
    (problem,) = result.errors
    assert (problem.file, problem.field) == ("p.yaml", field)
    assert (problem.line, problem.column) == (line, column)
    assert message in problem.message
    assert remedy in problem.remedy


@pytest.mark.parametrize("text", ["", "# nothing\n", "defaults: {owner: a}\n"])
def test_the_version_must_be_there(text: str) -> None:
    (problem,) = compile_policy(text, "p.yaml", NOW).problems
    assert problem.message == "the version of the format is missing"
    assert (problem.line, problem.column) == (1, 1)


@pytest.mark.parametrize(("text", "message"), [("- a", "a list is not"), ("a", "a is not a map")])
def test_a_file_that_is_no_mapping(text: str, message: str) -> None:
    (problem,) = compile_policy(text, "p.yaml", NOW).problems
    assert message in problem.message


def test_another_version_of_the_format() -> None:
    (problem,) = compile_policy("version: 2\n", "p.yaml", NOW).problems
    assert str(problem) == "p.yaml:1:10: error: version: 2 is not known. Write 1"


def test_all_errors_are_told_at_once_in_the_order_of_the_file() -> None:
    result = compiled(
        "defaults: {threshold: a, for: 3 of 2, x: 1}\nroutes: {group_wait: z}\nq: 1\n"
    )
    assert [(p.line, p.field) for p in result.problems] == [
        (2, "defaults.threshold"),
        (2, "defaults.for"),
        (2, "defaults.x"),
        (3, "routes.group_wait"),
        (4, "q"),
    ]


def test_what_the_user_wrote_is_shown_short_and_printable() -> None:
    (problem,) = compiled(f'defaults: {{severity: "\\e[31m{"x" * 500}{{}}"}}').problems
    assert len(problem.message) < 100
    assert problem.message.isprintable()


# --- rules that contradict each other


def test_two_rules_about_the_same_that_set_it_differently() -> None:
    result = compiled(
        "rules:\n"
        "  - {name: a, match: {endpoint: [x, y], tag: {s: t}}, set: {owner: me, severity: info}}\n"
        "  - {name: b, match: {tag: {s: t}, endpoint: [y, x]}, set: {owner: you, severity: info}}\n"
    )
    (problem,) = result.errors
    assert (problem.line, problem.column) == (4, 68)
    assert problem.field == "rules[1].set.owner"
    assert problem.message == "a on line 3 is about the same and sets it differently"


def test_labels_contradict_one_by_one() -> None:
    result = compiled(
        "rules:\n"
        "  - {name: a, match: {endpoint: x}, set: {labels: {team: a, tier: b}}}\n"
        "  - {name: b, match: {endpoint: x}, set: {labels: {team: b, cost: c}}}\n"
    )
    assert [p.field for p in result.errors] == ["rules[1].set.labels.team"]


@pytest.mark.parametrize(
    "other",
    [
        "rules:\n  - {name: b, match: {endpoint: x, check: failed}, set: {owner: you}}\n",
        "rules:\n  - {name: b, match: {endpoint: x}, set: {severity: info}}\n",
        "models:\n  - {name: b, match: {endpoint: x}, set: {owner: you}}\n",
    ],
)
def test_rules_that_only_differ_do_not_contradict(other: str) -> None:
    first = "  - {name: a, match: {endpoint: x}, set: {owner: me}}\n"
    text = other + first if other.startswith("rules") else other + "rules:\n" + first
    assert compiled(text).errors == ()


# --- thresholds


@pytest.mark.parametrize(
    "check", ["missing_column_check", "extra_column_check", "failed", "'*_column_check'"]
)
@pytest.mark.parametrize("key", ["threshold: 3", "direction: above"])
def test_no_threshold_where_there_is_no_number(check: str, key: str) -> None:
    (problem,) = compiled(rule(f"{{check: {check}}}", f"{{{key}}}")).errors
    assert problem.field == f"rules[0].set.{key.split(':')[0]}"
    assert "has no number to compare" in problem.message


@pytest.mark.parametrize("check", ["data_type_check", "categorical_values_check"])
def test_a_threshold_that_can_only_be_loosened_is_a_warning(check: str) -> None:
    result = compiled(rule(f"{{check: {check}}}", "{threshold: 0.9}"))
    assert result.policy
    (problem,) = result.problems
    assert problem.level is Level.WARNING
    assert CANNOT_TIGHTEN[check] in problem.message


@pytest.mark.parametrize(
    "match",
    ["{check: completeness_check}", "{check: '*_check'}", "{check: my_own_check}", "{metric: f1}"],
)
def test_a_threshold_that_can_be(match: str) -> None:
    problems = compiled(rule(match, "{threshold: 0.9}")).problems
    assert not any("number" in p.message or "loosened" in p.message for p in problems)


def test_a_threshold_for_every_check() -> None:
    for text in ("defaults: {threshold: 0.2}", rule("{feature: a}", "{threshold: 0.2}")):
        (problem,) = compiled(text).problems
        assert "whatever its unit" in problem.message


@pytest.mark.parametrize(("threshold", "told"), [("95", 1), ("0.95", 0), ("1", 0)])
def test_a_share_is_not_a_percentage(threshold: str, told: int) -> None:
    problems = compiled(rule("{check: completeness_check}", f"{{threshold: {threshold}}}")).problems
    assert [p.level for p in problems] == [Level.WARNING] * told


# --- warnings


def test_a_time_in_the_past() -> None:
    result = compiled("defaults: {mute_until: 2026-11-22T23:59:59+00:00}")
    assert result.policy
    assert [p.message for p in result.problems] == ["2026-11-22T23:59:59+00:00 is in the past"]


def test_an_unknown_check_may_be_an_own_containers() -> None:
    result = compiled(rule("{check: completness_check}"))
    assert result.policy
    (problem,) = result.problems
    assert problem.level is Level.WARNING
    assert problem.remedy.startswith("Did you mean completeness_check? Ignore this if a container")


def test_the_outcome_of_a_healthy_run_is_no_check() -> None:
    (problem,) = compiled(rule("{check: clean}")).problems
    assert problem.level is Level.WARNING
    assert "healthy run" in problem.message


@pytest.mark.parametrize("check", ["upstream", "policy_unreadable", "failed", "bias_drift_check"])
def test_checks_that_incidents_may_have(check: str) -> None:
    assert compiled(f"routes: {{routes: [{{name: a, match: {{check: {check}}}}}]}}").problems == ()


# --- secrets in the file, receivers that nobody hears of


SECRETS = [
    "{slack: {secret: xoxb-17653672481-19874698323-pdFZKVeTuE8sk7oOcHrzqygy, channel: '#ml'}}",
    "{slack: {secret: guiderail/slack, channel: xoxb-1-2-abc}}",
    "{slack_webhook: {secret: 'https://hooks.slack.com/services/T0/B0/XXXXXXXX'}}",
    "{slack_webhook: {secret: guiderail/s, url: 'https://hooks.slack.com/services/T0/B0/XXX'}}",
    "{teams: {secret: 'https://x.logic.azure.com/workflows/1/triggers?sp=run&sig=ABCdef'}}",
    "{teams: {secret: 'https://example.com/hook'}}",
    "{pagerduty: {secret: R0123456789ABCDEF0123456789ABCDE}}",
    "{jsm: {secret: 5e2f1a70-7c7f-4b61-9d2a-0a8c1b7c3a55}}",
    "{webhook: {secret: 'whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw'}}",
    "{webhook: {secret: '" + "Q2hhbm5lbHMgYXJlIG5vdCBzZWNyZXRz" * 10 + "'}}",
]


@pytest.mark.parametrize("text", SECRETS, ids=lambda t: t[:30])
def test_a_secret_in_the_file_is_refused_and_not_repeated(text: str) -> None:
    result = compiled(channel(text))
    assert result.policy is None
    (problem,) = [p for p in result.errors if "looks like a secret" in p.message]
    assert "Put it into Secrets Manager" in problem.remedy
    at = [p for p in result.errors if (p.line, p.column) == (problem.line, problem.column)]
    assert at == [problem]
    told = " ".join(str(p) for p in result.problems)
    assert not any(
        part in told for part in ("xoxb", "hooks.slack", "ABCdef", "R0123", "5e2f", "Q2h")
    )


@pytest.mark.parametrize(
    "name",
    [
        "guiderail/oncall/slack",
        "guiderail/0123456789abcdef0123456789abcdef",
        "ssm:/guiderail/production/eu-west-1/pagerduty/routing-key",
        "guiderail/slack_bot+v2.1@ops",
    ],
)
def test_names_of_secrets(name: str) -> None:
    assert compiled(channel(f"{{webhook: {{secret: '{name}'}}}}")).problems == ()


@pytest.mark.parametrize("name", ["0123456789abcdef0123456789abcdef", "xoxo-likes", "design=x"])
def test_other_texts_may_look_like_anything(name: str) -> None:
    assert compiled(rule(f"{{feature: {name}}}")).problems == ()


def test_a_token_is_refused_wherever_it_stands() -> None:
    (problem,) = compiled("receivers: {default: {description: 'the bot is xoxb-123-abc'}}").errors
    assert problem.field == "receivers.default.description"
    assert "xoxb" not in str(problem)


WEBHOOK = "{webhook: {secret: guiderail/x}}"
SLACK = "{slack_webhook: {secret: guiderail/x}}"
OF_RECEIVERS = [
    # what stands in the file, line and column, what is told, what to do
    ("receivers: {default: {}, ops: {}}", (2, 31), "leads to ops", "remove it"),
    ("receivers: {ops: {fallback: boss}, boss: {}, default: {}}", (2, 18), "leads to ops", "remove"),
    (f"receivers: {{default: {{channels: [{WEBHOOK}, {SLACK}]}}}}", (2, 68), "nobody may answer", "allowed"),
    ("replies: {allowed: 'link:ops/*'}", (2, 20), "known as link:ops/*", "link:topic?"),
    ("receivers: {default: {channels: [email: {to: [a@x.org, b@x.org], from: c@x.org}]}}\nreplies: {allowed: ['email:a@x.org']}", (3, 21), "known as email:a@x.org", "gets mail alone"),
    ("delivery: {give_up_after: 30s}", (2, 27), "before its channel is tried again", "longer"),
]  # fmt: skip


@pytest.mark.parametrize(("text", "place", "message", "remedy"), OF_RECEIVERS)
def test_what_is_of_no_use(text: str, place: tuple[int, int], message: str, remedy: str) -> None:
    result = compiled(text)
    assert result.policy
    problem = result.problems[0]
    assert problem.level is Level.WARNING
    assert (problem.line, problem.column) == place
    assert message in problem.message
    assert remedy in problem.remedy


@pytest.mark.parametrize(
    "text",
    [
        "receivers: {default: {fallback: ops}, ops: {fallback: boss}, boss: {}}",
        "receivers: {ops: {}}\nroutes: {routes: [{name: a, match: {check: failed}, receiver: ops}]}",
        "receivers: {ops: {fallback: default}}\nroutes: {escalation: [{after: 1h, receiver: ops}]}",
        f"receivers: {{default: {{channels: [{SLACK}]}}}}\nreplies: {{allowed: '*'}}",
        f"receivers: {{default: {{channels: [{SLACK}]}}}}\nreplies: {{allowed: ['link:*', 's*']}}",
        f"receivers: {{default: {{channels: [{SLACK}]}}}}\nreplies: {{allowed: []}}",
        "replies: {allowed: ['link:topic', '?lack:T0/U0', '*@example.com']}",
        "receivers: {default: {channels: [email: {to: a@x.org, from: c@x.org}]}}\n"
        "replies: {allowed: ['email:*@x.org']}",
    ],
)
def test_receivers_of_use(text: str) -> None:
    assert compiled(text).problems == ()


ANSWERED = {"email", "topic", "slack", "slack_webhook", "teams"}


@pytest.mark.parametrize("kind", ChannelKind)
def test_the_warning_is_about_channels_that_show_ways_to_answer(kind: ChannelKind) -> None:
    channel = Channel(kind=kind, name="ops/channel")
    receivers = {"ops": Receiver(name="ops", channels=(channel,))}
    route = Route(name="default", receiver="ops", group_wait=0.0)
    cloud = Cloud(policy=Policy(route=route, receivers=receivers, replies=Replies(allowed=("*",))))
    cloud.reply_url = "https://replies.example"
    cloud.run_ends(judgement())
    cloud.pass_time(seconds=1)
    (sent,) = cloud.sent_over("ops/channel")
    assert bool(sent.rendering.replies) == kind.takes_replies == (kind.value in ANSWERED)


# --- remediations of no use


OF_REMEDIATIONS = [
    # what stands in the file, line and column, what is told, what to do
    ("remediations: {spare: {ticket: {}}}", (2, 23), "no rule names spare", "remove it"),
    (action("ticket: {}, mode: auto", "guard_rails: {per_hour: unlimited, per_day: unlimited, per_month: unlimited}"), (3, 27), "nothing limits how often", "other than unlimited"),
    (action("ticket: {}, mode: auto, four_eyes: true"), (3, 27), "asks two people all the same", "mode: ask"),
    (action("ticket: {}, cost: 5"), (3, 27), "nothing limits what remediations cost", "cost_per_month"),
    (action("ticket: {}", "guard_rails: {cost_per_month: 5}"), (5, 31), "no remediation has a cost", "Estimate one"),
    (action("retrain: {pipeline: a}, causes: [quality, broken_feed]"), (3, 51), "retrain on a broken feed", "Take it out"),
    (action("ticket: {}, approvers: 'link:ops/*'"), (3, 32), "known as link:ops/*", "link:topic?"),
]  # fmt: skip


@pytest.mark.parametrize(("text", "place", "message", "remedy"), OF_REMEDIATIONS)
def test_what_a_remediation_would_not_do(
    text: str, place: tuple[int, int], message: str, remedy: str
) -> None:
    result = compiled(text)
    assert result.policy
    (problem,) = result.problems
    assert problem.level is Level.WARNING
    assert (problem.line, problem.column) == place
    assert message in problem.message
    assert remedy in problem.remedy


@pytest.mark.parametrize(
    "text",
    [
        "retrain: {pipeline: 'arn:aws-cn:sagemaker:cn-north-1:123456789012:pipeline/loans-{endpoint}'}",
        "retrain: {pipeline: '{endpoint}', parameters: {Empty: '', A_b-1: 'x {monitor} {account}'}}",
        "reingest: {feature_group: '{feature_group}', source: '{report_uri}', features: '{features}'}",
        "reingest: {feature_group: a, source: 's3://my.lake/{region}/', from: '{window_start}', until: '2026-12-01T00:00:00Z'}",
        "rebaseline: {dataset: 's3://lake', output: 's3://lake/{schedule}/{remediation}', volume_gb: 100}",
        "rollback: {}",
        "rollback: {endpoint: loans, endpoint_config: loans-2}",
        "resume: {schedule: '{schedule}-late'}",
        "run_now: {}",
        "invoke: {target: 'arn:aws:states:eu-west-1:123456789012:stateMachine:mend:live'}",
        "invoke: {target: 'arn:aws:lambda:eu-west-1:123456789012:function:mend:$LATEST', wait: false, payload: {a: {b: [1, '{endpoint}', true]}}}",
        "ticket: {}, causes: [bias], mode: ask",
        "ticket: {}, approvers: ['*', 'arn:aws:sts::123456789012:assumed-role/ml/*']",
        "ticket: {}, mode: auto",
    ],
)  # fmt: skip
def test_remediations_of_use(text: str) -> None:
    assert compiled(action(text)).problems == ()


# --- names of anybody's


@pytest.mark.parametrize("name", ["größe_der_情報🙂", "x" * 256, "a: b", "{}%s", "‮abc"])
def test_any_name_is_fine(name: str) -> None:
    quoted = '"' + name + '"'
    text = rule(
        f"{{feature: {quoted}, tag: {{{quoted}: {quoted}}}}}", f"{{owner: {quoted}}}", quoted
    )
    result = compiled(text)
    assert result.problems == ()
    assert result.policy
    assert result.policy.rules[0].match.feature == (name,)


def test_a_large_policy_of_many_rules_is_checked() -> None:
    rules = "".join(
        f"  - {{name: r{n}, match: {{endpoint: e-{n % 50}, feature: f{n}}}, set: {{owner: o}}}}\n"
        for n in range(600)
    )
    result = compiled("rules:\n" + rules)
    assert result.problems == ()
    assert result.policy
    assert len(result.policy.rules) == 600
