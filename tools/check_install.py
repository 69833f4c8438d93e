"""Check what users install: the wheel is whole, can be resolved everywhere, and works outside the checkout.

    python tools/check_install.py --constraints constraints.txt

needs uv, git, the package index and, on Linux without a screen, xvfb-run. It leaves nothing behind.
"""

from __future__ import annotations

import argparse
import os
import shutil
import signal
import subprocess
import sys
import time
import venv
import zipfile
from collections.abc import Callable, Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, TypeVar

sys.path.insert(0, str(Path(__file__).parent))

from resolved_versions import (
    NoIndexError,
    check_existing_napari,
    problems_of,
    resolve_all,
    table,
    user_requests,
)

Result = TypeVar("Result")
ROOT = Path(__file__).resolve().parents[1]
PACKAGE = "src/napari_stem_orient"
#: Files of the package's folder that only the checkout needs.
NOT_SHIPPED = ("ruff.toml",)
DEMO_FILES = {"demo-dark.png", "demo-light.png", "demo-map.h5"}

PLUGIN_CHECK = """
import importlib
from npe2 import PluginManager
manager = PluginManager.instance()
manager.discover()
manifest = manager.get_manifest("napari-stem-orient")
for command in manifest.contributions.commands:
    module, name = command.python_name.split(":")
    assert callable(getattr(importlib.import_module(module), name)), command.python_name
samples = {s.key for s in manifest.contributions.sample_data}
assert samples == {"simulated_polycrystal"}, samples
read = list(manager.iter_compatible_readers(["scan.hspy"]))
assert any(reader.plugin_name == "napari-stem-orient" for reader in read), read
print(len(manifest.contributions.commands), "commands,", len(manifest.contributions.widgets), "panels,", *samples)
"""


class InstallError(Exception):
    """Something that a user would run into; the message says what."""


