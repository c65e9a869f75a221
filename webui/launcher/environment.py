""".venv and its stamp: whole, broken, moved, up to date? Answered from a few small files."""

from __future__ import annotations

import hashlib
import json
import os
import re
import shutil
import subprocess
import sys
from dataclasses import asdict, dataclass
from pathlib import Path

from webui.launcher.words import LaunchError

ROOT = Path(__file__).resolve().parent.parent.parent
REQUIREMENTS = ROOT / "requirements"
# An empty environment takes 25 MB.
VENV_BYTES = 5e7
# What would lead another Python, or its pip, out of .venv.
MISLEADING = ("PYTHONHOME", "PYTHONPATH", "__PYVENV_LAUNCHER__", "PIP_TARGET", "PIP_PREFIX")


@dataclass(frozen=True)
class Stamp:
    """What the last complete installation was made of; written last, so it vouches for all."""

    requirements: str
    interpreter: str
    venv: str
    wanted: str
    build: str
    torch: str
    dev: bool


@dataclass(frozen=True)
class Venv:
    """The folder of the environment and what lies where in it."""

    folder: Path = ROOT / ".venv"

    @property
    def python(self) -> Path:
        return self.folder / ("Scripts/python.exe" if os.name == "nt" else "bin/python")

    @property
    def packages(self) -> Path:
        """site-packages (need not exist)."""
        if os.name == "nt":
            return self.folder / "Lib" / "site-packages"
        found = sorted(self.folder.glob("lib/python3.*/site-packages"))
        return found[-1] if found else self.folder / "lib" / "site-packages"

    @property
    def stamp_file(self) -> Path:
        return self.folder / "danqing.json"

    @property
    def log(self) -> Path:
        return self.folder / "install.log"

    @property
    def pip_temp(self) -> Path:
        """pip's temporary folder, on the project's disk: /tmp is often a small memory disk."""
        return self.folder / "tmp"

    @property
    def interpreter(self) -> str:
        """The file that ``python`` really is."""
        return os.path.realpath(self.python)

    def read_stamp(self) -> Stamp | None:
        """What the last complete installation wrote, or None."""
        try:
            return Stamp(**json.loads(self.stamp_file.read_text(encoding="utf-8")))
        except (OSError, ValueError, TypeError):
            return None

    def write_stamp(self, stamp: Stamp) -> None:
        """Write it whole or not at all."""
        new = self.stamp_file.with_suffix(".new")
        new.write_text(json.dumps(asdict(stamp), indent=1), encoding="utf-8")
        os.replace(new, self.stamp_file)

    def problem(self, stamp: Stamp | None) -> str:
        """Why the environment cannot be used as it lies there: a template of words, or ''.

        A Python that was removed, or exchanged for another minor version under the environment,
        shows in where the environment's link to it leads.
        """
        if not self.folder.exists():
            return "it is missing"
        if not self.python.exists():
            return "its Python is gone"
        if not (self.folder / "pyvenv.cfg").exists():
            return "it is not a Python environment"
        if stamp is not None and stamp.interpreter != self.interpreter:
            return "its Python has changed"
        return ""

    def is_current(self, stamp: Stamp | None, wanted_torch: str, needs_dev: bool) -> bool:
        """True when nothing needs to be installed."""
        return (
            stamp is not None
            and not self.problem(stamp)
            and stamp.requirements == requirements_hash()
            and stamp.venv == str(self.folder)
            and wanted_torch in ("", stamp.wanted, stamp.build)
            and (stamp.dev or not needs_dev)
        )

    def version_of(self, package: str) -> str:
        """Version of an installed package, read from its folder's name, or ''."""
        found = sorted(self.packages.glob(f"{package}-*.dist-info"))
        return found[-1].name[len(package) + 1 : -len(".dist-info")] if found else ""

    def make(self) -> None:
        """Make it empty, replacing a broken one.

        Raises:
            LaunchError: The folder cannot be written, or this Python lacks the venv module.
        """
        check_writable(self.folder.parent)
        command = [sys.executable, "-m", "venv", "--clear", str(self.folder)]
        done = subprocess.run(
            command, env=clean_environment(), stdout=subprocess.PIPE, stderr=subprocess.STDOUT
        )
        if done.returncode:
            raise venv_error(done.stdout.decode("utf-8", "replace"), self.folder)


def pinned(package: str) -> str:
    """The exact version of a package in constraints.txt, without build."""
    text = (REQUIREMENTS / "constraints.txt").read_text(encoding="utf-8")
    found = re.search(rf"(?m)^{re.escape(package)}==([^\s;]+)", text)
    if not found:
        raise LaunchError(
            "requirements/constraints.txt does not name {package}.",
            "The project's files are damaged; fetch them again.",
            package=package,
        )
    return found[1]


def requirements_hash(folder: Path = REQUIREMENTS) -> str:
    """One hash over every requirements file: any change means installing again."""
    digest = hashlib.sha256()
    for file in sorted(folder.glob("*.txt")):
        digest.update(file.name.encode())
        digest.update(file.read_bytes().replace(b"\r\n", b"\n"))
    return digest.hexdigest()


def clean_environment() -> dict[str, str]:
    """This process's environment without what would lead the other Python astray."""
    return {name: value for name, value in os.environ.items() if name not in MISLEADING}


def venv_error(output: str, folder: Path) -> LaunchError:
    """The sentence for a failed ``python -m venv``."""
    if re.search(r"ensurepip is not available|No module named '?(ensurepip|venv)", output):
        return LaunchError(
            "This Python {version} came without its venv module.",
            "On Debian and Ubuntu: sudo apt install python{version}-venv. "
            "Elsewhere: install Python from python.org. Then start again.",
            version=f"{sys.version_info[0]}.{sys.version_info[1]}",
        )
    # venv swallows what its own pip said, so the disk itself is asked.
    if "No space left" in output or shutil.disk_usage(folder.parent).free < VENV_BYTES:
        return disk_full_error(folder.parent)
    if "ermission" in output or "Read-only" in output:
        return write_error(folder.parent)
    lines = output.strip().splitlines() or ["-"]
    return LaunchError(
        "Making the environment {folder} failed: {reason}",
        "Delete that folder and start again.",
        folder=folder,
        reason=lines[-1],
    )


def disk_full_error(folder: Path) -> LaunchError:
    return LaunchError(
        "The disk that holds {folder} is full.",
        "Free some space and start again; it goes on where it stopped.",
        folder=folder,
    )


def write_error(folder: Path) -> LaunchError:
    return LaunchError(
        "The folder {folder} cannot be written.",
        "Move the project into your home folder, or start it as the user who owns that folder.",
        folder=folder,
    )


def check_writable(folder: Path) -> None:
    """Raise LaunchError when nothing can be written into the folder."""
    probe = folder / f".write-test-{os.getpid()}"
    try:
        probe.write_bytes(b"")
        probe.unlink()
    except OSError as err:
        raise write_error(folder) from err


def check_disk(folder: Path, gigabytes: float, free_bytes: int | None = None) -> None:
    """Raise LaunchError when so much cannot fit on the folder's disk."""
    free = shutil.disk_usage(folder).free if free_bytes is None else free_bytes
    if free < gigabytes * 1e9:
        raise LaunchError(
            "The packages need about {needed:.0f} GB; the disk that holds {folder} has "
            "{free:.1f} GB free.",
            "Free some space, or move the project to another disk.",
            needed=gigabytes,
            folder=folder,
            free=free / 1e9,
        )
