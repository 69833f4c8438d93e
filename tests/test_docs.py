"""The documentation is true: its code runs, its commands parse, its files and versions are there."""

from __future__ import annotations

import ast
import re
import shlex
from pathlib import Path

import pytest
import yaml

import napari_stem_orient

ROOT = Path(__file__).resolve().parents[1]
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]
NEED_PY4DSTEM = {"docs/how-to/template-matching.md"}
FENCE = re.compile(r"^(?P<indent> *)```(?P<language>\w+)[^\n]*\n(?P<code>.*?)^(?P=indent)```", re.M | re.S)


def _blocks(page: Path, language: str) -> list[tuple[int, str]]:
    """Line number and text of the fenced blocks of one language."""
    text = page.read_text(encoding="utf-8")
    found = []
    for match in FENCE.finditer(text):
        if match["language"] == language:
            indent = len(match["indent"])
            code = "\n".join(line[indent:] for line in match["code"].splitlines())
            found.append((text.count("\n", 0, match.start("code")) + 1, code))
    return found


def _name(page: Path) -> str:
    return page.relative_to(ROOT).as_posix()


@pytest.mark.parametrize("page", [page for page in PAGES if _blocks(page, "python")], ids=_name)
def test_code_blocks_run_in_the_order_of_the_page(
    page: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest
) -> None:
    if _name(page) in NEED_PY4DSTEM:
        request.getfixturevalue("py4dstem")
    monkeypatch.chdir(tmp_path)
    namespace: dict[str, object] = {"__name__": "documentation"}
    for line, code in _blocks(page, "python"):
        # blank lines in front, so that a traceback names the line of the page
        exec(compile("\n" * (line - 1) + code, str(page), "exec"), namespace)


@pytest.mark.parametrize("page", [page for page in PAGES if _blocks(page, "bash")], ids=_name)
def test_commands_of_the_page_parse(page: Path) -> None:
    from napari_stem_orient.cli.main import build_parser

    for _line, code in _blocks(page, "bash"):
        for command in code.replace("\\\n", " ").splitlines():
            words = shlex.split(command, comments=True)
            if words[:1] == ["napari-stem-orient"] and "--help" not in words:
                build_parser(words[1]).parse_args(words[1:])


def test_every_public_name_appears_in_a_code_block_that_runs() -> None:
    used: set[str] = set()
    for page in PAGES:
        for _line, code in _blocks(page, "python"):
            for node in ast.walk(ast.parse(code)):
                if isinstance(node, ast.Name):
                    used.add(node.id)
                elif isinstance(node, ast.Attribute):
                    used.add(node.attr)
    assert set(napari_stem_orient.__all__) - {"__version__"} <= used


@pytest.mark.parametrize("page", PAGES, ids=_name)
def test_links_and_pictures_point_at_files_that_exist(page: Path) -> None:
    text = re.sub(r"```.*?```", "", page.read_text(encoding="utf-8"), flags=re.S)
    for target in re.findall(r"\]\(([^)\s]+)\)", text) + re.findall(r'src="([^"]+)"', text):
        if not re.match(r"[a-z]+:|#", target):
            assert (page.parent / target.split("#")[0]).exists(), f"{_name(page)}: {target}"


def test_every_page_is_in_the_navigation() -> None:
    listed = re.findall(r": ([\w/-]+\.md)$", (ROOT / "mkdocs.yml").read_text(), flags=re.M)
    pages = {str(page.relative_to(ROOT / "docs")) for page in (ROOT / "docs").rglob("*.md")}
    assert set(listed) == pages


def test_readme_has_one_title_and_sections_below_it() -> None:
    text = re.sub(r"```.*?```", "", (ROOT / "README.md").read_text(encoding="utf-8"), flags=re.S)
    assert len(re.findall(r"^# ", text, flags=re.M)) == 1
    assert re.findall(r"^## ", text, flags=re.M)


def test_version_is_the_same_everywhere() -> None:
    citation = yaml.safe_load((ROOT / "CITATION.cff").read_text(encoding="utf-8"))
    changes = re.findall(r"^## (\d+\.\d+\.\d+)", (ROOT / "CHANGELOG.md").read_text(), flags=re.M)
    assert citation["version"] == changes[0] == napari_stem_orient.__version__


def test_parameter_pages_name_models_that_exist() -> None:
    from importlib import import_module

    from pydantic import BaseModel

    marker = re.compile(r"^<!-- parameters: ([\w.]+):(\w+) -->$", re.M)
    named = marker.findall((ROOT / "docs" / "reference" / "parameters.md").read_text(encoding="utf-8"))
    assert named
    for module, name in named:
        model = getattr(import_module(module), name)
        assert issubclass(model, BaseModel)
        for field, info in model.model_fields.items():
            is_model = isinstance(info.annotation, type) and issubclass(info.annotation, BaseModel)
            assert info.description or is_model, f"{name}.{field} has no description"
