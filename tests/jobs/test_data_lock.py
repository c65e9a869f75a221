from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from tests.patience import PATIENCE
from webui.errors import SettingsError
from webui.jobs.data_lock import LOCK_NAME, lock_data_folder

PROJECT = Path(__file__).resolve().parents[2]
HOLD = """
import sys, time
from pathlib import Path
from webui.jobs.data_lock import lock_data_folder
with lock_data_folder(Path(sys.argv[1])):
    print("held", flush=True)
    time.sleep(60)
"""


def start_holder(folder: Path) -> subprocess.Popen[str]:
    process = subprocess.Popen(
        [sys.executable, "-c", HOLD, str(folder)], stdout=subprocess.PIPE, text=True, cwd=PROJECT
    )
    assert process.stdout is not None and process.stdout.readline() == "held\n"
    return process


def test_a_second_server_is_told_which_process_holds_the_folder(tmp_path: Path) -> None:
    holder = start_holder(tmp_path)
    try:
        with pytest.raises(SettingsError) as caught, lock_data_folder(tmp_path):
            pass
        assert str(holder.pid) in caught.value.message
        assert caught.value.pid == holder.pid
        assert "--data-dir" in caught.value.hint
    finally:
        holder.kill()
        holder.wait()


def test_a_killed_server_leaves_no_lock_behind(tmp_path: Path) -> None:
    holder = start_holder(tmp_path)
    holder.send_signal(signal.SIGKILL)
    holder.wait()
    assert (tmp_path / LOCK_NAME).exists()
    with lock_data_folder(tmp_path):
        assert (tmp_path / LOCK_NAME).read_text() == str(os.getpid())


def test_the_lock_ends_with_its_block(tmp_path: Path) -> None:
    with lock_data_folder(tmp_path / "new"):
        pass
    with lock_data_folder(tmp_path / "new"):
        pass


def test_one_process_cannot_hold_a_folder_twice(tmp_path: Path) -> None:
    with lock_data_folder(tmp_path), pytest.raises(SettingsError), lock_data_folder(tmp_path):
        pass


def test_a_child_that_outlives_the_server_does_not_keep_the_lock(tmp_path: Path) -> None:
    script = HOLD.replace("time.sleep(60)", "import subprocess; subprocess.Popen(['sleep', '600'])")
    done = subprocess.run(
        [sys.executable, "-c", script, str(tmp_path)], cwd=PROJECT, timeout=PATIENCE,
        stdout=subprocess.DEVNULL,
    )  # fmt: skip
    assert done.returncode == 0
    with lock_data_folder(tmp_path):
        pass


def test_a_folder_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with (
        pytest.raises(SettingsError, match="cannot be written"),
        lock_data_folder(tmp_path / "file" / "data"),
    ):
        pass
