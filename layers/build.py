"""Builds the stack as it is shipped: `sam build` with the right Python and pip, then precompile.py.

    python layers/build.py                      what is deployed: arm64, in .aws-sam/build
    python layers/build.py --config-env local   what runs on a PC: x86_64, in .aws-sam/local

A plain `sam build` works too, but leaves three things to the user that are done here:
- a Python of the runtime's minor version must be the one on PATH;
- pip must fetch wheels for the target processor in the first place. SAM downloads those for the host
  and then, without looking at the hashes in requirements.txt, those for another processor;
- the bytecode of precompile.py must be added.
"""

from __future__ import annotations

import argparse
import os
import re
import shlex
import shutil
import subprocess
import sys
import tomllib
from collections.abc import Mapping, Sequence
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
if not __package__:  # as a script: then Python looks for modules beside it, not in the project
    sys.path.insert(0, str(ROOT))

from layers import precompile  # noqa: E402

SAM = "uv tool run --from aws-sam-cli==1.170.0 sam"

# Amazon Linux 2023, which the runtime is made of, has glibc 2.34.
WHEEL_PLATFORMS = {
    "arm64": "manylinux2014_aarch64 manylinux_2_17_aarch64 manylinux_2_28_aarch64 manylinux_2_34_aarch64",
    "x86_64": "manylinux2014_x86_64 manylinux_2_17_x86_64 manylinux_2_28_x86_64 manylinux_2_34_x86_64",
}


def sam_command() -> list[str]:
    """Returns how to call SAM CLI: `$SAM` if set, else the project's pinned version through uv.

    Raises:
        PrecompileError: There is neither.
    """
    command = shlex.split(os.environ.get("SAM", SAM))
    beside_python = [str(ROOT / ".venv" / "bin"), str(Path(sys.executable).parent)]
    for path in (None, *beside_python):
        if found := shutil.which(command[0], path=path):
            return [found, *command[1:]]
    raise precompile.PrecompileError(
        f"{command[0]} is not on PATH: set SAM to how SAM CLI is called here"
    )


def environment_settings(config_env: str, root: Path = ROOT) -> tuple[Path, str]:
    """Returns the build folder and the processor of an environment of samconfig.toml."""
    config = tomllib.loads((root / "samconfig.toml").read_text(encoding="utf-8"))
    if config_env not in config:
        known = ", ".join(name for name, value in config.items() if isinstance(value, dict))
        raise precompile.PrecompileError(
            f"samconfig.toml has no environment {config_env}, only {known}"
        )
    settings: Mapping[str, object] = config[config_env].get("build", {}).get("parameters", {})
    overrides = settings.get("parameter_overrides", [])
    given = (
        dict(str(pair).split("=", 1) for pair in overrides) if isinstance(overrides, list) else {}
    )
    folder = Path(str(settings.get("build_dir", precompile.DEFAULT_BUILD)))
    return folder, given.get("Architecture", default_architecture(root))


def default_architecture(root: Path = ROOT) -> str:
    """Returns the default of the template's Architecture parameter."""
    text = (root / "template.yaml").read_text(encoding="utf-8")
    found = re.search(r"^  Architecture:\n(?:    .*\n)*?    Default: (\w+)$", text, re.MULTILINE)
    if found is None:
        raise precompile.PrecompileError("template.yaml: parameter Architecture has no default")
    return found.group(1)


def runtime_version(root: Path = ROOT) -> str:
    """Returns the Python version of the template's functions."""
    return precompile.runtime_version(root)


def build_environment(
    interpreter: Path, version: str, architecture: str, base: Mapping[str, str] = os.environ
) -> dict[str, str]:
    """Returns the environment in which `sam build` takes the right wheels and checks their hashes."""
    return {
        **base,
        "PATH": f"{interpreter.parent}{os.pathsep}{base.get('PATH', '')}",
        "PIP_REQUIRE_HASHES": "1",
        "PIP_ONLY_BINARY": ":all:",
        "PIP_PLATFORM": WHEEL_PLATFORMS[architecture],
        "PIP_PYTHON_VERSION": version,
        "PIP_IMPLEMENTATION": "cp",
        "SAM_CLI_TELEMETRY": base.get("SAM_CLI_TELEMETRY", "0"),
    }


def build(config_env: str = "default", extra: Sequence[str] = (), root: Path = ROOT) -> Path:
    """Builds one environment of samconfig.toml and returns the folder of the build.

    Raises:
        PrecompileError: A tool is missing or the build failed; the message says what to do.
    """
    folder, architecture = environment_settings(config_env, root)
    version = runtime_version(root)
    interpreter = precompile.find_interpreter(version)
    command = sam_command()
    done = subprocess.run(
        [*command, "build", "--config-env", config_env, *extra],
        cwd=root,
        env=build_environment(interpreter.path, version, architecture),
        check=False,
    )
    if done.returncode != 0:
        raise precompile.PrecompileError("`sam build` failed, see above")
    built_for = precompile.build_architecture(root / folder)
    if built_for != architecture:
        raise precompile.PrecompileError(
            f"{folder} was built for {built_for}, not for {architecture}"
        )
    return root / folder


def main(arguments: list[str] | None = None) -> int:
    """Runs the command line; returns its exit code."""
    parser = argparse.ArgumentParser(
        prog="build.py",
        description="Build and precompile the stack. Further options go to `sam build`.",
    )
    parser.add_argument(
        "--config-env",
        default="default",
        help="environment of samconfig.toml (default: %(default)s)",
    )
    options, extra = parser.parse_known_args(arguments)
    try:
        folder = build(options.config_env, extra)
    except precompile.PrecompileError as error:
        print(f"build: {error}", file=sys.stderr)
        return 1
    print()
    return precompile.main([str(folder)])


if __name__ == "__main__":
    sys.exit(main())
