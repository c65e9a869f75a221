"""What the documents tell people to type exists."""

from __future__ import annotations

import argparse
import re
from pathlib import Path

import pytest

from webui.launcher.commands import COMMANDS, HELP, SWITCHES
from webui.params import TrainLora
from webui.settings import make_parser
from webui.train_command import USAGE

ROOT = Path(__file__).resolve().parent.parent
DOCUMENTS = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").rglob("*.md"))]
OWN_FLAGS = {*SWITCHES, "--torch", "--help", "-h"}
OF_COMMANDS = {
    "doctor": {"--json"},
    "train": {*re.findall(r"^ +(--\w+)", USAGE, re.M), *(f"--{f}" for f in TrainLora.model_fields)},
}
"""Flags that only one command knows."""
SHOWN = re.compile(r"python3? launch\.py([^`\n#)]*)")


def launch_commands(document: Path) -> list[list[str]]:
    """The words after ``python launch.py``, for each place where the document shows it."""
    text = document.read_text(encoding="utf-8")
    return [found.split() for found in SHOWN.findall(text)]


def program_flags() -> set[str]:
    return {option for action in make_parser()._actions for option in action.option_strings}


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: str(path.relative_to(ROOT)))
def test_document_when_it_shows_a_command_then_command_and_flags_exist(document: Path) -> None:
    for words in launch_commands(document):
        command = words[0] if words and words[0].isalpha() else ""
        assert command in ("", *COMMANDS), f"launch.py has no command {command!r}"
        if command == "test":
            continue  # the rest is pytest's
        for word in words:
            flag = word.partition("=")[0].strip("[],")
            if flag.startswith("--"):
                known = OWN_FLAGS | program_flags() | OF_COMMANDS.get(command, set())
                assert flag in known, f"{document.name} shows {flag}"


def test_security_document_when_it_names_a_test_then_the_test_is_there() -> None:
    text = (ROOT / "docs" / "security.md").read_text(encoding="utf-8")
    named = re.findall(r"`(tests/[\w/]+\.py)::(\w+)`", text)
    promises = [line for line in text.splitlines() if line.startswith("|") and "tests/" in line]

    assert len(named) > 30 and len(promises) > 12
    for file, name in named:
        assert f"def {name}(" in (ROOT / file).read_text(encoding="utf-8"), (file, name)


@pytest.mark.parametrize("page", ["docs/flags.md", "docs/zh/flags.md"])
def test_flags_page_when_read_tells_every_flag_that_help_shows(page: str) -> None:
    """What is taken for compatibility alone is hidden in ``--help`` and needs no line."""
    told = set(re.findall(r"--[a-z][a-z0-9-]*", (ROOT / page).read_text(encoding="utf-8")))
    shown = [a for a in make_parser()._actions if a.help != argparse.SUPPRESS]
    missing = [a.option_strings[0] for a in shown if not told & set(a.option_strings)]
    assert len(shown) > 50 and missing == []


def test_readme_when_read_then_shows_how_to_start_and_how_to_test() -> None:
    commands = launch_commands(ROOT / "README.md")
    assert [] in commands and ["test"] in commands


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: str(path.relative_to(ROOT)))
def test_document_when_it_links_to_a_file_then_the_file_is_there(document: Path) -> None:
    text = document.read_text(encoding="utf-8")
    for target in re.findall(r"\]\(([^)#\s]+)", text):
        if not re.match(r"[a-z]+:", target):
            assert (document.parent / target).exists(), f"{document.name} links to {target}"


def test_help_when_read_then_names_every_command_and_flag_of_the_launcher() -> None:
    for word in (*COMMANDS, *SWITCHES, "--torch", "TORCH_INDEX_URL"):
        assert word in HELP
