"""The documents agree with the code."""

from __future__ import annotations

import re
from enum import Enum
from pathlib import Path
from typing import Any

import guiderail
import pytest
from guiderail.model.outcome import Outcome, Reason
from guiderail.model.policy import ChannelKind
from guiderail.observability import METRICS
from guiderail.settings import Settings, settings_from
from guiderail_cli.main import app
from typer.main import get_command

from tests.template import load, of_type

ROOT = Path(__file__).parents[2]
README = (ROOT / "README.md").read_text()
DOCUMENTS = [ROOT / "README.md", ROOT / "CHANGELOG.md", *sorted((ROOT / "docs").rglob("*.md"))]


def first_column(text: str, heading: str) -> list[str]:
    """Code words in the first column of the tables below a heading."""
    section = re.split(r"^#+ ", text.split(f"# {heading}\n", 1)[1], maxsplit=1, flags=re.M)[0]
    return re.findall(r"^\| `([^`]+)`", section, flags=re.M)


def values(enum: type[Enum]) -> list[str]:
    return [str(member.value) for member in enum]


def test_reason_codes() -> None:
    listed = re.findall(r"^\| `([^`]+)`", (ROOT / "docs" / "reasons.md").read_text(), flags=re.M)
    assert sorted(listed) == sorted(values(Reason))


def test_every_reason_is_given_somewhere() -> None:
    # explaining.py has a sentence for each, given or not
    listing = {"outcome.py", "explaining.py"}
    sources = [p for p in (ROOT / "layers" / "domain").rglob("*.py") if p.name not in listing]
    text = "".join(p.read_text() for p in sources)
    assert [r.name for r in Reason if f"Reason.{r.name}" not in text] == []


def test_outcomes() -> None:
    assert first_column(README, "Outcomes") == values(Outcome)


def test_metrics() -> None:
    assert first_column(README, "Metrics") == list(METRICS)
    assert all(f"| {unit} |" in README for unit, _ in METRICS.values())


def test_every_metric_is_recorded_somewhere_and_no_other() -> None:
    text = "".join(p.read_text() for p in (ROOT / "layers" / "domain").rglob("*.py"))
    recorded = re.findall(r'meter\.record\(\s*"(\w+)"', text)
    assert set(recorded) == set(METRICS)


def test_every_reason_has_its_sentence() -> None:
    text = (ROOT / "layers/domain/guiderail/services/explaining.py").read_text()
    assert [r.name for r in Reason if f"Reason.{r.name}:" not in text] == []


def environment() -> dict[str, Any]:
    """What the template sets for every function."""
    variables: dict[str, Any] = load()["Globals"]["Function"]["Environment"]["Variables"]
    return variables


def of_their_own() -> dict[str, list[str]]:
    """Variables that the template sets for single functions."""
    functions = of_type(load()["Resources"], "AWS::Serverless::Function")
    return {
        name: list(function["Environment"]["Variables"])
        for name, function in functions.items()
        if "Environment" in function
    }


LEFT_TO_THE_DEFAULT = "GUIDERAIL_SLACK_HOOKS"
"""No operator needs it; the local cloud sets its sink."""


def test_settings() -> None:
    variables = [f"GUIDERAIL_{name.upper()}" for name in Settings.__struct_fields__]
    assert first_column(README, "Settings") == variables
    given = [v for v in environment() if v.startswith("GUIDERAIL_")]
    given += [variable for own in of_their_own().values() for variable in own]
    assert sorted([*given, LEFT_TO_THE_DEFAULT]) == sorted(variables)
    for function, own in of_their_own().items():
        for variable in own:
            assert re.search(rf"^\| `{variable}` \|.* Set for `{function}` \|$", README, flags=re.M)


def test_defaults_of_settings() -> None:
    rows = re.findall(r"^\| `(GUIDERAIL_\w+)` \|([^|]*)\|", README, flags=re.M)
    named = {name: default.strip().strip("`") for name, default in rows}
    required = {
        "table",
        "dead_letter_queue",
        "topic",
        "bus",
        "deliveries_queue",
        "deliveries_dead_letter_queue",
    }
    assert {name for name in named if not named[name]} == {
        *(f"GUIDERAIL_{name.upper()}" for name in required),
        *(variable for own in of_their_own().values() for variable in own),
        "GUIDERAIL_RETRAINING_PIPELINES",
        "GUIDERAIL_PIPELINE_PARAMETERS",
        "GUIDERAIL_POLICY_BUCKET",
        "GUIDERAIL_REMEDIATION_MACHINE",
        "GUIDERAIL_REINGESTION_IMAGE",
    } - {"GUIDERAIL_REINGESTION_INSTANCE_TYPE"}
    unset = {f"GUIDERAIL_{name.upper()}": "given" for name in required}
    given = {name: default for name, default in named.items() if default}
    assert settings_from(unset) == settings_from(given | unset)


def test_defaults_of_the_template_are_those_of_the_settings() -> None:
    template = load()
    variables = {n: v for n, v in environment().items() if n.startswith("GUIDERAIL_")}
    parameters = {
        name: template["Parameters"].get(value["Ref"], {})
        for name, value in variables.items()
        if isinstance(value, dict) and "Ref" in value
    }
    from_template = {n: str(p["Default"]) for n, p in parameters.items() if "Default" in p}
    from_template |= {n: v for n, v in variables.items() if isinstance(v, str)}
    without = {name: "given" for name in variables if name not in from_template}
    assert len(from_template) >= 9
    assert settings_from(without | from_template) == settings_from(without)


