"""layers/build.py: the right wheels, checked by their hashes, for each environment."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path

import pytest
from guiderail_local import sam_invoke

from layers import build, precompile
from tests.template import ROOT


def test_deploys_arm64_and_runs_x86_64() -> None:
    assert build.environment_settings("default") == (Path(".aws-sam/build"), "arm64")
    assert build.environment_settings("local") == (Path(".aws-sam/local"), "x86_64")
    assert sam_invoke.BUILD == build.environment_settings("local")[0]


def test_unknown_environment() -> None:
    with pytest.raises(
        precompile.PrecompileError, match="no environment staging, only default, local"
    ):
        build.environment_settings("staging")


@pytest.mark.parametrize(("architecture", "machine"), [("arm64", "aarch64"), ("x86_64", "x86_64")])
def test_pip_fetches_and_checks_wheels_of_the_target(architecture: str, machine: str) -> None:
    settings = build.build_environment(
        Path("/opt/python/bin/python3.13"), "3.13", architecture, {"PATH": "/bin"}
    )
    assert settings["PATH"] == "/opt/python/bin:/bin"
    assert settings["PIP_REQUIRE_HASHES"] == "1"
    assert settings["PIP_ONLY_BINARY"] == ":all:"
    assert settings["PIP_PYTHON_VERSION"] == "3.13"
    platforms = settings["PIP_PLATFORM"].split()
    assert platforms
    # Amazon Linux 2023 has glibc 2.34; wheels for a later one would not load.
    for platform in platforms:
        glibc = re.fullmatch(rf"manylinux(?:2014|_2_(\d+))_{machine}", platform)
        assert glibc is not None
        assert int(glibc[1] or 17) <= 34


def test_sam_is_called_as_asked(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    tool = tmp_path / "sam"
    tool.write_text("")
    tool.chmod(0o755)
    monkeypatch.setenv("SAM", f"{tool} --debug")
    assert build.sam_command() == [str(tool), "--debug"]
    monkeypatch.setenv("SAM", str(tmp_path / "nothing"))
    with pytest.raises(precompile.PrecompileError, match="set SAM to how SAM CLI is called here"):
        build.sam_command()


def test_one_version_of_sam_is_pinned() -> None:
    sources = [ROOT / "layers" / "build.py", ROOT / "local" / "guiderail_local" / "sam_invoke.py"]
    pins = {
        pin
        for file in sources
        for pin in re.findall(r"aws-sam-cli==[\d.]+", file.read_text(encoding="utf-8"))
    }
    assert len(pins) == 1


def test_the_layer_of_pictures_holds_what_is_tested_and_nothing_twice() -> None:
    def pinned(layer: str) -> dict[str, tuple[str, set[str]]]:
        text = (ROOT / "layers" / layer / "requirements.txt").read_text(encoding="utf-8")
        joined = re.sub(r"\\\n", " ", text)
        found = re.findall(r"^([\w.-]+)==([^\s;]+)(.*)$", joined, flags=re.MULTILINE)
        return {
            name: (version, set(re.findall(r"sha256:[0-9a-f]{64}", rest)))
            for name, version, rest in found
        }

    pictures = pinned("pictures")
    assert {"font-source-sans-pro", "pygal", "resvg-py"} <= pictures.keys()
    assert not pictures.keys() & pinned("dependencies").keys()
    assert not pictures.keys() & {"boto3", "botocore"}
    lock = tomllib.loads((ROOT / "uv.lock").read_text(encoding="utf-8"))
    locked = {package["name"]: package for package in lock["package"]}
    for name, (version, hashes) in pictures.items():
        files = [*locked[name].get("wheels", []), locked[name].get("sdist", {})]
        assert (name, version) == (name, locked[name]["version"])
        assert hashes
        assert hashes <= {file["hash"] for file in files if file}, name
        wheels = " ".join(file["url"] for file in locked[name].get("wheels", []))
        assert "-none-any" in wheels or ("aarch64" in wheels and "x86_64" in wheels), name
