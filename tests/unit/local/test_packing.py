"""What the local deployment packs, and the environment it is packed for."""

from __future__ import annotations

import io
import sys
import zipfile
from pathlib import Path

import pytest
from guiderail_local import environment as environments
from guiderail_local.environment import MiniStackEnvironment, find_uv, install_for, prepare
from guiderail_local.errors import DeploymentError, LocalCloudError, SetUpError
from guiderail_local.stack import Stack, archive


@pytest.fixture
def made(tmp_path: Path) -> MiniStackEnvironment:
    return MiniStackEnvironment(Path(sys.executable), tmp_path / "cache", frozenset())


@pytest.fixture
def code(tmp_path: Path) -> Path:
    folder = tmp_path / "code"
    for name in (
        "pkg/__init__.py",
        "pkg/py.typed",
        "pkg/__pycache__/x.pyc",
        "pkg.egg-info/PKG-INFO",
    ):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text("")
    return folder


def names_in(packed: bytes) -> list[str]:
    with zipfile.ZipFile(io.BytesIO(packed)) as archived:
        return archived.namelist()


def test_a_layer_is_packed_where_the_runtime_looks(made: MiniStackEnvironment, code: Path) -> None:
    assert names_in(archive(made, code, "python/")) == [
        "python/pkg/__init__.py",
        "python/pkg/py.typed",
    ]


def test_requirements_are_packed_with_the_code(
    made: MiniStackEnvironment, code: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (code / "requirements.txt").write_text("third-party\n")
    installed = tmp_path / "installed"
    (installed / "third_party" / "__pycache__").mkdir(parents=True)
    (installed / "third_party" / "__pycache__" / "a.pyc").write_text("")
    monkeypatch.setattr("guiderail_local.stack.install_for", lambda *_: installed)

    assert "third_party/__pycache__/a.pyc" in names_in(archive(made, code, ""))


def test_an_installation_is_found_again(
    made: MiniStackEnvironment, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    installed: list[list[str]] = []

    def run(command: list[str], purpose: str) -> str:
        installed.append(command)
        if "--target" in command:
            Path(command[-1]).mkdir(parents=True)
        return ""

    monkeypatch.setattr(environments, "_run", run)
    requirements = tmp_path / "requirements.txt"
    requirements.write_text("one==1\n")

    first = install_for(made, requirements)
    count = len(installed)
    assert install_for(made, requirements) == first
    assert len(installed) == count
    requirements.write_text("one==2\n")
    assert install_for(made, requirements) != first
    assert all("--require-hashes" in command for command in installed if "--target" in command)


def test_outside_a_checkout_it_says_so(tmp_path: Path) -> None:
    with pytest.raises(SetUpError, match="ministack-requirements.txt is missing") as caught:
        prepare(tmp_path)
    assert "checkout" in caught.value.remedy


def test_what_cannot_be_run_is_told_with_its_output() -> None:
    with pytest.raises(SetUpError, match="could not look: .* ended with 3\nno such thing"):
        environments._run(
            [
                sys.executable,
                "-c",
                "import sys; print('no such thing', file=sys.stderr); sys.exit(3)",
            ],
            "look",
        )


def test_the_uv_that_started_us_comes_first(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    uv = tmp_path / "uv"
    uv.write_text("")
    monkeypatch.setenv("UV", str(uv))
    assert find_uv() == str(uv)


def test_a_logical_id_that_is_not_there_is_named() -> None:
    stack = Stack({"Queue": "q"}, {}, {}, ())
    assert stack.physical_id("Queue") == "q"
    with pytest.raises(DeploymentError, match="no resource Tabel") as caught:
        stack.physical_id("Tabel")
    assert isinstance(caught.value, LocalCloudError)