def test_functions() -> None:
    template = load()
    functions = of_type(template["Resources"], "AWS::Serverless::Function")
    # one environment for all, but for what would make the template refer to itself, or is one's secret
    assert of_their_own().keys() == {
        "Deliver", "OnReply", "OnActionFinished", "Remediate", "Reingest"
    }  # fmt: skip
    assert first_column(README, "Functions") == list(functions)
    folders = {p.name for p in (ROOT / "functions").iterdir() if p.is_dir()}
    assert {Path(f["CodeUri"]).name for f in functions.values()} == folders


def test_channels() -> None:
    kinds = [kind for kind in values(ChannelKind) if kind != ChannelKind.BUS]
    assert first_column(README, "Delivery and replies") == kinds


def test_alarms_and_outputs() -> None:
    template = load()
    alarms = list(of_type(template["Resources"], "AWS::CloudWatch::Alarm"))
    functions = of_type(template["Resources"], "AWS::Serverless::Function")
    of_functions = {f"{name}{what}" for name in functions for what in ("Name", "LogGroupName")}
    outputs = [name for name in template["Outputs"] if name not in of_functions]
    assert first_column(README, "Operations") == [*alarms, *outputs]


def test_parameters_named_in_the_documents_exist() -> None:
    parameters = load()["Parameters"]
    named = set(re.findall(r"`(\w+(?:Arns|SecretName|Concurrency))`", README))
    assert named and named <= set(parameters)
    slack = parameters["SlackSigningSecretName"]["Default"]
    assert f"`{slack}`" in README


def test_commands_named_in_the_documents_exist() -> None:
    lines = [
        line
        for name in ("README.md", "docs/delivery.md", "docs/incidents.md")
        for line in re.findall(r"^guiderail .*$|`guiderail [^`]+`", (ROOT / name).read_text(), re.M)
    ]
    assert len(lines) > 20
    for line in lines:
        words = line.strip("`").partition("#")[0].partition(" > ")[0].split()[1:]
        if words[0] == "demo":  # comes with guiderail[local]
            continue
        command: Any = get_command(app)
        while hasattr(command, "commands") and words and words[0] in command.commands:
            command = command.commands[words.pop(0)]
        assert command is not get_command(app), line
        assert not hasattr(command, "commands") or not words or command.invoke_without_command, line
        taken = {option for parameter in command.params for option in parameter.opts}
        assert {word for word in words if word.startswith("--")} <= taken | {"--help"}, line


def test_events() -> None:
    pattern = load()["Resources"]["JobFinishedRule"]["Properties"]["EventPattern"]
    services = ROOT / "layers/domain/guiderail/services"
    sent = re.findall(r'return "((?:Incident|Run)\w+)"', (services / "telling.py").read_text())
    sent += re.findall(r'"(Remediation\w+)"', (services / "proposals.py").read_text())
    assert first_column(README, "Events") == [*pattern["detail-type"], *sorted(set(sent))]
    for status in pattern["detail"]["ProcessingJobStatus"]:
        assert status in README


def test_make_targets_named_in_the_documents_exist() -> None:
    targets = set(re.findall(r"^([a-z]+):", (ROOT / "Makefile").read_text(), flags=re.M))
    for document in DOCUMENTS:
        for target in re.findall(r"(?:`|^)make ([a-z]+)", document.read_text(), flags=re.M):
            assert target in targets, f"{document.name} names make {target}"


def test_tools_have_one_version_everywhere() -> None:
    makefile = (ROOT / "Makefile").read_text()
    uv = re.search(r"^UV_VERSION := (\S+)$", makefile, flags=re.M)
    assert uv and f'"uv=={uv[1]}"' in (ROOT / "pyproject.toml").read_text()
    names = ("Makefile", "README.md", "layers/*.py", "local/**/*.py", "benchmarks/*.py")
    text = "".join(p.read_text() for name in names for p in sorted(ROOT.glob(name)))
    assert len(set(re.findall(r"aws-sam-cli==([\d.]+)", text))) == 1


def test_options_of_inspect() -> None:
    usage = re.search(r"^guiderail inspect .*$", README, flags=re.M)
    assert usage
    commands: Any = get_command(app)
    taken = {option for p in commands.commands["inspect"].params for option in p.opts}
    assert set(re.findall(r"--[a-z-]+", usage[0])) <= taken


def test_changelog_has_the_version() -> None:
    assert f"## {guiderail.__version__}" in (ROOT / "CHANGELOG.md").read_text()


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda p: p.name)
def test_links_and_file_names_lead_somewhere(document: Path) -> None:
    text = document.read_text()
    for link in re.findall(r"\]\(([^)#]+)(?:#[^)]*)?\)", text):
        if not link.startswith("http"):
            assert (document.parent / link).exists(), link
    for path in re.findall(
        r"`((?:layers|functions|local|cli|tests|events|docs)/[\w./-]+\.\w+)`", text
    ):
        assert (ROOT / path).exists(), path
