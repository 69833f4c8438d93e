"""Which versions pip would choose for a published requirement, on each Python and system, worked out by uv in seconds.

Nothing is installed, and the constraints of this repository are not asked: this is what a user gets.
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from tempfile import TemporaryDirectory

PYTHONS = ("3.11", "3.12", "3.13", "3.14")
SYSTEMS = ("linux", "windows", "macos")
EXTRAS = ("", "py4dstem", "all")
#: "linux" is for uv one that is too old for what PySide6 has been made for since 6.10; this is Ubuntu 24.04.
NEW_LINUX = "x86_64-manylinux_2_39"
SHOWN = ("napari", "numpy", "zarr", "torch", "rosettasciio", "py4dstem", "pyqt6", "pyside6")
#: The last Python that py4DSTEM can be installed with.
LAST_WITH_PY4DSTEM = "3.12"
#: PySide6 that ends Python before 3.12, see gui/jobs/constants_of_python.py.
FATAL_PYSIDE6 = "6.12.0"
UNREACHABLE = re.compile(
    r"error sending request|failed to fetch|network was disabled|dns error", re.IGNORECASE
)


class NoIndexError(RuntimeError):
    """The package index cannot be reached, so that nothing is known of what would be installed."""


class UnresolvableError(RuntimeError):
    """No set of versions satisfies a requirement; the message is uv's explanation."""


@dataclass(frozen=True, slots=True)
class Request:
    """A requirement to be resolved for one Python and system; ``kept`` are versions that must stay as they are."""

    name: str
    requirement: str
    python: str
    system: str = "linux"
    kept: tuple[str, ...] = field(default=(), repr=False)


def resolve(request: Request) -> dict[str, str]:
    """Resolve one request to versions by name, names in lower case with hyphens.

    Raises
    ------
    NoIndexError
        Where the package index cannot be reached.
    UnresolvableError
        Where no set of versions satisfies the request.
    """
    with TemporaryDirectory(prefix="resolve-") as folder:
        wanted, kept = Path(folder) / "wanted.in", Path(folder) / "kept.txt"
        wanted.write_text(request.requirement + "\n", encoding="utf-8")
        kept.write_text("\n".join(request.kept) + "\n", encoding="utf-8")
        options = ["--quiet", "--no-header", "--no-annotate", "--constraints"]
        command = [sys.executable, "-m", "uv", "pip", "compile", *options, str(kept)]
        command += ["--python-version", request.python, "--python-platform", request.system, str(wanted)]
        # the certificates of the system, which a company's or a laboratory's proxy may need; pip takes them, too
        environment = {"UV_SYSTEM_CERTS": "1", **os.environ}
        done = subprocess.run(
            command, capture_output=True, text=True, check=False, cwd=folder, env=environment, timeout=300
        )
    if done.returncode != 0:
        raise (NoIndexError if UNREACHABLE.search(done.stderr) else UnresolvableError)(done.stderr.strip())
    return parse_versions(done.stdout)


def parse_versions(text: str) -> dict[str, str]:
    """Versions by name of a list of pinned requirements; what is no pin (a file, a comment) is left out."""
    pins = (line.split(";")[0].strip() for line in text.splitlines())
    found = (pin.split("==", 1) for pin in pins if "==" in pin and not pin.startswith("#"))
    return {re.sub(r"[-_.]+", "-", name).lower(): version for name, version in found}


def resolve_all(requests: Sequence[Request]) -> list[dict[str, str] | UnresolvableError]:
    """Resolve several requests at a time; one that cannot be satisfied is returned as its error."""

    def attempt(request: Request) -> dict[str, str] | UnresolvableError:
        try:
            return resolve(request)
        except UnresolvableError as error:
            return error

    with ThreadPoolExecutor(max_workers=4) as pool:
        return list(pool.map(attempt, requests))


def user_requests(wheel: Path) -> list[Request]:
    """What users type: the wheel without extras and with each of them on every Python; all on every system."""
    return [
        Request(extra or "base", required(wheel, extra), python, system)
        for system in (*SYSTEMS, NEW_LINUX)
        for extra in {"linux": EXTRAS, NEW_LINUX: ("pyside6",)}.get(system, ("all",))
        for python in PYTHONS
    ]


def required(wheel: Path, extra: str) -> str:
    """The requirement of a wheel on the disk, with one extra or none ("")."""
    return f"napari-stem-orient{f'[{extra}]' if extra else ''} @ {wheel.resolve().as_uri()}"


def problems_of(request: Request, versions: dict[str, str] | UnresolvableError) -> list[str]:
    """What a user would not accept in the versions that a request resolves to."""
    where = f"{request.name} on Python {request.python}, {request.system}"
    if isinstance(versions, UnresolvableError):
        return [f"{where}: cannot be installed\n{versions}"]
    numpy_major, zarr_major = (int(versions.get(name, "0").split(".")[0]) for name in ("numpy", "zarr"))
    python = as_numbers(request.python)
    wants_py4dstem = request.name in {"py4dstem", "all"} and python <= as_numbers(LAST_WITH_PY4DSTEM)
    wanted_bindings = {"all": {"pyqt6"}, "pyside6": {"pyside6"}}.get(request.name, set())
    promises = {
        "napari is there": "napari" in versions,
        "zarr 3 or newer": zarr_major >= 3,
        "py4DSTEM where it can be had, and nowhere else": ("py4dstem" in versions) == wants_py4dstem,
        "numpy 2 or newer unless py4DSTEM holds it": wants_py4dstem or numpy_major >= 2,
        "the Qt binding that was asked for, and no other": (
            {"pyqt6", "pyside6"} & versions.keys() == wanted_bindings
        ),
        "no PySide6 that ends napari": python >= (3, 12) or versions.get("pyside6") != FATAL_PYSIDE6,
    }
    return [f"{where}: not kept: {promise}" for promise, kept in promises.items() if not kept]


def as_numbers(version: str) -> tuple[int, ...]:
    """The numbers of a version: "3.12" is (3, 12)."""
    return tuple(int(part) for part in version.split("."))


def table(requests: Sequence[Request], answers: Sequence[dict[str, str] | UnresolvableError]) -> str:
    """A row for each request, a column for each package that matters to users."""
    rows: list[tuple[str, ...]] = [("install", "Python", "system", *SHOWN)]
    for request, versions in zip(requests, answers, strict=True):
        found = {} if isinstance(versions, UnresolvableError) else versions
        cells = (found.get(name, "-" if found else "none") for name in SHOWN)
        rows.append((request.name, request.python, request.system, *cells))
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    lines = ("  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)) for row in rows)
    return "\n".join(line.rstrip() for line in lines)


def check_existing_napari(wheel: Path) -> list[str]:
    """Problems with adding the wheel to a napari that is there already: every version of it has to stay."""
    bundled = [Request("napari[all]", "napari[all]", python) for python in PYTHONS]
    problems, additions = [], []
    for request, versions in zip(bundled, resolve_all(bundled), strict=True):
        if isinstance(versions, UnresolvableError):
            problems.append(f"napari[all] itself cannot be installed on Python {request.python}\n{versions}")
            continue
        kept = tuple(f"{name}=={version}" for name, version in versions.items())
        additions.append(Request("base", required(wheel, ""), request.python, kept=kept))
    for request, versions in zip(additions, resolve_all(additions), strict=True):
        if isinstance(versions, UnresolvableError):
            problems.append(
                f"a napari that is installed would be changed, Python {request.python}\n{versions}"
            )
    return problems
