"""What ``install.py`` of an extension calls: look for packages, install them.

It runs in a process of its own, only after a person has said so; see
``webui.extensions.a1111.installing``. Standard library alone.
"""

from __future__ import annotations

import importlib.metadata
import importlib.util
import os
import re
import subprocess
import sys
from types import SimpleNamespace
from typing import Any

python = sys.executable
index_url = os.environ.get("INDEX_URL", "")
dir_repos = "repositories"
args = SimpleNamespace(skip_install=False, dump_sysinfo=False, reinstall_torch=False)
_LINE = re.compile(r"\s*([-\w.]+)\s*(?:==\s*([-+\w.]+))?\s*")


def is_installed(package: str) -> bool:
    """True when a package, or a module of that name, is there."""
    try:
        importlib.metadata.version(package)
        return True
    except importlib.metadata.PackageNotFoundError:
        pass
    try:
        return importlib.util.find_spec(package) is not None
    except (ImportError, ValueError):
        return False


def run(
    command: Any,
    desc: str | None = None,
    errdesc: str | None = None,
    custom_env: Any = None,
    live: bool = True,
) -> str:
    """Run a command line.

    Raises:
        RuntimeError: It fails.
    """
    if desc:
        print(desc, flush=True)
    done = subprocess.run(
        command, shell=isinstance(command, str), env=custom_env, text=True,
        stdout=None if live else subprocess.PIPE, stderr=None if live else subprocess.PIPE,
        check=False,
    )  # fmt: skip
    if done.returncode:
        raise RuntimeError(f"{errdesc or 'A command failed'}: {command} ({done.returncode})")
    return done.stdout or ""


def run_pip(command: str, desc: str | None = None, live: bool = True) -> str | None:
    """Run pip. Packages that the program itself is built on keep their versions: pip reads them
    from its own variable, PIP_CONSTRAINT.

    Raises:
        RuntimeError: It fails, or would change what the program needs.
    """
    if args.skip_install:
        return None
    words = command.split()
    index = ["--index-url", index_url] if index_url else []
    line = [python, "-m", "pip", *words, "--prefer-binary", *index]
    return run(line, f"Installing {desc}" if desc else None, f"Couldn't install {desc}", live=live)


def requirements_met(requirements_file: str) -> bool:
    """True when every pinned line of a file is there."""
    with open(requirements_file, encoding="utf-8") as file:
        for line in file:
            found = _LINE.match(line.partition("#")[0])
            if not found:
                continue
            try:
                version = importlib.metadata.version(found[1])
            except importlib.metadata.PackageNotFoundError:
                return False
            if found[2] and version != found[2]:
                return False
    return True


def git_clone(url: str, dir: str, name: str, commithash: str | None = None) -> None:
    """Fetch a repository, once."""
    if not os.path.isdir(dir):
        run(["git", "clone", "--filter=blob:none", url, dir], f"Cloning {name} into {dir}")
    if commithash:
        run(["git", "-C", dir, "checkout", commithash], None, f"Couldn't checkout {commithash}")


def repo_dir(name: str) -> str:
    return os.path.join(os.environ.get("DANQING_DATA", "."), dir_repos, name)


def prepare_environment() -> None:
    """The program has done so already."""


def list_extensions(settings_file: str) -> list[str]:
    """Nothing is installed by others here."""
    return []
