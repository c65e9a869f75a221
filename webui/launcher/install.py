"""Brings .venv up to date: one resolve with torch in it, and the stamp as the last act."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import time
from pathlib import Path
from typing import Any, TextIO

from webui.launcher.environment import (
    REQUIREMENTS,
    ROOT,
    Stamp,
    Venv,
    check_disk,
    check_writable,
    clean_environment,
    pinned,
    requirements_hash,
    write_error,
)
from webui.launcher.machine import probe_machine
from webui.launcher.pip import run_pip, spoken_time
from webui.launcher.torch_choice import TorchChoice, choose_torch
from webui.launcher.torch_source import TORCH_FAMILY, TorchSource, find_torch
from webui.launcher.words import LaunchError, say, tell

CONSTRAINTS = ("-c", str(REQUIREMENTS / "constraints.txt"))


def install(
    venv: Venv, wanted: str, needs_dev: bool, reinstall: bool = False, reinstall_torch: bool = False
) -> None:
    """Make the environment whole, whatever state it is in.

    Args:
        wanted: What ``--torch`` asked for; '' keeps what was asked for last time.
        needs_dev: Also install what the tests need. Once there, those stay up to date too.
        reinstall: Begin with an empty environment.
        reinstall_torch: Choose and install PyTorch again.
    Raises:
        LaunchError: It cannot be made whole; the message says why and what to do.
    """
    with InstallLock():
        started = time.monotonic()
        stamp = prepare(venv, reinstall)
        needs_dev = needs_dev or (stamp is not None and stamp.dev)
        asked = wanted or (stamp.wanted if stamp else "")
        keeps_torch = not reinstall_torch and wanted in ("", *_names_of(stamp))
        choice, source = plan_torch(venv, asked, keeps_torch)
        install_packages(venv, source, needs_dev, reinstall_torch)
        if choice is not None:
            check_torch(venv, choice)
        shutil.rmtree(venv.pip_temp, ignore_errors=True)
        venv.write_stamp(
            Stamp(
                requirements=requirements_hash(),
                interpreter=venv.interpreter,
                venv=str(venv.folder),
                wanted=asked,
                build=source.build or (stamp.build if stamp and choice is None else ""),
                torch=venv.version_of("torch"),
                dev=needs_dev,
            )
        )
        say("Installed in {time}.", time=spoken_time(time.monotonic() - started))


def _names_of(stamp: Stamp | None) -> tuple[str, ...]:
    return (stamp.wanted, stamp.build) if stamp else ()


def prepare(venv: Venv, reinstall: bool) -> Stamp | None:
    """Bring .venv into a state that pip can work in; gives back its stamp, now removed."""
    stamp = venv.read_stamp()
    problem = venv.problem(stamp)
    if not problem and not (venv.packages / "pip").is_dir():
        problem = "it has no pip"
    if problem or reinstall:
        if not venv.folder.exists():
            say("First start: making the program's own environment in .venv (only this once).")
        elif problem:
            say("Making the environment .venv again, because {reason}.", reason=tell(problem))
        else:
            say("Making the environment .venv again, as asked.")
        venv.make()
        return None
    check_writable(venv.folder)
    if stamp is None:
        say("The last installation was not finished; going on with it.")
        remove_half_installed(venv)
    elif stamp.venv != str(venv.folder):
        say("The project was moved or copied; adjusting its environment.")
        command = [sys.executable, "-m", "venv", str(venv.folder)]
        subprocess.run(command, env=clean_environment(), check=False)
    venv.stamp_file.unlink(missing_ok=True)
    return stamp


def remove_half_installed(venv: Venv) -> None:
    """Remove records of packages whose installation was cut off, so that pip does them again.

    pip writes RECORD last; a package without it may lack files. ``~name`` folders are what it
    had moved away.
    """
    for info in venv.packages.glob("*.dist-info"):
        if not (info / "RECORD").exists():
            shutil.rmtree(info, ignore_errors=True)
    for leftover in venv.packages.glob("~*"):
        shutil.rmtree(leftover, ignore_errors=True)


def plan_torch(
    venv: Venv, wanted: str, keeps_present: bool
) -> tuple[TorchChoice | None, TorchSource]:
    """The choice (None: the installed torch stays) and what to tell pip about it."""
    present = venv.version_of("torch")
    if keeps_present and present.split("+")[0] == pinned("torch"):
        vision = venv.version_of("torchvision") or pinned("torchvision")
        return None, TorchSource((f"torch=={present}", f"torchvision=={vision}"))
    machine = probe_machine()
    choice = choose_torch(machine, wanted)
    say("PyTorch {version} for {kind}: {why}.", version=pinned("torch"), **choice._asdict())
    source = find_torch(choice, machine, os.environ.get("TORCH_INDEX_URL", ""))
    if source.remark:
        say("  {remark}; asking pip's own package index instead.", remark=source.remark)
        if choice.kind == "cpu":
            say("  That may give the larger CUDA build (3 GB); it works without a card, too.")
    download, disk = choice.gigabytes
    check_disk(ROOT, disk)
    say(
        "About {download:g} GB to download and {disk:g} GB on disk; minutes on a good line.",
        download=download,
        disk=disk,
    )
    say("Ctrl+C stops it at any time; the next start goes on from there.")
    return choice, source


def install_packages(
    venv: Venv, source: TorchSource, needs_dev: bool, reinstall_torch: bool
) -> None:
    """Run pip: everything with torch in one resolve, so that nothing later can replace it."""
    venv.log.write_text("", encoding="utf-8")
    if reinstall_torch:
        run_pip(venv, ["uninstall", "--yes", *TORCH_FAMILY], "Removing PyTorch")
    arguments = ["install", "--prefer-binary", "-r", str(REQUIREMENTS / "runtime.txt")]
    if needs_dev:
        arguments += ["-r", str(REQUIREMENTS / "dev.txt")]
    for page in source.pages:
        arguments += ["--find-links", page]
    run_pip(venv, [*arguments, *source.requirements, *CONSTRAINTS], "Packages")
    if needs_dev:
        alone = ["install", "--no-deps", "-r", str(REQUIREMENTS / "dev-no-deps.txt")]
        run_pip(venv, [*alone, *CONSTRAINTS], "Packages for the tests")


def check_torch(venv: Venv, choice: TorchChoice) -> None:
    """Import torch once, so that a broken one is found now and explained.

    Raises:
        LaunchError: It cannot be imported.
    """
    code = "import torch; print(torch.__version__, 'card' if torch.cuda.is_available() else '-')"
    done = subprocess.run(
        [str(venv.python), "-c", code],
        env=clean_environment(),
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
    )
    lines = done.stdout.decode("utf-8", "replace").strip().splitlines() or ["-"]
    if done.returncode:
        hint = "Start again with --reinstall-torch."
        if "DLL" in lines[-1]:
            hint = "Install Microsoft's Visual C++ Redistributable (x64), then start again."
        message = "PyTorch was installed but does not load: {reason}"
        raise LaunchError(message, hint, reason=lines[-1])
    say("PyTorch {version} works.", version=lines[-1].split()[0])
    if choice.kind in ("cuda", "rocm") and not lines[-1].endswith("card"):
        say("  It does not see the graphics card, though, and will use the processor.")
        say("  Update the card's driver, then: python launch.py --reinstall-torch")


class InstallLock:
    """One installation in this folder at a time; the system frees it however a process ends.

    The lock lies beside .venv, which ``--reinstall`` empties; where only .venv can be written
    (a volume in a container) it lies in there.
    """

    def __init__(self, root: Path = ROOT) -> None:
        self.root = root

    def __enter__(self) -> InstallLock:
        self.file = self._open()
        try:
            lock_file(self.file)
        except OSError as err:
            self.file.close()
            raise LaunchError(
                "Another start of this program is installing its packages right now.",
                "Wait until it has finished, then start again.",
            ) from err
        return self

    def __exit__(self, *exc: object) -> None:
        self.file.close()

    def _open(self) -> TextIO:
        try:
            return open(self.root / ".venv.lock", "a+")
        except OSError as err:
            try:
                return open(self.root / ".venv" / "install.lock", "a+")
            except OSError:
                raise write_error(self.root) from err


def lock_file(file: Any) -> None:
    """Take the file for this process, or raise OSError at once when another one has it."""
    if sys.platform == "win32":
        import msvcrt

        msvcrt.locking(file.fileno(), msvcrt.LK_NBLCK, 1)
    else:
        import fcntl

        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
