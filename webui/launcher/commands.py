"""launch.py's own words on the command line, and the deed behind each command."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from types import FrameType
from typing import Any

from webui.command_line import split_flags
from webui.launcher.environment import ROOT, Venv, clean_environment
from webui.launcher.words import LaunchError, say

COMMANDS = ("test", "install", "doctor", "train", "models")
TAKES_ALL = ("test", "train", "models")
"""Commands whose words, ``--help`` too, are their own."""
SIDE_BY_SIDE = (
    "-n", str(min(2 * (os.cpu_count() or 1), 4)), "--dist", "loadfile", "--no-loadscope-reorder",
)  # fmt: skip
"""pytest-xdist's words. Two processes for a core, since a test of a page or of a process waits for
it half of its time. Each takes whole files, in their order (tests/conftest.py)."""
SWITCHES = ("--skip-install", "--reinstall", "--reinstall-torch")
HELP = """\
python launch.py [flags]           set up .venv the first time, then serve the page
python launch.py test [args]       the same with the test packages, then run pytest, in two
                                   processes for each core, 4 at most (-n0: in one)
python launch.py install           set up .venv and stop
python launch.py doctor [--json]   say what is in order, what is not, and what to do
python launch.py models COMMAND    weights: list, search, get, check, where, key (models --help)
python launch.py train [args]      train a LoRA: train --config_file my.toml (train --help)

Flags of launch.py itself; every other flag goes to the program:
  --torch WHICH       auto, cpu, mps, xpu, cuda, rocm, or a build such as cu126 or rocm7.1
                      (default: what fits this machine)
  --reinstall-torch   choose and install PyTorch again (a new graphics card, a new driver)
  --reinstall         make .venv again from nothing
  --skip-install      install nothing; use .venv, or this Python, as it is
  -h, --help          this text, then the program's own flags
Environment: TORCH_INDEX_URL names another place to fetch PyTorch from (one build's folder, or
the folder that holds cpu, cu130 and so on). COMMANDLINE_ARGS holds flags to put before these.
pip's own settings and mirrors are honoured.
"""


@dataclass(frozen=True)
class Wish:
    """What was asked of launch.py itself, and what goes on to the program."""

    command: str = "serve"
    torch: str = ""
    skip_install: bool = False
    reinstall: bool = False
    reinstall_torch: bool = False
    help: bool = False
    rest: tuple[str, ...] = ()


def read_wish(argv: list[str], more: str = "", is_windows: bool = os.name == "nt") -> Wish:
    """Split the command line into launch.py's own words and the rest.

    ``test --help`` is pytest's; after ``--`` everything belongs to the program or pytest.

    Args:
        argv: The words after launch.py.
        more: COMMANDLINE_ARGS: flags that stand before those, so that those win. The program's
            among them are no business of pytest.
    Raises:
        LaunchError: ``--torch`` stands without a value, or a quotation mark is not closed.
    """
    own, rest = _split_words(argv, {"command": "serve"})
    try:
        words = split_flags(more, is_windows)
    except ValueError as err:
        message = "COMMANDLINE_ARGS cannot be read: {reason}."
        raise LaunchError(message, "Close every quotation mark in it.", reason=err) from err
    earlier, flags = _split_words(words, {"command": own["command"]}, False)
    if own["command"] not in TAKES_ALL:
        rest = flags + rest
    return Wish(rest=tuple(rest), **{**earlier, **own})


def _split_words(
    argv: list[str], own: dict[str, Any], may_command: bool = True
) -> tuple[dict[str, Any], list[str]]:
    rest: list[str] = []
    words = list(argv)
    while words:
        word = words.pop(0)
        if word == "--":
            rest += words
            break
        if word == "--torch" and words and not words[0].startswith("-"):
            own["torch"] = words.pop(0).lower()
        elif word.startswith("--torch="):
            own["torch"] = word.partition("=")[2].lower()
        elif word == "--torch":
            raise LaunchError("--torch needs a value.", "For example: --torch cpu")
        elif word in SWITCHES:
            own[word.strip("-").replace("-", "_")] = True
        elif word in ("-h", "--help") and own["command"] not in TAKES_ALL:
            own["help"] = True
        elif may_command and word in COMMANDS and own["command"] == "serve" and not rest:
            own["command"] = word
        else:
            rest.append(word)
    return own, rest


def ensure_environment(wish: Wish, venv: Venv, needs_dev: bool) -> Path:
    """Make .venv what the wish needs and return its Python.

    When nothing is missing this reads a few small files: no network, no other process.
    """
    stamp = venv.read_stamp()
    if wish.skip_install:
        return Path(sys.executable) if venv.problem(stamp) else venv.python
    is_asked = wish.reinstall or wish.reinstall_torch
    if is_asked or not venv.is_current(stamp, wish.torch, needs_dev):
        # Imported here: it brings urllib and ssl, which a second start has no use for.
        from webui.launcher.install import install

        install(venv, wish.torch, needs_dev, wish.reinstall, wish.reinstall_torch)
    return venv.python


def program_environment() -> dict[str, str]:
    """The program's environment: UTF-8 everywhere, no analytics, no model hub by surprise.

    COMMANDLINE_ARGS is left out: its flags are in the wish already.
    """
    env = clean_environment()
    env.pop("COMMANDLINE_ARGS", None)
    env["PYTHONUTF8"] = "1"
    env.setdefault("GRADIO_ANALYTICS_ENABLED", "0")
    env.setdefault("HF_HUB_OFFLINE", "1")
    return env


def become(command: list[str], env: dict[str, str]) -> int:
    """Run a program in this one's place, so that signals and its exit code are its own.

    On Windows a process cannot be replaced without the shell believing it ended: there this
    one waits, leaves Ctrl+C to the program, and returns its exit code.
    """
    sys.stdout.flush()
    sys.stderr.flush()
    if os.name != "nt":
        os.execve(command[0], command, env)
    return wait_for(subprocess.Popen(command, env=env))


def wait_for(process: subprocess.Popen[bytes]) -> int:
    """Exit code of a program that handles Ctrl+C itself and is ended when this one is."""
    from webui.launcher.pip import stop_process

    try:
        while True:
            try:
                return process.wait()
            except KeyboardInterrupt:
                continue
    finally:
        stop_process(process)


def serve(wish: Wish, venv: Venv) -> int:
    """Set up, then run app.py with every flag that is not launch.py's own."""
    python = ensure_environment(wish, venv, needs_dev=False)
    return become([str(python), str(ROOT / "app.py"), *wish.rest], program_environment())


