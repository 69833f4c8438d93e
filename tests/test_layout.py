"""The layout keeps its promises: imports run one way, GUI and heavy libraries stay where they belong."""

from __future__ import annotations

import ast
import json
import re
import subprocess
import sys
from collections.abc import Iterator
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

import pytest
import yaml
from npe2 import PluginManifest

import napari_stem_orient

ROOT = Path(__file__).resolve().parents[1]
PACKAGE = ROOT / "src" / "napari_stem_orient"
NAME = "napari_stem_orient"

GUI_LIBRARIES = {"napari", "qtpy", "PyQt6", "PySide6", "magicgui", "superqt", "psygnal", "pyqtgraph"}
HEAVY_LIBRARIES = {"py4DSTEM", "emdfile", "matplotlib", "orix.plot"}
FILE_FORMATS = {"h5py", "zarr", "rsciio", "emdfile", "ncempy", "tifffile"}
# The storeys of the house: a room may import what lies below it, and of its own storey what NEIGHBOURS names.
STOREYS = (
    ("gui", "cli"),
    ("session",),
    ("steps",),
    ("runs",),
    ("analysis", "classification", "indexing", "io"),
    ("transformer", "calibration", "detection", "virtual", "simulation"),
    ("core",),
)
NEIGHBOURS = {
    "calibration": {"detection", "simulation"},
    "transformer": {"simulation"},
}
ROOMS = tuple(room for storey in STOREYS for room in storey)
# What may stand beside the rooms: the face of the package, its version, the choice of a device.
BESIDE = {"__init__", "_version", "device"}
# The rooms of gui/: what panels are made of, each of which may import what stands before it, and the panels.
GUI_PARTS = ("jobs", "canvas", "parts")
GUI_PANELS = (
    "open",
    "detect",
    "calibrate",
    "index",
    "inspect",
    "correct",
    "analyse",
    "classify",
    "virtual",
    "train",
    "export",
)
# What puts panels together.
GUI_ABOVE = {"__init__", "desk_widget", "demo"}
# One pair of limits: a file of about 400 lines and a function of about 40 are meant, these are not passed.
MOST_LINES_OF_A_FILE = 450
MOST_LINES_OF_A_FUNCTION = 70

IMPORT_ALL = """
import importlib, json, sys
forbidden, allowed_first, names = json.loads(sys.argv[1])
for name in allowed_first:
    importlib.import_module(name)
before = set(sys.modules)
for name in names:
    importlib.import_module(name)
    found = [m for m in forbidden if m in sys.modules and m not in before]
    if found:
        sys.exit(f"importing {name} imports {found}")
"""


def _modules(*, below: Path = PACKAGE) -> list[Path]:
    """Return the modules of a folder; a room that nothing has moved into yet has none."""
    return sorted(below.rglob("*.py"))


def _may_import(room: str) -> set[str]:
    storey = next(number for number, rooms in enumerate(STOREYS) if room in rooms)
    below = {each for rooms in STOREYS[storey + 1 :] for each in rooms}
    return {room} | below | NEIGHBOURS.get(room, set())


def _imported_modules(path: Path, modules: set[str]) -> set[str]:
    """Return the modules of the package that a file imports, at its top, inside functions or for its types."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    found = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            names = {f"{node.module}.{alias.name}" for alias in node.names}
            found |= (names & modules) or {node.module}
    return found & modules


def _defined_names(tree: ast.Module) -> set[str]:
    """Return what a module binds by itself, not by an import."""
    blocks, names = [tree.body], set()
    while blocks:
        for node in blocks.pop():
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
                names.add(node.name)
            elif isinstance(node, ast.Assign | ast.AnnAssign):
                targets = node.targets if isinstance(node, ast.Assign) else [node.target]
                names |= {n.id for t in targets for n in ast.walk(t) if isinstance(n, ast.Name)}
            elif isinstance(node, ast.If | ast.Try):
                blocks += [node.body, node.orelse]
    return names


def _module_name(path: Path) -> str:
    parts = path.relative_to(PACKAGE.parent).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def _imported(path: Path) -> Iterator[str]:
    """Yield the full dotted names that a file imports, at its top or inside functions."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module:
            yield node.module
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def _tracked_files() -> list[Path]:
    listed = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, text=True, check=False)
    if listed.returncode != 0:
        pytest.skip("not a git checkout")
    return [ROOT / name for name in listed.stdout.split("\0") if name and (ROOT / name).is_file()]


