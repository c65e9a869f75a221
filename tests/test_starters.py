"""The files people click on: danqing.sh, danqing.command, danqing.bat."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

import launch
from tests.patience import PATIENCE

ROOT = Path(__file__).resolve().parent.parent
posix_only = pytest.mark.skipif(os.name == "nt", reason="runs a POSIX shell")
TOO_OLD, SUITABLE = (
    "exit 1",
    'if [ "$1" = -c ]; then exit 0; fi; printf "<%s>" "$@"; exit "${CODE:-0}"',
)


@pytest.fixture
def starter(tmp_path: Path) -> Path:
    """The starters in a folder whose name has spaces and brackets; nothing is installed there."""
    folder = tmp_path / "my pictures (1)"
    folder.mkdir()
    for name in ("danqing.sh", "danqing.command"):
        shutil.copy(ROOT / name, folder / name)
    return folder


def click(starter: Path, pythons: dict[str, str], *flags: str, **env: str) -> tuple[int, str]:
    """Run a starter where only these Pythons exist; each is a shell script of these words.

    Returns:
        Its exit code and everything it said.
    """
    programs = starter.parent / "programs"
    programs.mkdir()
    for tool in ("sh", "dirname", "cat"):
        (programs / tool).symlink_to(str(shutil.which(tool)))
    for name, script in pythons.items():
        (programs / name).write_text(f"#!/bin/sh\n{script}\n", encoding="utf-8")
        (programs / name).chmod(0o755)
    done = subprocess.run(
        [str(starter), *flags],
        env={"PATH": str(programs), **env},
        cwd=starter.parent.parent,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        encoding="utf-8",
        timeout=PATIENCE,
    )
    return done.returncode, done.stdout + done.stderr


@posix_only
@pytest.mark.parametrize("name", ["danqing.sh", "danqing.command"])
def test_starter_when_a_python_fits_hands_over_flags_and_exit_code(
    starter: Path, name: str
) -> None:
    pythons = {"python3.12": TOO_OLD, "python3.10": SUITABLE, "python3": TOO_OLD}

    code, said = click(starter / name, pythons, "--data-dir", "my data", CODE="2")

    assert (code, said) == (2, "<launch.py><--data-dir><my data>")


@posix_only
@pytest.mark.parametrize("pythons", [{}, {"python3": TOO_OLD, "python": TOO_OLD}])
def test_starter_when_no_python_fits_says_where_to_get_one(
    starter: Path, pythons: dict[str, str]
) -> None:
    code, said = click(starter / "danqing.sh", pythons)

    assert code == 1
    assert "none was found" in said and "没有找到" in said and "https://www.python.org/" in said


@posix_only
def test_starter_when_it_judges_this_python_agrees_with_launch_py(starter: Path) -> None:
    judge = re.findall(r"-c '([^']+)'", (ROOT / "danqing.sh").read_text(encoding="utf-8"))
    judge += re.findall(r'IS_SUITABLE=([^"]+)"', (ROOT / "danqing.bat").read_text(encoding="utf-8"))

    assert len(judge) == 2
    for words in judge:
        assert f"{launch.OLDEST_PYTHON} <= sys.version_info[:2] <= {launch.NEWEST_PYTHON}" in words
        assert subprocess.run([sys.executable, "-c", words], timeout=PATIENCE).returncode == 0


def test_starters_when_read_by_shellcheck_are_clean() -> None:
    shellcheck = shutil.which(
        "shellcheck", path=f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    )
    if not shellcheck:
        pytest.skip("there is no shellcheck for this machine")
    files = [ROOT / "danqing.sh", ROOT / "danqing.command", ROOT / ".ci" / "run"]

    done = subprocess.run([shellcheck, *files], capture_output=True, text=True, timeout=PATIENCE)

    assert done.returncode == 0, done.stdout
    if os.name != "nt":
        assert all(os.access(file, os.X_OK) for file in files)


def test_batch_file_when_read_is_what_cmd_reads_rightly() -> None:
    raw = (ROOT / "danqing.bat").read_bytes()
    text = raw.decode("utf-8")
    lines = text.split("\r\n")
    code_page = next(k for k, line in enumerate(lines) if line.startswith("chcp 65001"))

    assert raw.count(b"\n") == raw.count(b"\r\n") == len(lines) - 1 and not text.startswith(
        "\ufeff"
    )
    assert all(line.isascii() for line in lines[:code_page]), "read before the code page is set"
    labels = set(re.findall(r"(?m)^:(\w+)", text))
    assert set(re.findall(r"goto (\w+)", text)) <= labels
    after_chinese = text[next(k for k, sign in enumerate(text) if ord(sign) > 127) :]
    assert "goto" not in after_chinese and "\n:" not in after_chinese


def test_batch_file_when_paths_hold_spaces_quotes_them_and_stays_open_on_failure() -> None:
    text = (ROOT / "danqing.bat").read_text(encoding="utf-8")
    lines = [line.strip() for line in text.splitlines()]

    assert 'cd /d "%~dp0"' in lines
    for line in lines:
        for path in re.findall(r'(?<!")(?:%~dp0|\.venv\\\S+)', line):
            pytest.fail(f"{path} stands without quotation marks: {line}")
    runs = [line for line in lines if "launch.py %*" in line]
    assert len(runs) == 3 and all(lines[lines.index(run) + 1] == "goto ended" for run in runs)
    assert lines.count("pause") == 1 and 'if not "%CODE%"=="0" pause' in lines
    versions = re.search(r"in \(([\d. ]+)\)", text)
    assert versions is not None and tuple(versions[1].split()) == launch.TRIED_FIRST