def run_tests(wish: Wish, venv: Venv) -> int:
    """Set up with the test packages, then run pytest in the project folder."""
    python = ensure_environment(wish, venv, needs_dev=True)
    os.chdir(ROOT)
    env = program_environment()
    # The tests start hundreds of processes: without kept bytecode each compiles everything anew.
    env.pop("PYTHONDONTWRITEBYTECODE", None)
    return become([str(python), "-m", "pytest", *SIDE_BY_SIDE, *wish.rest], env)


def only_install(wish: Wish, venv: Venv) -> int:
    """Set up and stop."""
    ensure_environment(wish, venv, needs_dev=False)
    say("The environment is ready. Start the program with: python launch.py")
    return 0


def run_doctor(wish: Wish, venv: Venv) -> int:
    """Run the doctor with .venv's Python, or with this one when .venv cannot be used."""
    python = sys.executable if venv.problem(venv.read_stamp()) else str(venv.python)
    env = {**program_environment(), "PYTHONPATH": str(ROOT)}
    return become([python, "-m", "webui.doctor", *wish.rest], env)


def run_training(wish: Wish, venv: Venv) -> int:
    """Set up, then train a LoRA with every flag that is not launch.py's own."""
    python = ensure_environment(wish, venv, needs_dev=False)
    env = {**program_environment(), "PYTHONPATH": str(ROOT)}
    return become([str(python), "-m", "webui.train_command", *wish.rest], env)


def run_models(wish: Wish, venv: Venv) -> int:
    """Set up, then list, search or get weights."""
    python = ensure_environment(wish, venv, needs_dev=False)
    env = {**program_environment(), "PYTHONPATH": str(ROOT)}
    env["COMMANDLINE_ARGS"] = os.environ.get("COMMANDLINE_ARGS", "")  # it may tell the folders
    return become([str(python), "-m", "webui.models_command", *wish.rest], env)


def show_help(wish: Wish, venv: Venv) -> int:
    """Own help, then the program's when its environment exists."""
    print(HELP, flush=True)
    if wish.command == "serve" and not venv.problem(venv.read_stamp()):
        command = [str(venv.python), str(ROOT / "app.py"), "--help"]
        return become(command, program_environment())
    return 0


def _end(number: int, frame: FrameType | None) -> None:
    sys.exit(128 + number)


def main(argv: list[str]) -> int:
    """Do what the command line asks; returns the exit code."""
    # SIGTERM unwinds like Ctrl+C, so that a pip under way is ended, too.
    signal.signal(signal.SIGTERM, _end)
    deeds = {
        "serve": serve, "test": run_tests, "install": only_install, "doctor": run_doctor,
        "train": run_training, "models": run_models,
    }  # fmt: skip
    try:
        wish = read_wish(argv, os.environ.get("COMMANDLINE_ARGS", ""))
        deed = show_help if wish.help else deeds[wish.command]
        return deed(wish, Venv())
    except LaunchError as err:
        print(f"\n{err.message}\n{err.hint}".rstrip(), flush=True)
        return 1
    except KeyboardInterrupt:
        say("\nStopped. Starting again goes on from here.")
        return 130
