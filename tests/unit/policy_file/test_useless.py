"""Rules and routes that change nothing, and those of which that cannot be said."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest
from guiderail_cli.policy_file import Level, compile_policy, useless

NOW = datetime(2026, 11, 23, tzinfo=UTC)


def told(text: str) -> list[str]:
    result = compile_policy("version: 1\n" + text, "p.yaml", NOW)
    assert all(p.level is Level.WARNING for p in result.problems), result.problems
    return [p.message for p in result.problems]


def of_rule(match: str, more: str = "") -> list[str]:
    return told(f"{more}\nrules:\n  - {{name: r, match: {match}, set: {{owner: o}}}}\n")


@pytest.mark.parametrize(
    ("match", "why"),
    [
        ("{monitor: bias, check: completeness_check}", "completeness_check is of data_quality, not of bias"),
        ("{monitor: 'b*', check: '*_column_check'}", "extra_column_check is of data_quality, not of bias"),
        ("{feature: age, check: LessThanThreshold}", "findings of LessThanThreshold have no feature"),
        ("{feature: age, metric: f1}", "no finding has feature and metric together"),
        ("{facet: age, label: y}", "no finding has facet and label together"),
        ("{feature: '*', monitor: [bias, model_quality]}", "findings of model_quality and bias have no feature"),
        ("{feature: '*', check: failed}", "an unhealthy run (failed) has no feature"),
        ("{feature: a, check: missing_column_check}", "findings of missing_column_check have no feature"),
        ("{facet: a, check: [LessThanThreshold, no_data]}", "findings of LessThanThreshold have no facet"),
        ("{feature_group: payments}", "no entry of feature_groups is called payments"),
    ],
)  # fmt: skip
def test_dead_rules(match: str, why: str) -> None:
    assert of_rule(match) == [f"the rule can match nothing: {why}"]


@pytest.mark.parametrize(
    "match",
    [
        "{monitor: bias, check: bias_drift_check, facet: a, metric: DPPL}",
        "{monitor: [bias, custom], check: completeness_check}",
        "{monitor: bias, check: [completeness_check, bias_drift_check]}",
        "{monitor: bias, check: failed}",
        "{monitor: '*', check: LessThanThreshold, feature: a}",
        "{check: '*Threshold', feature: a}",
        "{check: '*', feature: a}",
        "{label: a, metric: b}",
        "{feature: a}",
        "{feature_group: 'pay*'}",
        "{tag: {stage: prod}}",
    ],
)
def test_rules_that_may_match(match: str) -> None:
    assert of_rule(match, "feature_groups: [{name: payments}]") == []


def two(weak: str, strong: str, section: str = "rules") -> list[str]:
    weak, strong = (
        f"  - {{name: {n}, {text}}}\n" for n, text in (("weak", weak), ("strong", strong))
    )
    if section == "rules":
        return told(f"rules:\n{weak}{strong}")
    return told(f"{section}:\n{weak}rules:\n{strong}")


SHADOWED = "the rule changes nothing: everything it sets is set again by strong on line 4"


@pytest.mark.parametrize(
    ("weak", "strong"),
    [
        # among equals the later line
        ("match: {endpoint: a}, set: {owner: x}", "match: {endpoint: [a, b]}, set: {owner: y}"),
        ("match: {endpoint: 'a*'}, set: {owner: x}", "match: {endpoint: '*'}, set: {owner: y, severity: info}"),
        ("match: {endpoint: 'a-*-b'}, set: {owner: x}", "match: {endpoint: 'a*'}, set: {owner: y}"),
        ("match: {tag: {s: a}}, set: {owner: x}", "match: {tag: {s: a}}, set: {owner: x}"),
        (
            "match: {endpoint: a}, set: {labels: {team: x}}",
            "match: {endpoint: [a, b]}, set: {labels: {team: y, tier: z}}",
        ),
    ],
)  # fmt: skip
def test_shadowed_rules(weak: str, strong: str) -> None:
    assert two(weak, strong) == [SHADOWED]


def test_a_model_is_shadowed_by_a_wider_rule() -> None:
    weak = "match: {endpoint: a, check: failed}, set: {owner: x}"
    assert two(weak, "match: {endpoint: '*'}, set: {owner: y}", "models") == [
        SHADOWED.replace("line 4", "line 5")
    ]


def test_defaults_are_shadowed_by_nothing_narrower() -> None:
    assert (
        told("defaults: {owner: x}\nmodels: [{name: a, match: {endpoint: '*'}, set: {owner: y}}]")
        == []
    )


def test_several_rules_may_shadow_one_together() -> None:
    (message,) = told(
        "rules:\n"
        "  - {name: a, match: {endpoint: x}, set: {owner: o, severity: info}}\n"
        "  - {name: b, match: {endpoint: [x, y]}, set: {owner: p}}\n"
        "  - {name: c, match: {endpoint: [x, z]}, set: {severity: error}}\n"
    )
    assert message.endswith("is set again by b on line 4, c on line 5")


@pytest.mark.parametrize(
    ("weak", "strong"),
    [
        # the more specific wins, whatever the line
        ("match: {endpoint: a, check: failed}, set: {owner: x}", "match: {endpoint: a}, set: {owner: y}"),
        ("match: {endpoint: a}, set: {owner: x}", "match: {endpoint: '*'}, set: {owner: y}"),
        # not all of it, or not all that it sets
        ("match: {endpoint: [a, c]}, set: {owner: x}", "match: {endpoint: [a, b]}, set: {owner: y}"),
        ("match: {endpoint: a}, set: {owner: x, severity: info}", "match: {endpoint: [a, b]}, set: {owner: y}"),
        ("match: {endpoint: a}, set: {labels: {t: x}}", "match: {endpoint: [a, b]}, set: {labels: {u: y}}"),
        ("match: {tag: {s: a}}, set: {owner: x}", "match: {tag: {t: a}}, set: {owner: y}"),
        # a value is needed where a key is given
        ("match: {check: failed}, set: {owner: x}", "match: {endpoint: a}, set: {owner: y}"),
    ],
)  # fmt: skip
def test_rules_that_may_still_hold(weak: str, strong: str) -> None:
    assert two(weak, strong) == []


def of_routes(routes: str, more: str = "") -> list[str]:
    return told(f"{more}\nroutes:\n  routes:\n{routes}")


TAKES = "the route takes nothing: "


def test_a_route_behind_one_that_takes_everything() -> None:
    routes = (
        "    - {name: a, match: {monitor: '*'}}\n"
        "    - {name: b, match: {monitor: bias, check: bias_drift_check}}\n"
    )
    assert of_routes(routes) == [TAKES + "a on line 5 takes all of it before"]
    assert of_routes(routes.replace("'*'}", "'*'}, continue: true")) == []
    named = "defaults: {route: b}"
    assert told(f"{named}\nroutes:\n  routes:\n{routes}") == []


def test_a_route_below_one_that_takes_something_else() -> None:
    routes = (
        "    - name: a\n"
        "      match: {endpoint: [loans, 'cards*']}\n"
        "      routes:\n"
        "        - {name: b, match: {endpoint: churn}}\n"
        "        - {name: c, match: {endpoint: cards-eu}}\n"
    )
    assert of_routes(routes) == [TAKES + "a on line 5 above it takes another endpoint"]


def test_a_route_for_what_no_rule_sets() -> None:
    routes = "    - {name: a, match: {labels: {team: x}}}\n    - {name: b, match: {owner: me}}\n"
    assert of_routes(routes) == [
        TAKES + "no rule sets the label team",
        TAKES + "no rule sets the owner me",
    ]
    assert of_routes(routes, "defaults: {owner: me, labels: {team: x}}") == []


def test_a_route_for_findings_that_are_not_written() -> None:
    routes = "    - {name: a, match: {monitor: bias, check: data_type_check}}\n"
    assert of_routes(routes) == [TAKES + "data_type_check is of data_quality, not of bias"]


def test_a_policy_of_very_many_globs_is_searched_only_so_far(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    rules = "rules:\n" + "".join(
        f"  - {{name: r{n}, match: {{endpoint: 'a*{n}', feature: 'b*'}}, set: {{owner: o}}}}\n"
        for n in range(30)
    )
    # none of 30 rules shadows another: 435 pairs, each with two keys
    assert told(rules) == []
    monkeypatch.setattr(useless, "_MOST_COMPARED", 1000)
    (message,) = told(rules)
    assert "not all were searched for shadowed ones" in message
