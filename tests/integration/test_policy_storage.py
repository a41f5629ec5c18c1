"""``guiderail policy push``, ``pull``, ``history``, ``rollback`` over S3."""

from __future__ import annotations

import json
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import boto3
import msgspec
import pytest
from guiderail.adapters.policies import LARGEST_POLICY, S3Policies
from guiderail.errors import ConflictError, TooLargeToKeepError
from guiderail.model.policy import STORED_FORMAT, Policy, StoredPolicy
from guiderail_cli.policy_commands import policy_app
from guiderail_cli.policy_file import compile_policy
from guiderail_cli.policy_file.storage import PolicyStore, stored_policy
from guiderail_cli.stack_outputs import (
    DELIVERIES_QUEUE,
    POLICY_BUCKET,
    RUN_TABLE,
    Part,
    find_parts,
)
from guiderail_local.sagemaker import SageMaker
from typer.testing import CliRunner

from tests.commands import Guiderail, Ran
from tests.moto_region import region

BUCKET = "policies"
FIRST = "version: 1\ndefaults: {owner: first}\n"
SECOND = "version: 1\ndefaults: {owner: second}\n"
THIRD = "version: 1\ndefaults: {owner: third}\n"


@pytest.fixture(scope="module")
def server() -> Iterator[SageMaker]:
    """A server that all tests here share."""
    with region() as server:
        yield server


@pytest.fixture
def s3(server: SageMaker) -> Iterator[Any]:
    """A client, with an empty bucket that keeps versions."""
    s3 = boto3.client("s3")
    s3.create_bucket(Bucket=BUCKET, CreateBucketConfiguration={"LocationConstraint": "eu-west-1"})
    s3.put_bucket_versioning(Bucket=BUCKET, VersioningConfiguration={"Status": "Enabled"})
    yield s3
    listed = s3.list_object_versions(Bucket=BUCKET)
    for version in (*listed.get("Versions", ()), *listed.get("DeleteMarkers", ())):
        s3.delete_object(Bucket=BUCKET, Key=version["Key"], VersionId=version["VersionId"])
    s3.delete_bucket(Bucket=BUCKET)


