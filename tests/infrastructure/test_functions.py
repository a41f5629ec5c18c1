"""Functions and layers: what they run on, what they find in their environment, what they ship."""

from __future__ import annotations

import re
import tomllib

import pytest

from tests.template import ROOT, Json, of_type, resolve, transform

SETTINGS = ROOT / "layers" / "domain" / "guiderail" / "settings.py"
REQUIREMENTS = ROOT / "layers" / "dependencies" / "requirements.txt"
POWERTOOLS = {"POWERTOOLS_SERVICE_NAME": "guiderail", "POWERTOOLS_METRICS_NAMESPACE": "Guiderail"}
OWN_SETTINGS = {
    "Deliver": {
        "GUIDERAIL_REPLY_URL": "<OnReplyUrl.FunctionUrl>",
        "GUIDERAIL_DRAW_FUNCTION": "<DrawPictures>",
    },
    "OnReply": {"GUIDERAIL_SLACK_SIGNING_SECRET": "guiderail/slack-signing"},
    "OnActionFinished": {"GUIDERAIL_ACTIONS_DEAD_LETTER_QUEUE": "<ActionsDeadLetterQueue>"},
    "Remediate": {"GUIDERAIL_REINGESTION_MACHINE": "<ReingestionMachine>"},
    "Reingest": {
        "GUIDERAIL_REINGESTION_BUCKET": "<ReingestionBucket>",
        "GUIDERAIL_REINGESTION_ROLE": "",
        "GUIDERAIL_REINGESTION_INSTANCE_TYPE": "ml.m5.xlarge",
        "GUIDERAIL_REINGESTION_INSTANCES": "4",
    },
}
LAYERS = {"DrawPictures": "PicturesLayer", "Reingest": "ColumnsLayer"}
"""What single functions have besides the layers that all have."""

# Slack's own address holds in AWS; the local cloud puts its sink there.
ONLY_ELSEWHERE = {"GUIDERAIL_SLACK_HOOKS"}


def logical_ids(references: list[str]) -> list[str]:
    """Layers by the name they have in the template: SAM adds a hash to it."""
    return [re.sub(r"[0-9a-f]{10}$", "", reference.strip("<>")) for reference in references]


def test_one_folder_one_function(stack: Json, written: Json) -> None:
    folders = {
        entry.name for entry in (ROOT / "functions").iterdir() if (entry / "app.py").is_file()
    }
    functions = {
        name: resource["Properties"]
        for name, resource in written["Resources"].items()
        if resource["Type"] == "AWS::Serverless::Function"
    }
    assert {f"functions/{folder}" for folder in folders} == {
        one["CodeUri"] for one in functions.values()
    }
    assert {one["Handler"] for one in functions.values()} == {"app.handler"}
    for name, function in functions.items():
        # OnJobFinished <-> functions/on_job_finished
        assert function["CodeUri"] == "functions/" + re.sub(r"(?<!^)(?=[A-Z])", "_", name).lower()


@pytest.mark.parametrize("architecture", ["arm64", "x86_64"])
def test_functions_and_layers_are_for_one_processor(architecture: str) -> None:
    parameters = {"Architecture": architecture}
    stack = resolve(transform(parameters), parameters)
    for function in of_type(stack, "AWS::Lambda::Function").values():
        assert function["Architectures"] == [architecture]
    for layer in of_type(stack, "AWS::Lambda::LayerVersion").values():
        assert layer["CompatibleArchitectures"] == [architecture]


def test_arm64_is_deployed_unless_asked_otherwise(stack: Json) -> None:
    assert {
        tuple(one["Architectures"]) for one in of_type(stack, "AWS::Lambda::Function").values()
    } == {("arm64",)}


def test_layers_are_built_for_that_processor(written: Json) -> None:
    layers = {
        name: resource
        for name, resource in written["Resources"].items()
        if resource["Type"] == "AWS::Serverless::LayerVersion"
    }
    assert layers.keys() == {"DependenciesLayer", "DomainLayer", *LAYERS.values()}
    for layer in layers.values():
        assert layer["Metadata"] == {
            "BuildMethod": "python3.13",
            "BuildArchitecture": {"Ref": "Architecture"},
        }


def test_local_environment_builds_for_a_pc_into_a_folder_of_its_own() -> None:
    config = tomllib.loads((ROOT / "samconfig.toml").read_text(encoding="utf-8"))
    local, deployed = config["local"], config["default"]
    overrides = dict(
        pair.split("=", 1) for pair in local["build"]["parameters"]["parameter_overrides"]
    )
    assert overrides["Architecture"] == "x86_64"
    assert local["build"]["parameters"]["build_dir"] == ".aws-sam/local"
    assert local["local_invoke"]["parameters"]["template_file"] == ".aws-sam/local/template.yaml"
    assert (
        local["local_invoke"]["parameters"]["parameter_overrides"]
        == local["build"]["parameters"]["parameter_overrides"]
    )
    assert "parameter_overrides" not in deployed["build"]["parameters"]
    assert "build_dir" not in deployed["build"]["parameters"]
    assert deployed["validate"]["parameters"]["lint"] is True


def test_functions_use_one_runtime_and_both_layers_dependencies_first(stack: Json) -> None:
    for name, function in of_type(stack, "AWS::Lambda::Function").items():
        assert function["Runtime"] == "python3.13"
        more = [LAYERS[name]] if name in LAYERS else []
        assert logical_ids(function["Layers"]) == ["DependenciesLayer", "DomainLayer", *more]
    for layer in of_type(stack, "AWS::Lambda::LayerVersion").values():
        assert layer["CompatibleRuntimes"] == ["python3.13"]