def _import_in_fresh_process(
    names: list[str], *, forbidden: set[str], allowed_first: tuple[str, ...] = ()
) -> None:
    job = json.dumps([sorted(forbidden), allowed_first, names])
    done = subprocess.run(
        [sys.executable, "-c", IMPORT_ALL, job], capture_output=True, text=True, check=False, timeout=110
    )
    assert done.returncode == 0, done.stderr[-3000:]


# --- what an import brings along ---


def test_the_package_itself_imports_nothing_heavy() -> None:
    _import_in_fresh_process([NAME], forbidden=GUI_LIBRARIES | HEAVY_LIBRARIES | {"torch", "numpy", "orix"})


def test_core_imports_without_torch_qt_or_heavy_libraries() -> None:
    names = [_module_name(path) for path in _modules(below=PACKAGE / "core")]
    _import_in_fresh_process(names, forbidden=GUI_LIBRARIES | HEAVY_LIBRARIES | {"torch"})


def test_everything_outside_gui_imports_without_napari_and_qt() -> None:
    rooms = {path: path.relative_to(PACKAGE).parts[0] for path in _modules()}
    outside = [_module_name(path) for path, room in rooms.items() if room not in {"gui", "session"}]
    _import_in_fresh_process(outside, forbidden=GUI_LIBRARIES | HEAVY_LIBRARIES)


def test_what_is_open_and_chosen_is_known_without_napari_qt_and_torch() -> None:
    names = [_module_name(path) for path in _modules(below=PACKAGE / "session")]
    _import_in_fresh_process(names, forbidden=GUI_LIBRARIES - {"psygnal"} | HEAVY_LIBRARIES | {"torch"})


def test_gui_imports_without_heavy_libraries_of_its_own() -> None:
    names = [_module_name(path) for path in _modules(below=PACKAGE / "gui")]
    _import_in_fresh_process(
        names, forbidden=HEAVY_LIBRARIES, allowed_first=("napari", "napari.layers", "pyqtgraph")
    )


def test_every_public_name_is_there() -> None:
    for name in napari_stem_orient.__all__:
        assert getattr(napari_stem_orient, name) is not None
    with pytest.raises(AttributeError, match="no attribute 'nonsense'"):
        _ = napari_stem_orient.nonsense


# --- who may import whom ---


def test_nothing_private_of_another_package_is_imported() -> None:
    """What napari and others keep to themselves changes without notice; ruff (SLF) looks after attributes."""
    private = {
        f"{path.name}: {name}"
        for path in _modules()
        for name in _imported(path)
        if not name.startswith(f"{NAME}.") and re.search(r"(^|\.)_[a-z]", name)
    }
    assert private == set()


@pytest.mark.parametrize("room", ROOMS)
def test_imports_run_one_way(room: str) -> None:
    wrong = []
    allowed = _may_import(room)
    for path in _modules(below=PACKAGE / room):
        for imported in _imported(path):
            parts = imported.split(".")
            if parts[0] != NAME or len(parts) < 2 or parts[1] not in ROOMS or parts[1] in allowed:
                continue
            # the command "demo" opens a window: the one door from the command line to it
            if room == "cli" and imported.startswith((f"{NAME}.gui.demo", f"{NAME}.gui import")):
                continue
            wrong.append(f"{path.relative_to(PACKAGE)} imports {imported}")
    assert not wrong


def test_there_are_no_other_rooms() -> None:
    beside = {path.stem for path in PACKAGE.glob("*.py")}
    folders = {path.parent.relative_to(PACKAGE).parts[0] for path in _modules() if path.parent != PACKAGE}
    assert beside <= BESIDE
    assert folders <= set(ROOMS)


def test_what_stands_beside_the_rooms_knows_none_of_them() -> None:
    wrong = [
        f"{name}.py imports {imported}"
        for name in BESIDE - {"__init__"}
        for imported in _imported(PACKAGE / f"{name}.py")
        if imported.split(".")[0] == NAME and imported.split(".")[1] in ROOMS
    ]
    assert not wrong


def test_no_import_goes_in_a_circle() -> None:
    """Imports inside functions and for types count, too: what knows each other in a circle cannot be taken apart."""
    paths = {_module_name(path): path for path in _modules()}
    graph = {name: _imported_modules(path, set(paths)) - {name} for name, path in paths.items()}
    # the face finds its names when they are asked for, and names their homes for type checkers
    graph[NAME] = set()
    try:
        TopologicalSorter(graph).prepare()
    except CycleError as error:
        pytest.fail(f"a circle of imports: {' <- '.join(error.args[1])}")