@pytest.fixture
def run(s3: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Guiderail:
    """Run the command in an empty folder, on the bucket that the environment names."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("GUIDERAIL_POLICY_BUCKET", BUCKET)
    monkeypatch.delenv("GUIDERAIL_POLICY_KEY", raising=False)
    monkeypatch.setenv("COLUMNS", "160")

    def invoke(*arguments: str) -> Ran:
        result = CliRunner().invoke(policy_app, arguments)
        assert result.exception is None or isinstance(result.exception, SystemExit), result.exc_info
        return Ran(result.exit_code, result.stdout, result.stderr)

    return invoke


def push(run: Guiderail, text: str, *options: str, file: str = "guiderail.yaml") -> Ran:
    Path(file).write_text(text)
    return run("push", file, "--by", "ann", *options)


def stored(s3: Any) -> StoredPolicy:
    content = s3.get_object(Bucket=BUCKET, Key="policy.json")["Body"].read()
    return msgspec.json.decode(content, type=StoredPolicy)


def versions(s3: Any) -> int:
    return len(s3.list_object_versions(Bucket=BUCKET).get("Versions", ()))


def compiled(text: str) -> Policy:
    policy = compile_policy(text, "p.yaml", datetime.now(UTC)).policy
    assert policy
    return policy


# --- push


def test_the_first_push(run: Guiderail, s3: Any) -> None:
    ran = push(run, FIRST)
    assert ran.code == 0
    assert "+defaults: {owner: first}" in ran.out
    assert f"stored version {compiled(FIRST).version} in s3://policies/policy.json" in ran.out
    kept = stored(s3)
    assert (kept.format, kept.source, kept.pushed_by) == (STORED_FORMAT, FIRST, "ann")
    assert kept.policy == compiled(FIRST)
    assert datetime.fromisoformat(kept.pushed_at).tzinfo


def test_functions_read_what_was_pushed(run: Guiderail) -> None:
    push(run, FIRST)
    in_force = S3Policies(BUCKET, "policy.json", 60, lambda: datetime.now(UTC)).current()
    assert in_force.trouble is None
    assert in_force.policy == compiled(FIRST)


def test_pushing_the_same_again_stores_nothing(run: Guiderail, s3: Any) -> None:
    push(run, FIRST)
    ran = push(run, FIRST)
    assert ran.code == 0
    assert "nothing to store" in ran.out
    assert versions(s3) == 1


def test_without_a_note_the_newest_version_is_shown_and_replaced(run: Guiderail, s3: Any) -> None:
    push(run, FIRST)
    ran = push(run, SECOND, file="other.yaml")
    assert ran.code == 0
    assert "-defaults: {owner: first}\n+defaults: {owner: second}" in ran.out
    assert stored(s3).source == SECOND
    assert versions(s3) == 2


def test_a_dry_run_stores_nothing_and_tells_the_difference(run: Guiderail, s3: Any) -> None:
    push(run, FIRST)
    ran = push(run, SECOND, "--dry-run", "--json")
    assert ran.code == 1
    assert ran.document["stored"] is False
    assert "+defaults: {owner: second}" in ran.document["difference"]
    assert stored(s3).source == FIRST
    assert push(run, FIRST, "--dry-run").code == 0


def test_what_somebody_else_pushed_is_not_overwritten(run: Guiderail, s3: Any) -> None:
    push(run, FIRST)  # leaves a note beside guiderail.yaml
    Path("theirs.yaml").write_text(SECOND)
    run("push", "theirs.yaml", "--by", "bob")
    ran = push(run, THIRD)
    assert ran.code == 3
    assert f"it now holds version {compiled(SECOND).version}, pushed by bob at " in ran.err
    assert stored(s3).source == SECOND
    # a dry run tells it too; --force looks at what is there now and replaces that
    assert push(run, THIRD, "--dry-run").code == 3
    assert push(run, THIRD, "--force").code == 0
    assert stored(s3).source == THIRD


def test_a_deletion_in_between_is_noticed(run: Guiderail, s3: Any) -> None:
    push(run, FIRST)
    s3.delete_object(Bucket=BUCKET, Key="policy.json")
    ran = push(run, SECOND)
    assert ran.code == 3
    assert "it now holds nothing" in ran.err


def test_a_race_is_lost_by_the_second(run: Guiderail, s3: Any) -> None:
    store = PolicyStore(BUCKET)
    now = datetime.now(UTC)
    first = store.put(stored_policy(FIRST, compiled(FIRST), "ann", now), "")
    # both looked at the first version
    store.put(stored_policy(SECOND, compiled(SECOND), "bob", now), first.etag)
    with pytest.raises(ConflictError, match="pushed by bob"):
        store.put(stored_policy(THIRD, compiled(THIRD), "cy", now), first.etag)
    # and a first push must not replace what came in between
    with pytest.raises(ConflictError, match="pushed by bob"):
        store.put(stored_policy(THIRD, compiled(THIRD), "cy", now), "")
    s3.delete_object(Bucket=BUCKET, Key="policy.json")
    with pytest.raises(ConflictError, match="the object was deleted"):
        store.put(stored_policy(THIRD, compiled(THIRD), "cy", now), first.etag)


def test_an_invalid_file_is_refused(run: Guiderail, s3: Any) -> None:
    for force in ((), ("--force",)):
        ran = push(run, "version: 1\nx: 1\n", *force)
        assert ran.code == 3
        assert "guiderail.yaml:2:1: error: x: the key x is not known" in ran.err
    assert versions(s3) == 0


def test_warnings_are_shown_and_do_not_hinder(run: Guiderail, s3: Any) -> None:
    ran = push(run, "version: 1\ndefaults: {threshold: 0.2}\n")
    assert ran.code == 0
    assert "warning: defaults.threshold" in ran.out
    assert versions(s3) == 1


def test_an_object_that_is_no_policy_can_be_replaced(run: Guiderail, s3: Any) -> None:
    s3.put_object(Bucket=BUCKET, Key="policy.json", Body=b"{}")
    ran = push(run, FIRST)
    assert ran.code == 0
    assert "--- an object that is no policy" in ran.out
    assert stored(s3).source == FIRST


def test_what_compiles_differently_is_stored_though_the_text_is_the_same(
    run: Guiderail, s3: Any
) -> None:
    older = stored_policy(FIRST, Policy(version="x"), "ann", datetime.now(UTC))
    PolicyStore(BUCKET).put(older, "")
    ran = push(run, FIRST)
    assert ran.code == 0
    assert "the text is the same, what it compiles to is not" in ran.out
    assert stored(s3).policy == compiled(FIRST)


def test_a_policy_that_functions_would_not_read_is_not_stored(run: Guiderail, s3: Any) -> None:
    source = "x" * LARGEST_POLICY
    with pytest.raises(TooLargeToKeepError):
        PolicyStore(BUCKET).put(stored_policy(source, Policy(), "ann", datetime.now(UTC)), "")
    assert versions(s3) == 0


def test_the_caller_is_who_pushes(run: Guiderail, s3: Any) -> None:
    Path("guiderail.yaml").write_text(FIRST)
    assert run("push", "guiderail.yaml").code == 0
    assert stored(s3).pushed_by.startswith("arn:aws:")


def test_no_such_bucket(run: Guiderail) -> None:
    ran = push(run, FIRST, "--bucket", "not-there")
    assert ran.code == 3
    assert "there is no bucket not-there. Pass --bucket or --stack" in ran.err


# --- pull


def test_pull_writes_the_file_and_a_note(run: Guiderail, s3: Any) -> None:
    push(run, FIRST, file="theirs.yaml")
    ran = run("pull", "guiderail.yaml")
    assert ran.code == 0
    assert f"guiderail.yaml: version {compiled(FIRST).version}, pushed by ann at " in ran.out
    assert Path("guiderail.yaml").read_text() == FIRST
    note = json.loads(Path(".guiderail.yaml.base.json").read_text())
    etag = s3.head_object(Bucket=BUCKET, Key="policy.json")["ETag"]
    assert note == {"bucket": BUCKET, "key": "policy.json", "etag": etag}
    # what was pulled can be changed and pushed
    assert push(run, SECOND).code == 0


def test_a_note_of_another_bucket_says_nothing(run: Guiderail) -> None:
    Path(".guiderail.yaml.base.json").write_text('{"bucket":"b","key":"policy.json","etag":"x"}')
    assert push(run, FIRST).code == 0
    Path(".guiderail.yaml.base.json").write_text("damaged")
    assert push(run, SECOND).code == 0


def test_pull_to_stdout(run: Guiderail) -> None:
    push(run, FIRST)
    assert run("pull").out == FIRST
    document = run("pull", "--json").document
    assert (document["source"], document["pushed_by"]) == (FIRST, "ann")


def test_pull_does_not_overwrite_what_differs(run: Guiderail) -> None:
    push(run, FIRST)
    Path("guiderail.yaml").write_text(SECOND)
    ran = run("pull", "guiderail.yaml")
    assert ran.code == 3
    assert "guiderail.yaml is there and differs" in ran.err
    assert run("pull", "guiderail.yaml", "--force").code == 0
    assert Path("guiderail.yaml").read_text() == FIRST


def test_pull_of_an_earlier_version_is_no_base(run: Guiderail, s3: Any) -> None:
    push(run, FIRST, file="theirs.yaml")
    push(run, SECOND, file="theirs.yaml")
    assert run("pull", "old.yaml", "--version-id", compiled(FIRST).version).code == 0
    assert Path("old.yaml").read_text() == FIRST
    assert not Path(".old.yaml.base.json").exists()


def test_pull_where_nothing_is_stored(run: Guiderail) -> None:
    ran = run("pull")
    assert ran.code == 3
    assert "s3://policies/policy.json holds no policy" in ran.err


@pytest.mark.parametrize(
    "content", [b"{}", b"\xff", b"[" * 5000, b'{"format": 9, "source": "", "policy": {}}']
)
def test_pull_of_what_is_no_policy(run: Guiderail, s3: Any, content: bytes) -> None:
    s3.put_object(Bucket=BUCKET, Key="policy.json", Body=content)
    ran = run("pull")
    assert ran.code == 3
    assert "is no policy: " in ran.err


# --- history and rollback


def test_history_newest_first(run: Guiderail, s3: Any) -> None:
    for text in (FIRST, SECOND):
        push(run, text)
    s3.put_object(Bucket=BUCKET, Key="policy.json", Body=b"{}")
    s3.put_object(Bucket=BUCKET, Key="policy.json.bak", Body=b"{}")
    listed = run("history", "--json").document["versions"]
    assert [v["version"] for v in listed] == [
        None,
        compiled(SECOND).version,
        compiled(FIRST).version,
    ]
    assert listed[0]["trouble"]
    assert listed[1]["pushed_by"] == "ann"
    assert len({v["version_id"] for v in listed}) == 3
    assert len(run("history", "--limit", "2", "--json").document["versions"]) == 2
    shown = run("history").out
    assert compiled(FIRST).version in shown
    assert "no policy: " in shown


def test_history_of_nothing(run: Guiderail) -> None:
    ran = run("history")
    assert (ran.code, ran.out) == (0, "s3://policies/policy.json holds no policy\n")


@pytest.mark.parametrize("by", ["version_id", "version"])
def test_rollback_stores_the_earlier_version_anew(run: Guiderail, s3: Any, by: str) -> None:
    for text in (FIRST, SECOND):
        push(run, text)
    earlier = run("history", "--json").document["versions"][-1][by]
    dry = run("rollback", earlier, "--dry-run")
    assert dry.code == 1
    assert "-defaults: {owner: second}" in dry.out
    assert stored(s3).source == SECOND
    assert run("rollback", earlier, "--by", "bob").code == 0
    kept = stored(s3)
    assert (kept.source, kept.pushed_by) == (FIRST, "bob")
    assert kept.policy == compiled(FIRST)
    assert versions(s3) == 3
    assert "nothing to store" in run("rollback", earlier).out


def test_rollback_heals_an_object_that_is_no_policy(run: Guiderail, s3: Any) -> None:
    push(run, FIRST)
    s3.put_object(Bucket=BUCKET, Key="policy.json", Body=b"damaged")
    assert run("rollback", compiled(FIRST).version, "--by", "bob").code == 0
    assert stored(s3).source == FIRST


def test_rollback_to_what_is_not_usable(run: Guiderail, s3: Any) -> None:
    answer = s3.put_object(Bucket=BUCKET, Key="policy.json", Body=b"damaged")
    ran = run("rollback", answer["VersionId"])
    assert ran.code == 3
    assert "is no policy" in ran.err
    ran = run("rollback", "000000000000")
    assert ran.code == 3
    assert "has no version '000000000000'. guiderail policy history lists them" in ran.err


# --- the stack


def test_the_bucket_of_a_stack(server: SageMaker, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("GUIDERAIL_POLICY_BUCKET", raising=False)
    template = {
        "Resources": {
            "PolicyBucket": {"Type": "AWS::S3::Bucket", "Properties": {"BucketName": "of-stack"}}
        },
        "Outputs": {"PolicyBucketName": {"Value": {"Ref": "PolicyBucket"}}},
    }
    cloudformation = boto3.client("cloudformation")
    cloudformation.create_stack(StackName="rails", TemplateBody=json.dumps(template))
    assert find_parts("rails", {POLICY_BUCKET: None}) == ["of-stack"]


def test_a_stack_that_is_not_there(run: Guiderail, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("GUIDERAIL_POLICY_BUCKET")
    ran = run("pull", "--stack", "nobodys")
    assert ran.code == 3
    assert "Pass --stack or --bucket" in ran.err


@pytest.mark.parametrize("part", [POLICY_BUCKET, RUN_TABLE, DELIVERIES_QUEUE])
def test_the_outputs_are_the_templates(part: Part) -> None:
    from tests.template import load

    assert part.output in load()["Outputs"]