def test_old_layer_versions_are_deleted(stack: Json) -> None:
    layers = [one for one in stack.values() if one["Type"] == "AWS::Lambda::LayerVersion"]
    assert [layer.get("DeletionPolicy") for layer in layers] == ["Delete"] * 4


def test_environment_is_what_the_settings_read(stack: Json) -> None:
    read = set(re.findall(r"\bGUIDERAIL_[A-Z_]+\b", SETTINGS.read_text(encoding="utf-8")))
    given = {
        name
        for function in of_type(stack, "AWS::Lambda::Function").values()
        for name in function["Environment"]["Variables"]
        if name.startswith("GUIDERAIL_")
    }
    assert given == read - ONLY_ELSEWHERE


def test_settings_are_the_same_for_all_functions_but_for_their_own(stack: Json) -> None:
    functions = of_type(stack, "AWS::Lambda::Function")
    shared = functions["OnJobFinished"]["Environment"]["Variables"]
    assert {name: shared[name] for name in POWERTOOLS} == POWERTOOLS
    for name, function in functions.items():
        variables = function["Environment"]["Variables"]
        assert variables == shared | OWN_SETTINGS.get(name, {}), name


def test_links_lead_to_on_reply_and_anybody_may_follow_them(stack: Json) -> None:
    (url,) = of_type(stack, "AWS::Lambda::Url").values()
    assert url == {"TargetFunctionArn": "<OnReply>", "AuthType": "NONE"}
    (open_to_all, invoking) = of_type(stack, "AWS::Lambda::Permission").values()
    assert open_to_all == {
        "Action": "lambda:InvokeFunctionUrl",
        "FunctionName": "<OnReply>",
        "Principal": "*",
        "FunctionUrlAuthType": "NONE",
    }
    # lambda:InvokeFunction as well, which AWS asks for since 2025; by the URL and no other way
    assert invoking == {
        "Action": "lambda:InvokeFunction",
        "FunctionName": "<OnReply>",
        "Principal": "*",
        "InvokedViaFunctionUrl": True,
    }


def test_a_flood_of_requests_uses_up_nothing_but_replies(stack: Json) -> None:
    limited = {
        name: function["ReservedConcurrentExecutions"]
        for name, function in of_type(stack, "AWS::Lambda::Function").items()
        if "ReservedConcurrentExecutions" in function
    }
    assert limited == {"OnReply": "5"}
    unlimited = {"ReplyConcurrency": "0"}
    function = resolve(transform(unlimited), unlimited)["OnReply"]["Properties"]
    assert "ReservedConcurrentExecutions" not in function


def test_people_do_not_wait_long_for_an_answer_or_a_picture(stack: Json) -> None:
    functions = of_type(stack, "AWS::Lambda::Function")
    assert {name: one["Timeout"] for name, one in functions.items()} == {
        "OnJobFinished": 60, "OnDue": 300, "Deliver": 120, "DrawPictures": 15, "OnReply": 15,
        "OnActionFinished": 60, "Remediate": 120, "Reingest": 900,
    }  # fmt: skip


def test_limits(stack: Json, full_stack: Json) -> None:
    variables = stack["OnJobFinished"]["Properties"]["Environment"]["Variables"]
    assert variables["GUIDERAIL_MAX_REPORT_BYTES"] == str(64 * 1024 * 1024)
    assert variables["GUIDERAIL_WORST_FEATURES"] == "10"
    assert variables["GUIDERAIL_RETRAINING_PIPELINES"] == ""
    assert full_stack["OnJobFinished"]["Properties"]["Environment"]["Variables"][
        "GUIDERAIL_RETRAINING_PIPELINES"
    ].endswith(":pipeline/retrain-churn")


def requirements() -> dict[str, tuple[str, set[str]]]:
    """Version and hashes of each requirement of the dependencies layer."""
    text = re.sub(r"\\\n", " ", REQUIREMENTS.read_text(encoding="utf-8"))
    found = {}
    for line in text.splitlines():
        if pinned := re.match(r"([A-Za-z0-9._-]+)==(\S+)", line):
            found[pinned[1].lower()] = (
                pinned[2],
                set(re.findall(r"--hash=(sha256:[0-9a-f]{64})", line)),
            )
    return found


def test_dependencies_are_pinned_by_hash_and_leave_the_sdk_to_the_runtime() -> None:
    pinned = requirements()
    assert {"aws-lambda-powertools", "msgspec"} <= pinned.keys()
    assert not {"boto3", "botocore", "s3transfer", "aws-xray-sdk", "pydantic"} & pinned.keys()
    assert all(hashes for _, hashes in pinned.values())


def test_dependencies_are_the_ones_that_are_tested() -> None:
    lock = tomllib.loads((ROOT / "uv.lock").read_text(encoding="utf-8"))
    locked = {package["name"]: package for package in lock["package"]}
    for name, (version, hashes) in requirements().items():
        package = locked[name]
        known = {
            file["hash"] for file in [*package.get("wheels", []), package.get("sdist", {})] if file
        }
        assert (name, package["version"]) == (name, version)
        assert hashes <= known, f"{name}: requirements.txt and uv.lock disagree"
