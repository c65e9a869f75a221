#!/usr/bin/env python3
"""Start here: makes the environment this program needs, then runs it.

python launch.py [flags]          set up .venv the first time, then serve the page
python launch.py test [args]      the same with the test packages, then run pytest
python launch.py install          set up .venv and stop
python launch.py doctor [--json]  say what is in order, what is not, and what to do
python launch.py train [args]     train a LoRA: train --config_file my.toml

Standard library only. This file's syntax stays old enough for Python 3.7, so that an unsuitable
Python is told what to do in a sentence instead of a SyntaxError; webui/launcher/ does the work.
"""

from __future__ import annotations

import io
import os
import shutil
import subprocess
import sys

ROOT = os.path.dirname(os.path.abspath(__file__))
OLDEST_PYTHON, NEWEST_PYTHON = (3, 10), (3, 13)
TRIED_FIRST = ("3.12", "3.11", "3.13", "3.10")


def python_problem(version: tuple[int, ...], is_64_bit: bool) -> str:
    """Why this Python cannot run the program and what to do, or ''."""
    found = ".".join(str(part) for part in version[:3])
    start = "py -3.12 launch.py" if os.name == "nt" else "python3.12 launch.py"
    if not OLDEST_PYTHON <= tuple(version[:2]) <= NEWEST_PYTHON:
        return (
            f"This program needs Python 3.10 to 3.13; this is Python {found}.\n"
            f"Install Python 3.12 (python.org or your system's packages), then: {start}\n"
            f"本程序需要 Python 3.10 到 3.13，当前是 {found}。请安装 Python 3.12，然后运行：{start}"
        )
    if not is_64_bit:
        return (
            f"This program needs a 64-bit Python; this is a 32-bit Python {found}.\n"
            f"Install the 64-bit Python 3.12 from python.org, then: {start}\n"
            f"本程序需要 64 位的 Python，当前是 32 位的 {found}。请安装 64 位 Python 3.12。"
        )
    return ""


def find_other_python() -> str:
    """A suitable Python elsewhere on this machine: .venv's own, or one by its name; or ''."""
    venv = "Scripts\\python.exe" if os.name == "nt" else "bin/python"
    tries = [[os.path.join(ROOT, ".venv", venv)]]
    if os.name == "nt":
        tries += [["py", "-" + version] for version in TRIED_FIRST]
    tries += [["python" + version] for version in TRIED_FIRST]
    code = (
        "import sys; print(sys.executable if sys.maxsize > 2**32 and "
        f"{OLDEST_PYTHON} <= sys.version_info[:2] <= {NEWEST_PYTHON} else '')"
    )
    for command in tries:
        if shutil.which(command[0]):
            done = subprocess.run([*command, "-c", code], stdout=-1, stderr=-3, timeout=20)
            if done.returncode == 0 and done.stdout.strip():
                return done.stdout.decode("utf-8", "replace").strip()
    return ""


def main(argv: list[str]) -> int:
    """Hand over to the launcher, with another Python when this one cannot run the program."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="replace")
    problem = python_problem(tuple(sys.version_info[:3]), sys.maxsize > 2**32)
    if not problem:
        from webui.launcher.commands import main as launch

        return launch(argv)
    other = find_other_python()
    if not other:
        print(problem)
        return 1
    print(problem.splitlines()[0] + f" Going on with {other}.", flush=True)
    command = [other, os.path.abspath(__file__), *argv]
    if os.name != "nt":
        os.execv(other, command)
    return subprocess.call(command)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