def main() -> int:
    """Run the checks one after the other; 0 where all hold."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--constraints", type=Path, required=True, help="versions for the empty environment")
    parser.add_argument("--resolve-only", action="store_true", help="install nothing")
    options = parser.parse_args()
    try:
        with TemporaryDirectory(prefix="check-install-", ignore_cleanup_errors=True) as folder:
            run_checks(Path(folder), options.constraints.resolve(), installs=not options.resolve_only)
    except NoIndexError as error:
        print(
            "check-install FAILED: the package index cannot be reached, so nothing is known of what users would get. "
            "uv reads UV_DEFAULT_INDEX and SSL_CERT_FILE, not pip's configuration. It said:\n" + str(error)
        )
        return 1
    except InstallError as error:
        print(f"check-install FAILED: {error}")
        return 1
    print("check-install: all is well")
    return 0


def run_checks(folder: Path, constraints: Path, *, installs: bool) -> None:
    """Build, compare, resolve and, if asked, install and run in an empty folder."""
    wheel = timed("build the wheel from the sdist", lambda: build(folder / "dist"))
    timed("compare its files with the repository", lambda: check_contents(wheel))
    timed("resolve for each Python and system", lambda: check_resolution(wheel))
    if installs:
        python = timed(
            "install [all] into an empty environment", lambda: install(wheel, folder / "venv", constraints)
        )
        timed("run it outside the checkout", lambda: check_runs(python, folder / "user"))


def timed(what: str, check: Callable[[], Result]) -> Result:
    """Run one check between two lines that say what it is and how long it took."""
    print(f"--- {what}", flush=True)
    start = time.monotonic()
    result = check()
    print(f"    {time.monotonic() - start:.0f} s", flush=True)
    return result


def run(command: Sequence[str | Path], *, timeout_s: float = 1200, **options: Any) -> str:
    """Run a command to its end and return what it printed; an InstallError with its last lines where it fails."""
    words = [str(word) for word in command]
    # in a session of its own, so that what it has started ends with it
    with subprocess.Popen(
        words,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,
        **{"cwd": ROOT, **options},
    ) as process:
        try:
            told, _ = process.communicate(timeout=timeout_s)
        except subprocess.TimeoutExpired as error:
            end_session(process)
            raise InstallError(f"{' '.join(words)} was not done within {timeout_s:.0f} s") from error
    if process.returncode != 0:
        last = "\n".join(told.splitlines()[-25:])
        raise InstallError(f"{' '.join(words)} ended with {process.returncode}:\n{last}")
    return str(told)


def end_session(process: subprocess.Popen[str]) -> None:
    """End a process and, where the system can, all that it has started."""
    if os.name == "nt":
        process.kill()
    else:
        os.killpg(process.pid, signal.SIGKILL)


# --- the wheel -----------------------------------------------------------------------------------------------------


def build(output: Path) -> Path:
    """Build the sdist and, from it, the wheel, so that both are proven; return the wheel."""
    run([sys.executable, "-m", "build", "--outdir", output])
    (wheel,) = output.glob("*.whl")
    return wheel


def check_contents(wheel: Path) -> None:
    """Every file of the package that git knows is in the wheel, unchanged, and nothing else but its metadata."""
    known = run(["git", "ls-files", PACKAGE]).split()
    expected = {name.removeprefix("src/") for name in known if not name.endswith(NOT_SHIPPED)}
    with zipfile.ZipFile(wheel) as archive:
        names = {name for name in archive.namelist() if ".dist-info/" not in name}
        missing, foreign = sorted(expected - names), sorted(names - expected)
        if missing or foreign:
            raise InstallError(f"missing from the wheel: {missing}; in the wheel, but not in git: {foreign}")
        differing = [name for name in names if archive.read(name) != (ROOT / "src" / name).read_bytes()]
    if differing:
        raise InstallError(f"the wheel has another content of {differing}")
    size = wheel.stat().st_size / 1e6
    print(
        f"    {wheel.name}: {size:.1f} MB, {len(names)} files, {sum('/weights/' in name for name in names)} of models"
    )


# --- what pip would choose -----------------------------------------------------------------------------------------


def check_resolution(wheel: Path) -> None:
    """Print what users would get, and fail where that breaks a promise."""
    requests = user_requests(wheel)
    answers = resolve_all(requests)
    print(table(requests, answers))
    problems = [problem for pair in zip(requests, answers, strict=True) for problem in problems_of(*pair)]
    problems += check_existing_napari(wheel)
    if problems:
        raise InstallError("\n".join(problems))
    print("    added to an installed napari[all], none of its versions changes")


# --- a user's computer ---------------------------------------------------------------------------------------------


def install(wheel: Path, folder: Path, constraints: Path) -> Path:
    """Install the wheel with all extras into a new environment, as the README says; return its Python."""
    venv.create(folder, with_pip=True)
    python = folder / ("Scripts/python.exe" if os.name == "nt" else "bin/python")
    requirement = f"napari-stem-orient[all] @ {wheel.as_uri()}"
    run(
        [python, "-m", "pip", "install", "--quiet", "--no-compile", "-c", constraints, requirement],
        timeout_s=1500,
    )
    run([python, "-m", "pip", "check"])
    return python


def check_runs(python: Path, home: Path) -> None:
    """The command line, the plugin's discovery and the demo work in a folder that knows nothing of the checkout."""
    home.mkdir()
    environment = user_environment(home)

    def user(*command: str | Path) -> str:
        return run(command, cwd=home, env=environment)

    program = python.with_name("napari-stem-orient" + python.suffix)
    where = user(python, "-c", "import napari_stem_orient as n; print(n.__file__)").strip()
    if not Path(where).is_relative_to(python.parents[1]):
        raise InstallError(f"another copy is imported: {where}")
    print("   ", user(program, "--version").strip())
    make_scan = "import numpy as n; n.save('scan.npy', n.random.default_rng(0).poisson(9, (2, 3, 32, 32)))"
    user(python, "-c", make_scan)
    if "2 x 3" not in user(program, "info", "scan.npy"):
        raise InstallError("'napari-stem-orient info' does not tell the shape of a scan of 2 x 3 positions")
    print("    napari finds", user(*window(environment), python, "-c", PLUGIN_CHECK).splitlines()[-1])
    told = user(*window(environment), program, "demo", "--output", "demo", "--close")
    made = {path.name for path in (home / "demo").iterdir()}
    if made != DEMO_FILES:
        raise InstallError(f"the demo made {sorted(made)} instead of {sorted(DEMO_FILES)}:\n{told}")
    print("   ", told.strip().splitlines()[-1])


def user_environment(home: Path) -> dict[str, str]:
    """The environment of a user who has only this folder, without the settings of a developer."""
    dropped = ("PYTHONPATH", "PYTHONHOME", "VIRTUAL_ENV", "QT_API", "NAPARI_CONFIG", "MPLCONFIGDIR", "CI")
    kept = {name: value for name, value in os.environ.items() if name not in dropped}
    folders = {f"XDG_{kind}_HOME": str(home / kind.lower()) for kind in ("CACHE", "CONFIG", "DATA", "STATE")}
    return {**kept, **folders, "WIN_PD_OVERRIDE_LOCAL_APPDATA": str(home / "data")}


def window(environment: dict[str, str]) -> list[str]:
    """What opens a virtual display around a command, where there is no real one."""
    displayed = environment.get("DISPLAY") or environment.get("WAYLAND_DISPLAY")
    if not sys.platform.startswith("linux") or displayed:
        return []
    if shutil.which("xvfb-run") is None:
        raise InstallError("no display and no xvfb-run: install Xvfb (Debian: apt-get install xvfb)")
    return ["xvfb-run", "-a", "-s", "-screen 0 1920x1080x24"]


if __name__ == "__main__":
    sys.exit(main())
