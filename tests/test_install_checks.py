"""The checks of `make check-install` see what they are there to see; Python versions are told alike everywhere."""

from __future__ import annotations

import importlib.util
import os
import subprocess
import sys
import tomllib
import zipfile
from pathlib import Path
from types import ModuleType

import pytest
import yaml

ROOT = Path(__file__).resolve().parents[1]
pytestmark = pytest.mark.skipif(not (ROOT / "tools").is_dir(), reason="the tools are in the source tree only")


def tool(name: str) -> ModuleType:
    """A module of the folder tools, as its scripts import it."""
    if name in sys.modules:
        return sys.modules[name]
    spec = importlib.util.spec_from_file_location(name, ROOT / "tools" / f"{name}.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    spec.loader.exec_module(module)
    return module


@pytest.fixture
def versions() -> ModuleType:
    return tool("resolved_versions")


GOOD = {"napari": "0.9.2", "numpy": "2.5.5", "zarr": "3.4.2"}
WITH_ALL = {"napari": "0.9.2", "numpy": "1.26.4", "zarr": "3.1.5", "py4dstem": "0.14.18", "pyqt6": "6.9.1"}


@pytest.mark.parametrize(
    ("name", "python", "found", "problem"),
    [
        ("base", "3.12", GOOD, None),
        ("all", "3.12", WITH_ALL, None),
        ("all", "3.13", {**GOOD, "pyqt6": "6.9.1"}, None),
        ("base", "3.12", {**GOOD, "numpy": "1.26.4"}, "numpy 2"),
        ("base", "3.12", {**GOOD, "zarr": "2.18.7"}, "zarr 3"),
        ("base", "3.12", {**GOOD, "pyqt6": "6.9.1"}, "Qt binding"),
        ("all", "3.14", {**WITH_ALL, "numpy": "2.5.5"}, "py4DSTEM where it can be had"),
        ("py4dstem", "3.11", GOOD, "py4DSTEM where it can be had"),
        ("pyside6", "3.11", {**GOOD, "pyside6": "6.11.3"}, None),
        ("pyside6", "3.12", {**GOOD, "pyside6": "6.12.0"}, None),
        ("pyside6", "3.11", {**GOOD, "pyside6": "6.12.0"}, "ends napari"),
        ("pyside6", "3.12", {**GOOD, "pyqt6": "6.9.1"}, "Qt binding"),
        ("all", "3.12", {**WITH_ALL, "pyside6": "6.12.0"}, "Qt binding"),
    ],
)
def test_what_a_user_would_not_accept_is_a_problem(
    versions: ModuleType, name: str, python: str, found: dict[str, str], problem: str | None
) -> None:
    problems = versions.problems_of(versions.Request(name, "x", python), found)
    assert [problem in told for told in problems] == ([True] if problem else [])


def test_a_requirement_without_a_solution_is_told_with_its_reason(versions: ModuleType) -> None:
    request = versions.Request("all", "x", "3.12", "windows")
    (told,) = versions.problems_of(
        request, versions.UnresolvableError("zarr<3 and zarr>=3.0.8 exclude each other")
    )
    assert told.startswith("all on Python 3.12, windows: cannot be installed")
    assert "zarr>=3.0.8" in told


def test_versions_are_read_from_a_list_of_pins(versions: ModuleType) -> None:
    text = (
        "# by uv\nnapari_svg==0.2.1\nPyQt6==6.9.1 ; sys_platform == 'win32'\nx @ file:///x.whl\n    # via y\n"
    )
    assert versions.parse_versions(text) == {"napari-svg": "0.2.1", "pyqt6": "6.9.1"}


def test_without_an_index_the_check_fails_and_says_so(
    versions: ModuleType, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    pytest.importorskip("uv", reason="uv is not installed")
    monkeypatch.setenv("UV_OFFLINE", "1")
    monkeypatch.setenv("UV_CACHE_DIR", str(tmp_path / "empty"))
    with pytest.raises(versions.NoIndexError, match="network was disabled"):
        versions.resolve(versions.Request("base", "napari", "3.12"))


@pytest.mark.parametrize("lost", ["napari.yaml", "py.typed", "transformer/weights/fcc/weights.safetensors"])
def test_a_file_that_the_wheel_lacks_is_named(lost: str, tmp_path: Path) -> None:
    listed = subprocess.run(
        ["git", "ls-files", "src/napari_stem_orient"], cwd=ROOT, capture_output=True, text=True, check=False
    )
    if listed.returncode != 0:
        pytest.skip("not a git checkout")
    wheel = tmp_path / "whole.whl"
    names = [
        name for name in listed.stdout.split() if not name.endswith("ruff.toml") and (ROOT / name).exists()
    ]
    check = tool("check_install")
    for path, left_out in ((wheel, None), (tmp_path / "lacking.whl", f"src/napari_stem_orient/{lost}")):
        with zipfile.ZipFile(path, "w") as archive:
            for name in names:
                if name != left_out:
                    archive.write(ROOT / name, name.removeprefix("src/"))
    check.check_contents(wheel)
    with pytest.raises(check.InstallError, match=lost):
        check.check_contents(tmp_path / "lacking.whl")


def test_a_user_has_none_of_the_settings_of_a_developer(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("PYTHONPATH", str(ROOT / "src"))
    environment = tool("check_install").user_environment(tmp_path)
    assert "PYTHONPATH" not in environment
    assert Path(environment["XDG_CACHE_HOME"]).is_relative_to(tmp_path)
    assert environment["PATH"] == os.environ["PATH"]


def test_the_same_python_versions_are_promised_checked_and_tested(versions: ModuleType) -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    label = "Programming Language :: Python :: 3."
    promised = ["3." + line.removeprefix(label) for line in project["classifiers"] if line.startswith(label)]
    tests = yaml.safe_load((ROOT / ".github" / "workflows" / "tests.yml").read_text(encoding="utf-8"))
    matrix = tests["jobs"]["tests"]["strategy"]["matrix"]
    assert promised == list(versions.PYTHONS) == matrix["python"]
    assert project["requires-python"] == f">={promised[0]}"
    assert all(
        f"{python}" in (ROOT / "docs" / "install.md").read_text(encoding="utf-8") for python in promised
    )


@pytest.mark.parametrize("path", sorted((ROOT / ".github").rglob("*.yml")), ids=lambda path: path.name)
def test_what_github_reads_is_there_and_no_step_names_a_file_that_is_not(path: Path) -> None:
    content = yaml.safe_load(path.read_text(encoding="utf-8"))
    steps = [step for job in content.get("jobs", {}).values() for step in job["steps"]]
    words = {word.strip('"') for step in steps for word in step.get("run", "").split()}
    files = {word for word in words if word.endswith(".txt") or word.startswith("tools/")}
    assert [name for name in files if not (ROOT / name).is_file()] == []
    targets = (ROOT / "Makefile").read_text(encoding="utf-8")
    for step in steps:
        command = step.get("run", "")
        if command.startswith("make "):
            assert all(f"\n{target}:" in targets for target in command.split()[1:])