def test_a_name_has_one_home() -> None:
    """What is imported stands where it is imported from; only the face of the package passes names on."""
    trees = {_module_name(path): ast.parse(path.read_text(encoding="utf-8")) for path in _modules()}
    defined = {name: _defined_names(tree) for name, tree in trees.items()}
    wrong = set()
    for folder in (PACKAGE, ROOT / "tests", ROOT / "benchmarks"):
        for path in _modules(below=folder):
            for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
                if not isinstance(node, ast.ImportFrom) or node.module not in defined or node.module == NAME:
                    continue
                names = {alias.name for alias in node.names} - defined[node.module]
                names = {name for name in names if f"{node.module}.{name}" not in defined}
                wrong |= {
                    f"{path.relative_to(ROOT)}: {name} is not defined in {node.module}" for name in names
                }
    assert not wrong
    assert [name for name in defined if name != NAME and "__all__" in defined[name]] == []


def test_gui_libraries_are_imported_in_gui_only_and_torch_not_in_core() -> None:
    wrong = []
    for path in _modules():
        room = path.relative_to(PACKAGE).parts[0]
        forbidden = set() if room == "gui" else set(GUI_LIBRARIES)
        if room == "session":
            forbidden -= {"psygnal"}  # how it says that something has changed; it is not of Qt
        if room == "core":
            forbidden.add("torch")
        if room in ("session", "steps"):
            forbidden.add("argparse")
        found = {name.split(".")[0] for name in _imported(path)} & forbidden
        if found:
            wrong.append(f"{path.relative_to(PACKAGE)} imports {sorted(found)}")
    assert not wrong


@pytest.mark.parametrize("room", ["core", "simulation", "virtual", "calibration", "detection"])
def test_science_knows_no_file_formats(room: str) -> None:
    for path in _modules(below=PACKAGE / room):
        assert not {name.split(".")[0] for name in _imported(path)} & FILE_FORMATS, path


def test_a_panel_imports_no_other_panel() -> None:
    """Panels meet in the Session; only the desk and the demo put them together."""
    wrong = []
    for number, part in enumerate(GUI_PARTS):
        allowed = set(GUI_PARTS[: number + 1])
        wrong += _imports_of_gui(part, allowed)
    for panel in GUI_PANELS:
        wrong += _imports_of_gui(panel, {panel, *GUI_PARTS})
    assert not wrong


def _imports_of_gui(room: str, allowed: set[str]) -> list[str]:
    return [
        f"gui/{room}/{path.name} imports {imported}"
        for path in _modules(below=PACKAGE / "gui" / room)
        for imported in _imported(path)
        if imported.startswith(f"{NAME}.gui.") and imported.split(".")[2] not in allowed
    ]


def test_gui_has_no_other_rooms() -> None:
    folders = {path.parent.name for path in (PACKAGE / "gui").glob("*/*.py")}
    assert folders <= {*GUI_PARTS, *GUI_PANELS}
    assert {path.stem for path in (PACKAGE / "gui").glob("*.py")} <= GUI_ABOVE


def test_tests_mirror_the_rooms() -> None:
    rooms = {path.parent.relative_to(PACKAGE).as_posix() for path in _modules()}
    mirrored = {
        path.parent.relative_to(ROOT / "tests").as_posix() for path in (ROOT / "tests").rglob("test_*.py")
    }
    assert mirrored <= rooms


def test_layer_data_are_made_without_qt() -> None:
    assert not {name.split(".")[0] for name in _imported(PACKAGE / "gui" / "canvas" / "layers.py")} & {
        "qtpy",
        "superqt",
    }


def test_threads_are_started_in_one_file_only() -> None:
    starters = {"Thread", "QThread", "ThreadPoolExecutor", "ProcessPoolExecutor", "Process", "thread_worker"}
    starters |= {"create_worker", "FunctionWorker", "GeneratorWorker", "QThreadPool"}
    for path in _modules():
        used = {node.id for node in ast.walk(ast.parse(path.read_text())) if isinstance(node, ast.Name)}
        used |= {
            node.attr for node in ast.walk(ast.parse(path.read_text())) if isinstance(node, ast.Attribute)
        }
        # the other one waits for its parent's word, in the process of a training, where there is no Qt
        assert path.name in {"workers.py", "training_process.py"} or not used & starters, path


def test_no_optimiser_is_made_in_the_process_of_a_window() -> None:
    """torch's first optimiser, and torch.compile, load triton, which ends a window drawn by Mesa on Linux."""
    training = {"napari_stem_orient.transformer.trainer", "napari_stem_orient.transformer.training"}
    training |= {"napari_stem_orient.runs.training_task.training_job"}
    for path in _modules():
        text = path.read_text(encoding="utf-8")
        assert path.name == "trainer.py" or not re.search(r"torch\.(optim|compile|_dynamo)\b", text), path
        if "gui" in path.relative_to(PACKAGE).parts:
            assert not set(_imported(path)) & training, path


