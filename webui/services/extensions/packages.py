"""Python packages that extensions ask for: planned dry, then put beside the extension.

Whatever the program has installed stays as it is: a wish that does not go with it is refused. What
is missing goes into the extension's own folder. Only ready wheels are taken, so that nothing of a
package runs while it is looked at or installed.
"""

from __future__ import annotations

import json
import re
import sys
import threading
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from importlib.metadata import distributions
from pathlib import Path
from typing import Any, Final

from packaging.requirements import InvalidRequirement, Requirement

from webui.extensions.folders import PACKAGES, Extension
from webui.services.extensions.commands import CommandError, InstallError, run
from webui.services.extensions.places import move, remove_tree

PIP: Final = (sys.executable, "-I", "-X", "utf8", "-m", "pip")
"""Isolated: Python would look for modules in the working folder and in PYTHONPATH, too."""
_QUIET: Final = ("--no-input", "--disable-pip-version-check", "--progress-bar", "off", "--quiet")
_WHEELS: Final = ("--only-binary", ":all:")
SECONDS: Final = 600.0


@dataclass(frozen=True)
class Plan:
    """What an extension's packages would mean.

    Attributes:
        wanted: What it asks for, as it says it.
        new: Name to version of what would come into its folder.
        conflicts: Why it cannot be had, in sentences; nothing is installed then.
        hashes: sha256 of what would be installed, by name.
    """

    wanted: tuple[str, ...] = ()
    new: Mapping[str, str] | None = None
    conflicts: tuple[str, ...] = ()
    hashes: Mapping[str, str] | None = None

    def to_json(self) -> dict[str, Any]:
        """Plain data for the page."""
        told = asdict(self)
        del told["hashes"]
        return {**told, "new": dict(self.new or {})}


def wishes_of(extension: Extension) -> list[str]:
    """Lines of an extension's ``extension.toml`` and ``requirements.txt`` that ask for packages."""
    lines = list(extension.manifest.requires)
    try:
        text = (extension.path / "requirements.txt").read_text("utf-8-sig", "replace")
    except OSError:
        text = ""
    lines += (re.sub(r"(^|\s)#.*", "", line).strip() for line in text.splitlines())
    return list(dict.fromkeys(line for line in lines if line))


def installed() -> dict[str, str]:
    """Name to version of everything the program has; what extensions have is theirs alone."""
    found: dict[str, str] = {}
    for one in distributions(path=[path for path in sys.path if Path(path).name != PACKAGES]):
        name = one.metadata["Name"]
        if name and one.version:
            found.setdefault(_plain(name), one.version)
    return found


