"""The changes a local deployment makes to the template."""

from __future__ import annotations

from pathlib import Path

import pytest
from guiderail_local.template import (
    CodePlace,
    LeftOut,
    code_places,
    definition_files,
    read_template,
    references,
    strip,
    with_code,
    with_definitions,
    with_environment,
)

REPOSITORY = Path(__file__).resolve().parents[3]

TEMPLATE = """
Globals:
  Function:
    CodeUri: functions/everywhere
Resources:
  Queue:
    Type: AWS::SQS::Queue
    DependsOn: Archive
  Reader:
    Type: AWS::Serverless::Function
    DependsOn: [Queue, Archive]
    Metadata: {BuildMethod: python3.13, Owner: us}
    Properties:
      Environment:
        Variables: {QUEUE: !Ref Queue}
  Archive:
    Type: AWS::Events::Archive
    Properties: {SourceArn: !GetAtt Bus.Arn}
  ArchiveReader:
    Type: AWS::SSM::Parameter
    Properties: {Value: !Sub "${Archive.Arn}/x"}
  Bus:
    Type: AWS::Events::EventBus
Outputs:
  Kept: {Value: !Ref Queue}
  Lost: {Value: !GetAtt Archive.Arn}
"""
PROVIDED = {"AWS::SQS::Queue", "AWS::SSM::Parameter", "AWS::Events::EventBus"}


@pytest.mark.parametrize(
    ("short", "long"),
    [
        ("!Ref Queue", {"Ref": "Queue"}),
        ("!GetAtt Queue.Arn", {"Fn::GetAtt": ["Queue", "Arn"]}),
        ("!GetAtt Nested.Outputs.Arn", {"Fn::GetAtt": ["Nested", "Outputs.Arn"]}),
        ('!Join [",", !Ref List]', {"Fn::Join": [",", {"Ref": "List"}]}),
        ("!Condition HasQueue", {"Condition": "HasQueue"}),
        ("!Transform {Name: Include}", {"Fn::Transform": {"Name": "Include"}}),
    ],
)
def test_short_forms_become_long_forms(short: str, long: object) -> None:
    assert read_template(f"value: {short}") == {"value": long}


def test_a_template_that_is_no_mapping_is_refused() -> None:
    with pytest.raises(ValueError, match="not a mapping"):
        read_template("- one\n- two")


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ({"Ref": "A"}, {"A"}),
        ({"Fn::GetAtt": "A.Arn"}, {"A"}),
        ({"Fn::GetAtt": ["A", "Arn"]}, {"A"}),
        ({"Fn::Sub": "${A}-${B.Arn}-${!Literal}"}, {"A", "B"}),
        ({"Fn::Sub": ["${A}-${Local}", {"Local": {"Ref": "B"}}]}, {"A", "B"}),
        ({"deep": [{"Fn::Join": ["", [{"Ref": "A"}]]}]}, {"A"}),
        ("Ref", set()),
    ],
)
def test_references_are_found_in_every_form(value: object, expected: set[str]) -> None:
    assert references(value) == expected


def test_strip_leaves_out_other_types_and_what_refers_to_them() -> None:
    template = read_template(TEMPLATE)

    stripped, left_out = strip(template, PROVIDED)

    assert left_out == [
        LeftOut("AWS::Events::Archive", "Archive", "MiniStack has no such resource type"),
        LeftOut("AWS::SSM::Parameter", "ArchiveReader", "refers to Archive"),
        LeftOut("Output", "Lost", "refers to Archive"),
    ]
    assert set(stripped["Resources"]) == {"Queue", "Reader", "Bus"}
    assert set(stripped["Outputs"]) == {"Kept"}
    assert "DependsOn" not in stripped["Resources"]["Queue"]
    assert stripped["Resources"]["Reader"]["DependsOn"] == ["Queue"]


def test_strip_does_not_change_what_it_was_given() -> None:
    template = read_template(TEMPLATE)
    strip(template, PROVIDED)
    assert template == read_template(TEMPLATE)


def test_strip_leaves_a_template_alone_whose_types_are_all_provided() -> None:
    template = read_template(TEMPLATE)
    assert strip(template, PROVIDED | {"AWS::Events::Archive"}) == (template, [])


def test_functions_get_variables_beside_their_own() -> None:
    changed = with_environment(read_template(TEMPLATE), {"AWS_ENDPOINT_URL": "http://127.0.0.1:1"})
    variables = changed["Resources"]["Reader"]["Properties"]["Environment"]["Variables"]
    assert variables == {"QUEUE": {"Ref": "Queue"}, "AWS_ENDPOINT_URL": "http://127.0.0.1:1"}


def test_code_is_pointed_at_what_was_uploaded() -> None:
    template = read_template(TEMPLATE)

    assert code_places(template) == [CodePlace("Reader", "CodeUri", "functions/everywhere", "")]
    reader = with_code(template, {"Reader": "s3://code/Reader.zip"})["Resources"]["Reader"]

    assert reader["Properties"]["CodeUri"] == "s3://code/Reader.zip"
    assert reader["Metadata"] == {"Owner": "us"}


def test_the_code_of_the_projects_own_template_is_found() -> None:
    template = read_template((REPOSITORY / "template.yaml").read_text())
    places = {place.logical_id: (place.folder, place.prefix) for place in code_places(template)}
    assert places["OnJobFinished"] == ("functions/on_job_finished", "")
    assert places["DomainLayer"] == ("layers/domain", "python/")
    assert all((REPOSITORY / folder).is_dir() for folder, _ in places.values())


MACHINES = """
Resources:
  Local:
    Type: AWS::Serverless::StateMachine
    Properties: {DefinitionUri: statemachines/local.asl.yaml, DefinitionSubstitutions: {A: !Ref B}}
  Uploaded:
    Type: AWS::Serverless::StateMachine
    Properties: {DefinitionUri: s3://code/machine.json}
  Inline:
    Type: AWS::Serverless::StateMachine
    Properties: {Definition: {StartAt: Here}}
"""


def test_definitions_in_files_come_into_the_template() -> None:
    template = read_template(MACHINES)
    assert definition_files(template) == {"Local": "statemachines/local.asl.yaml"}

    changed = with_definitions(template, {"Local": {"StartAt": "There"}})["Resources"]

    assert changed["Local"]["Properties"] == {
        "Definition": {"StartAt": "There"},
        "DefinitionSubstitutions": {"A": {"Ref": "B"}},
    }
    assert changed["Uploaded"] == template["Resources"]["Uploaded"]
    assert template == read_template(MACHINES)


def test_the_machines_of_the_projects_own_template_are_found() -> None:
    template = read_template((REPOSITORY / "template.yaml").read_text())
    files = definition_files(template)
    assert set(files) == {"RemediationMachine", "ReingestionMachine"}
    for file in files.values():
        assert "StartAt" in read_template((REPOSITORY / file).read_text())
