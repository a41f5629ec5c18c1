"""Settings of the functions, from the environment."""

from __future__ import annotations

import pytest
from guiderail.errors import SettingsError
from guiderail.model.retraining import RetrainingMode, RetrainingRule
from guiderail.services.retraining import PARAMETER_FIELDS
from guiderail.settings import Settings, settings_from

NEEDED = {
    "GUIDERAIL_TABLE": "guiderail-runs",
    "GUIDERAIL_TOPIC": "arn:aws:sns:eu-west-1:123456789012:alerts",
    "GUIDERAIL_BUS": "guiderail",
    "GUIDERAIL_DELIVERIES_QUEUE": "https://sqs.eu-west-1.amazonaws.com/123456789012/deliveries",
    "GUIDERAIL_DELIVERIES_DEAD_LETTER_QUEUE": "https://sqs.eu-west-1.amazonaws.com/123456789012/dead",
    "GUIDERAIL_DEAD_LETTER_QUEUE": "https://sqs.eu-west-1.amazonaws.com/123456789012/dead",
}


def test_only_three_variables_have_no_default() -> None:
    assert settings_from(NEEDED) == Settings(
        table="guiderail-runs",
        topic="arn:aws:sns:eu-west-1:123456789012:alerts",
        bus="guiderail",
        deliveries_queue=NEEDED["GUIDERAIL_DELIVERIES_QUEUE"],
        deliveries_dead_letter_queue=NEEDED["GUIDERAIL_DELIVERIES_DEAD_LETTER_QUEUE"],
        reply_url="",
        draw_function="",
        slack_signing_secret="",
        slack_hooks="https://hooks.slack.com/",
        dead_letter_queue=NEEDED["GUIDERAIL_DEAD_LETTER_QUEUE"],
        retraining_plan=(RetrainingRule("*", RetrainingMode.SUGGEST),),
        minimum_rows=30,
        max_report_bytes=67_108_864,
        worst_features=10,
        record_days=90,
        policy_bucket="",
        policy_key="policy.json",
        policy_seconds=60,
        audit_days=400,
    )


@pytest.mark.parametrize("name", sorted(NEEDED))
@pytest.mark.parametrize("value", [None, ""])
def test_a_missing_variable_is_named(name: str, value: str | None) -> None:
    environment = {k: v for k, v in NEEDED.items() if k != name}
    if value is not None:
        environment[name] = value

    with pytest.raises(SettingsError, match=f"{name} is not set") as caught:
        settings_from(environment)

    assert caught.value.remedy
    assert not caught.value.retriable


NUMBERS = {
    "GUIDERAIL_MINIMUM_ROWS": "minimum_rows",
    "GUIDERAIL_MAX_REPORT_BYTES": "max_report_bytes",
    "GUIDERAIL_WORST_FEATURES": "worst_features",
    "GUIDERAIL_RECORD_DAYS": "record_days",
    "GUIDERAIL_POLICY_SECONDS": "policy_seconds",
    "GUIDERAIL_AUDIT_DAYS": "audit_days",
}


@pytest.mark.parametrize(("variable", "field"), NUMBERS.items())
@pytest.mark.parametrize("value", [0, 7])
def test_numbers_are_read(variable: str, field: str, value: int) -> None:
    assert getattr(settings_from({**NEEDED, variable: str(value)}), field) == value


@pytest.mark.parametrize("variable", sorted(NUMBERS))
@pytest.mark.parametrize("value", ["", "-1", "1.5", "many", "1e3", " 7", "٣", "²"])
def test_what_is_no_whole_number_is_refused_by_name(variable: str, value: str) -> None:
    with pytest.raises(SettingsError, match=variable):
        settings_from({**NEEDED, variable: value})


def test_where_the_policy_is_kept() -> None:
    settings = settings_from(
        {**NEEDED, "GUIDERAIL_POLICY_BUCKET": "policies", "GUIDERAIL_POLICY_KEY": "eu/policy.json"}
    )
    assert (settings.policy_bucket, settings.policy_key) == ("policies", "eu/policy.json")


@pytest.mark.parametrize(
    ("value", "rules"),
    [
        ("", ()),
        ("*=off", (RetrainingRule("*", RetrainingMode.OFF),)),
        (
            " loan-*=auto:retrain-small , *=suggest,",
            (
                RetrainingRule("loan-*", RetrainingMode.AUTO, "retrain-small"),
                RetrainingRule("*", RetrainingMode.SUGGEST),
            ),
        ),
        ("a=b=off", (RetrainingRule("a=b", RetrainingMode.OFF),)),
    ],
)
def test_the_plan_is_read_in_its_order(value: str, rules: tuple[RetrainingRule, ...]) -> None:
    settings = settings_from({**NEEDED, "GUIDERAIL_RETRAINING_PLAN": value})

    assert settings.retraining_plan == rules


@pytest.mark.parametrize("value", ["*", "=auto", "*=", "*=always", "*=AUTO", "*=auto;x", ":x"])
def test_an_entry_of_the_plan_that_nobody_can_read_is_quoted(value: str) -> None:
    with pytest.raises(SettingsError) as caught:
        settings_from({**NEEDED, "GUIDERAIL_RETRAINING_PLAN": f"*=off,{value}"})

    assert "GUIDERAIL_RETRAINING_PLAN" in str(caught.value)
    assert repr(value) in str(caught.value)
    assert "off|suggest|auto" in caught.value.remedy


@pytest.mark.parametrize(
    ("value", "arns"),
    [
        ("", ()),
        (" , ", ()),
        ("arn:a", ("arn:a",)),
        ("arn:a, arn:b,", ("arn:a", "arn:b")),
    ],
)
def test_pipelines_keep_their_order(value: str, arns: tuple[str, ...]) -> None:
    settings = settings_from({**NEEDED, "GUIDERAIL_RETRAINING_PIPELINES": value})

    assert settings.retraining_pipelines == arns


@pytest.mark.parametrize(
    ("value", "parameters"),
    [
        ("", {}),
        ("Endpoint={endpoint}", {"Endpoint": "{endpoint}"}),
        (
            "Endpoint={endpoint}, Data={report_uri}/x, Fixed=1=2, Empty=",
            {"Endpoint": "{endpoint}", "Data": "{report_uri}/x", "Fixed": "1=2", "Empty": ""},
        ),
        *((f"P={{{field}}}", {"P": f"{{{field}}}"}) for field in PARAMETER_FIELDS),
    ],
)
def test_pipeline_parameters_are_read(value: str, parameters: dict[str, str]) -> None:
    settings = settings_from({**NEEDED, "GUIDERAIL_PIPELINE_PARAMETERS": value})

    assert settings.pipeline_parameters == parameters


@pytest.mark.parametrize("value", ["Endpoint", "={endpoint}", "A={endpoint},B"])
def test_a_parameter_that_nobody_can_read_is_refused(value: str) -> None:
    with pytest.raises(SettingsError, match="GUIDERAIL_PIPELINE_PARAMETERS"):
        settings_from({**NEEDED, "GUIDERAIL_PIPELINE_PARAMETERS": value})


@pytest.mark.parametrize("value", ["Endpoint={endpont}", "A={Endpoint}", "A={endpoint}-{rows}"])
def test_a_field_that_does_not_exist_is_refused_before_a_pipeline_gets_it(value: str) -> None:
    with pytest.raises(SettingsError, match="GUIDERAIL_PIPELINE_PARAMETERS") as caught:
        settings_from({**NEEDED, "GUIDERAIL_PIPELINE_PARAMETERS": value})

    assert "window_start" in caught.value.remedy