def _plain(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()


def plan(
    wishes: Iterable[str],
    folder: Path,
    cancel: threading.Event,
    *,
    has: Mapping[str, str] | None = None,
    pip: Sequence[str] = PIP,
    environ: Mapping[str, str] | None = None,
) -> Plan:
    """What these wishes mean here; nothing is installed, nothing of a package runs.

    Args:
        folder: For pip's papers alone.
        has: What is installed; None = look. environ: Added to pip's.
    Raises:
        JobCancelled: ``cancel`` was set.
    """
    wanted = tuple(wishes)
    have = installed() if has is None else has
    conflicts: list[str] = []
    missing: list[str] = []
    for line in wanted:
        told, is_missing = _judged(line, have)
        conflicts += [told] if told else []
        missing += [line] if is_missing else []
    if conflicts or not missing:
        return Plan(wanted, {}, tuple(conflicts), {})
    limits = folder / "installed.txt"
    limits.write_text("".join(f"{n}=={v}\n" for n, v in sorted(have.items())), "utf-8")
    report = folder / "report.json"
    command = [
        *pip, "install", "--dry-run", "--report", str(report), "-c", str(limits), *_WHEELS,
        *_QUIET, "--", *missing,
    ]  # fmt: skip
    try:
        _run_pip(command, folder, cancel, environ)
    except CommandError as err:
        return Plan(wanted, {}, (_why(err),), {})
    new, hashes = _read_report(report)
    clash = [name for name in new if _plain(name) in have]
    told = tuple(f"{name} is installed as {have[_plain(name)]}." for name in clash)
    return Plan(wanted, new, told, hashes)


def _judged(line: str, have: Mapping[str, str]) -> tuple[str, bool]:
    """Why a line cannot be had, and whether something has to be fetched for it."""
    try:
        wish = Requirement(line)
    except InvalidRequirement:
        return f"{line[:120]!r} is no name of a package with its versions.", False
    if wish.marker is not None and not wish.marker.evaluate():
        return "", False
    if wish.url:
        return (
            f"{line[:120]!r} names an address; only packages of the package index are had.",
            False,
        )
    version = have.get(_plain(wish.name))
    if version is None:
        return "", True
    if wish.specifier.contains(version, prereleases=True):
        return "", bool(wish.extras)  # what these bring may be missing
    told = f"It wants {wish.name}{wish.specifier}; the program has {version}, which stays."
    return told, False


def _why(err: CommandError) -> str:
    said = str(err.hint or err.message)
    lines = [line.removeprefix("ERROR: ") for line in said.splitlines() if line.strip()]
    return " ".join(lines[-4:])[:600] or err.message


def _read_report(report: Path) -> tuple[dict[str, str], dict[str, str]]:
    told = json.loads(report.read_text("utf-8"))
    new: dict[str, str] = {}
    hashes: dict[str, str] = {}
    for one in told.get("install", ()):
        name = str(one["metadata"]["name"])
        new[name] = str(one["metadata"]["version"])
        archive = one.get("download_info", {}).get("archive_info", {})
        known = archive.get("hashes", {}).get("sha256") or ""
        if known:
            hashes[name] = known
    return new, hashes


def install(
    plan: Plan,
    extension: Path,
    folder: Path,
    cancel: threading.Event,
    *,
    pip: Sequence[str] = PIP,
    environ: Mapping[str, str] | None = None,
) -> None:
    """Put what was planned into the extension's folder: exactly the files that were shown, and
    nothing of what an earlier version or an attempt that was broken off left there.

    Args:
        folder: For pip's papers alone.
    Raises:
        InstallError: There are conflicts, or pip failed. JobCancelled: ``cancel`` was set.
    """
    if plan.conflicts:
        raise InstallError(
            "Its packages do not go with this program: " + " ".join(plan.conflicts),
            "Install the extension without its packages, or look for another version of it.",
        )
    target = folder / "packages"
    remove_tree(target)
    if plan.new:
        wanted = folder / "wanted.txt"
        wanted.write_text(_pinned(plan.new, plan.hashes or {}), "utf-8")
        command = [
            *pip, "install", "--no-deps", "--target", str(target), *_WHEELS, *_QUIET,
            "-r", str(wanted),
        ]  # fmt: skip
        _run_pip(command, folder, cancel, environ)
    remove_tree(extension / PACKAGES)
    if plan.new:
        move(target, extension / PACKAGES)


def _pinned(new: Mapping[str, str], hashes: Mapping[str, str]) -> str:
    lines = [f"{name}=={version}" for name, version in new.items()]
    if set(hashes) == set(new):  # else the index does not tell them
        lines = [f"{line} --hash=sha256:{hashes[line.partition('=')[0]]}" for line in lines]
    return "\n".join(lines) + "\n"


def _run_pip(
    command: Sequence[str],
    folder: Path,
    cancel: threading.Event,
    environ: Mapping[str, str] | None,
) -> None:
    """pip puts everything together in temporary folders: they lie where their size is minded, and
    go with the folder when pip is ended."""
    temporary = dict.fromkeys(("TMPDIR", "TEMP", "TMP"), str(folder))
    both = {**temporary, **(environ or {})}
    run(command, folder=folder, cancel=cancel, environ=both, grows=folder, seconds=SECONDS)