# --- the manifest ---


def _manifest() -> PluginManifest:
    return PluginManifest.from_file(PACKAGE / "napari.yaml")


def test_manifest_is_valid_and_installed() -> None:
    manifest = _manifest()
    manifest.validate_imports()
    installed = PluginManifest.from_distribution("napari-stem-orient")
    assert installed.name == manifest.name == "napari-stem-orient"


def test_command_ids_begin_with_the_name_of_the_plugin_and_each_is_used() -> None:
    contributions = _manifest().contributions
    commands = {command.id for command in contributions.commands or []}
    assert all(command.startswith("napari-stem-orient.") for command in commands)
    used = {item.command for item in contributions.readers or []}
    used |= {item.command for item in contributions.widgets or []}
    used |= {item.command for item in contributions.sample_data or []}
    used |= {
        item.command for items in contributions.menus.values() for item in items if hasattr(item, "command")
    }
    assert used == commands


def test_reader_patterns_are_the_supported_extensions() -> None:
    from napari_stem_orient.io.scan_kinds import SUPPORTED_EXTENSIONS

    patterns = {p for reader in _manifest().contributions.readers or [] for p in reader.filename_patterns}
    missing = {f"*{extension}" for extension in SUPPORTED_EXTENSIONS} - patterns
    assert not missing, f"open_datacube reads what the manifest does not offer: {sorted(missing)}"


def test_widgets_take_the_viewer_as_napari_viewer() -> None:
    import inspect

    contributions = _manifest().contributions
    targets = {command.id: command.python_name for command in contributions.commands or []}
    for widget in contributions.widgets or []:
        module, _, attribute = str(targets[widget.command]).partition(":")
        widget_class = getattr(__import__(module, fromlist=[attribute]), attribute)
        assert "napari_viewer" in inspect.signature(widget_class).parameters, attribute


def test_the_manifest_at_the_top_level_is_the_packages() -> None:
    top = ROOT / "napari.yaml"
    assert yaml.safe_load(top.read_text()) == yaml.safe_load((PACKAGE / "napari.yaml").read_text())
    assert top.is_symlink()
    assert top.resolve() == PACKAGE / "napari.yaml"


# --- files and functions ---


def test_no_room_without_a_noun() -> None:
    names = {"utils.py", "helpers.py", "common.py", "misc.py"}
    assert not [path for path in _tracked_files() if path.name in names]


def test_files_and_functions_are_short() -> None:
    long = []
    for path in _modules():
        text = path.read_text(encoding="utf-8")
        if text.count("\n") > MOST_LINES_OF_A_FILE:
            long.append(f"{path.relative_to(PACKAGE)}: {text.count(chr(10))} lines")
        for node in ast.walk(ast.parse(text)):
            if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef)) and node.end_lineno is not None:
                length = node.end_lineno - node.lineno
                if length > MOST_LINES_OF_A_FUNCTION:
                    long.append(f"{path.relative_to(PACKAGE)}:{node.lineno} {node.name}: {length} lines")
    assert not long


def test_every_module_begins_with_a_sentence_on_what_it_holds() -> None:
    for path in _modules():
        docstring = ast.get_docstring(ast.parse(path.read_text(encoding="utf-8")))
        assert docstring, path
        assert docstring.split("\n\n")[0].rstrip().endswith("."), path


def test_nothing_is_unpickled() -> None:
    unpickles = re.compile(r"torch\.load\(|pickle\.load|allow_pickle\s*=\s*True|import pickle")
    assert not [path for path in _modules() if unpickles.search(path.read_text(encoding="utf-8"))]


def test_files_are_small() -> None:
    for path in _tracked_files():
        limit_mib = 10 if path.suffix == ".safetensors" else 1 if "tests" in path.parts else 5
        assert path.stat().st_size <= limit_mib * 2**20, path


def test_no_file_names_a_folder_of_one_machine() -> None:
    # written in pieces, so that this file does not find itself
    roots = ("work/", "farm/", r"home/\w", r"Users/\w")
    pieces = [*("/" + root for root in roots), r"\.\./\." + "library", r"\.\./" + "shared"]
    a_folder_of_one_machine = re.compile("|".join(pieces))
    texts = {".py", ".md", ".toml", ".yaml", ".yml", ".txt", ".cfg", ".cff", ".sh", ""}
    for path in _tracked_files():
        if path.suffix in texts and path.name != "LICENSE" and not path.is_symlink():
            found = a_folder_of_one_machine.search(path.read_text(encoding="utf-8", errors="replace"))
            assert found is None, f"{path}: {found}"
