"""Imports run inwards, and only the named modules touch AWS and the environment."""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PACKAGE = ROOT / "layers" / "domain" / "guiderail"
FUNCTIONS = sorted(ROOT.glob("functions/*/app.py"))

# what each part may import of the package, besides itself
ALLOWED = {
    "errors": set(),
    "observability": set(),
    "message_batch": set(),
    "model": {"errors"},
    "reports": {"errors", "model"},
    "rendering": {"errors", "model"},
    "ports": {"errors", "model", "reports"},
    "services": {"errors", "model", "reports", "rendering", "ports"},
    "settings": {"errors", "model", "services"},
    "adapters": {
        "errors",
        "model",
        "reports",
        "rendering",
        "ports",
        "services",
        "observability",
    },
    "bootstrap": {"adapters", "ports", "services", "settings"},
}
DOMAIN = "layers/domain/guiderail"
# what one module alone may import, so that no other function waits for it
ONLY_IN = {
    f"{DOMAIN}/services/drawing.py": {"font_source_sans_pro", "pygal", "resvg_py"},
    f"{DOMAIN}/adapters/channels/slack.py": {"slack_sdk"},
    f"{DOMAIN}/adapters/record_files.py": {"pyarrow"},
    f"{DOMAIN}/adapters/slack_signatures.py": {"slack_sdk"},
}
FORBIDDEN_NAMES = {"common", "utils", "helpers", "manager", "shared", "util", "helper"}


def imported(path: Path) -> set[str]:
    names: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            names.update(alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: relative import"
            names.add(node.module or "")
    return names


def part_of(path: Path) -> str:
    return path.relative_to(PACKAGE).parts[0].removesuffix(".py")


MODULES = [p for p in sorted(PACKAGE.rglob("*.py")) if p != PACKAGE / "__init__.py"]


@pytest.mark.parametrize("path", MODULES, ids=lambda p: str(p.relative_to(PACKAGE)))
def test_imports_run_inwards(path: Path) -> None:
    part = part_of(path)
    ours = {name.split(".")[1] for name in imported(path) if name.startswith("guiderail.")}
    assert ours - {part} <= ALLOWED[part]


def test_every_part_has_a_rule() -> None:
    assert {part_of(p) for p in MODULES} == set(ALLOWED)


@pytest.mark.parametrize("path", [*MODULES, *FUNCTIONS], ids=lambda p: str(p.relative_to(ROOT)))
def test_only_adapters_know_aws(path: Path) -> None:
    aws = {n for n in imported(path) if n.split(".")[0] in ("boto3", "botocore")}
    assert not aws or PACKAGE / "adapters" in path.parents


@pytest.mark.parametrize("path", [*MODULES, *FUNCTIONS], ids=lambda p: str(p.relative_to(ROOT)))
def test_only_settings_read_the_environment(path: Path) -> None:
    assert "os" not in imported(path) or path == PACKAGE / "settings.py"


@pytest.mark.parametrize("path", MODULES, ids=lambda p: str(p.relative_to(PACKAGE)))
def test_no_module_makes_clients_or_reads_files_at_import(path: Path) -> None:
    calls = {
        ast.unparse(node.func)
        for statement in ast.parse(path.read_text()).body
        if isinstance(statement, ast.Assign | ast.AnnAssign | ast.Expr)
        for node in ast.walk(statement)
        if isinstance(node, ast.Call)
    }
    # values and compiled constants
    known = {
        "frozenset",
        "re.compile",
        "msgspec.json.Decoder",
        "msgspec.msgpack.Decoder",
        "TypeVar",
        "msgspec.Raw",
        "timedelta",
    }
    known |= {"Said", "Match", "Inhibition", "Subject", "Channel", "SecretShape", "enumerate"}
    known |= {"object", "str.maketrans", "ipaddress.ip_network", "threading.Lock"}
    assert calls <= known


@pytest.mark.parametrize("path", FUNCTIONS, ids=lambda p: p.parent.name)
def test_functions_are_thin(path: Path) -> None:
    assert len(path.read_text().splitlines()) <= 40
    assert [p.name for p in path.parent.iterdir() if p.name != "__pycache__"] == ["app.py"]
    assert {n.split(".")[0] for n in imported(path)} <= {"__future__", "typing", "guiderail"}


@pytest.mark.parametrize("path", [*MODULES, *FUNCTIONS], ids=lambda p: str(p.relative_to(ROOT)))
def test_what_is_deployed_imports_only_what_its_layers_hold(path: Path) -> None:
    outside = {n.split(".")[0] for n in imported(path)} - {"guiderail", *sys.stdlib_module_names}
    allowed = {"aws_lambda_powertools", "botocore", "msgspec"}
    assert outside <= allowed | ONLY_IN.get(str(path.relative_to(ROOT)), set())


THREADED = [p for p in MODULES if part_of(p) in ("adapters", "services", "message_batch")]


@pytest.mark.parametrize("path", THREADED, ids=lambda p: str(p.relative_to(PACKAGE)))
def test_decoders_of_structs_are_made_when_a_module_is_loaded(path: Path) -> None:
    # msgspec 0.22 learns a type on its first use, and crashes where two threads do so at once
    late = [
        ast.unparse(node)
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.Call)
        and ast.unparse(node.func).endswith((".decode", "msgspec.convert"))
        and any(k.arg == "type" and isinstance(k.value, ast.Name) for k in node.keywords)
    ]
    assert late == []


def test_names_say_what_things_are() -> None:
    folders = [
        ROOT / name for name in ("layers", "cli", "local", "functions", "tests", "benchmarks")
    ]
    modules = [p for folder in folders for p in folder.rglob("*.py")]
    parts = {part for p in modules for part in (p.stem, *p.relative_to(ROOT).parts[:-1])}
    assert not parts & FORBIDDEN_NAMES


def test_the_dependencies_layer_holds_no_boto3() -> None:
    pinned = (ROOT / "layers" / "dependencies" / "requirements.txt").read_text()
    names = {line.split("==")[0] for line in pinned.splitlines() if "==" in line}
    assert names
    assert not names & {"boto3", "botocore", "s3transfer", "aws-xray-sdk", "sagemaker"}
    assert pinned.count("--hash=sha256:") >= len(names)


def test_the_command_starts_without_what_only_some_commands_need() -> None:
    heavy = ("boto3", "botocore", "pydantic", "pygal", "yaml", "moto")
    code = f"import sys, guiderail_cli.main; print({set(heavy)!r} & set(sys.modules) or '')"
    answer = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert (answer.returncode, answer.stdout.strip(), answer.stderr) == (0, "", "")
