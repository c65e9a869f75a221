"""The fence, the note and the time limit: what an extension does stays its own."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.patience import PATIENCE
from webui.errors import JobCancelled
from webui.extensions.fence import MOST_FAILURES, Fence, Noted, Trouble, within_time
from webui.extensions.note import Note, Watch, label, read_note
from webui.extensions.time_limit import TimeIsUp, within


def _raise(err: BaseException) -> None:
    raise err


@pytest.mark.parametrize(
    ("err", "told"),
    [
        (RuntimeError("broken"), "RuntimeError: broken"),
        (KeyboardInterrupt(), "RuntimeError: it raised KeyboardInterrupt"),
        (SystemExit(3), "it tried to end the program (SystemExit)"),
        (MemoryError(), "MemoryError"),
        (GeneratorExit(), "GeneratorExit"),
    ],
)
def test_call_when_it_raises_then_is_recorded_and_passed_over(
    err: BaseException, told: str
) -> None:
    heard: list[Trouble] = []
    fence = Fence(within_time, heard.append)
    assert fence.call("one", "before_step", 5, lambda: _raise(err)) is None
    (trouble,) = fence.troubles("one")
    assert (trouble.moment, trouble.message, trouble.is_fatal) == ("before_step", told, False)
    assert heard == [trouble]
    assert fence.troubles("two") == []


@pytest.mark.parametrize("end", [lambda: os._exit(3), lambda: os.abort()])
def test_call_when_it_ends_the_process_past_everything_then_is_recorded_and_passed_over(
    end: Callable[[], object], tmp_path: Path
) -> None:
    for runner in (within_time, Noted(Note(tmp_path / "note"))):
        fence = Fence(runner)
        assert fence.call("one", "before_step", 5, end) is None
        (trouble,) = fence.troubles("one")
        assert trouble.message == "it tried to end the program (SystemExit)"


@pytest.mark.skipif(not hasattr(os, "fork"), reason="there are no such processes")
def test_process_when_a_call_started_it_then_it_may_end() -> None:
    code = (
        "import os\nfrom webui.extensions.fence import Fence\n"
        "fence = Fence(lambda note, seconds, call: call())\n"
        "def fork():\n    child = os.fork()\n    if not child: os._exit(7)\n"
        "    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])\n"
        "assert fence.call('one', 'before_step', 5, fork) == 7\nos._exit(5)\n"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 5


def test_call_when_the_person_stopped_then_it_passes(tmp_path: Path) -> None:
    fence = Fence(Noted(Note(tmp_path / "note")))
    with pytest.raises(JobCancelled):
        fence.call("one", "before_step", 5, lambda: _raise(JobCancelled("stop")))
    assert fence.troubles("one") == []


def test_plugin_when_it_fails_too_often_then_is_left_out_until_it_is_forgotten() -> None:
    fence = Fence(within_time)
    for _ in range(MOST_FAILURES):
        assert fence.left_out("one") == ""
        fence.record("one", "before_step", "broken")
    assert fence.left_out("one") == "before_step: broken"
    fence.forget("one")
    assert (fence.left_out("one"), fence.troubles("one")) == ("", [])


def test_call_when_it_loops_for_ever_then_it_is_given_up_and_its_thread_ends() -> None:
    threads: list[threading.Thread] = []

    def loop() -> None:
        threads.append(threading.current_thread())
        while True:
            pass

    fence = Fence(within_time)
    assert fence.call("one", "rewrite_prompt", 0.1, loop) is None
    assert "longer than 0.1 s" in fence.left_out("one")
    threads[0].join(PATIENCE)
    assert not threads[0].is_alive()


def test_within_when_time_is_up_then_says_so_and_else_answers() -> None:
    assert within(60, lambda: 5) == 5
    with pytest.raises(TimeIsUp):
        within(0.05, threading.Event().wait)


def test_note_when_calls_nest_then_names_the_inner_and_afterwards_the_outer(
    tmp_path: Path,
) -> None:
    note = Note(tmp_path / "note")
    assert read_note(tmp_path / "note") is None
    note.begin(label("one", "picture_finished", 60))
    outer = read_note(tmp_path / "note")
    note.begin(label("two", "before_step", 5))
    inner = read_note(tmp_path / "note")
    note.end()
    again = read_note(tmp_path / "note")
    note.end()
    assert outer and inner and again
    assert (outer.plugin, outer.moment, outer.seconds) == ("one", "picture_finished", 60)
    assert (inner.plugin, inner.seconds) == ("two", 5)
    assert again.plugin == "one"
    assert read_note(tmp_path / "note") is None


def test_note_when_the_call_raises_then_is_empty_again(tmp_path: Path) -> None:
    fence = Fence(Noted(Note(tmp_path / "note")))
    fence.call("one", "before_step", 5, lambda: _raise(SystemExit()))
    assert read_note(tmp_path / "note") is None


def test_watch_when_the_same_call_stays_longer_than_it_may_then_names_it(tmp_path: Path) -> None:
    note, watch = Note(tmp_path / "note"), Watch(tmp_path / "note")
    note.begin(label("one", "before_step", 60))
    assert watch.look(100.0) is None
    assert watch.look(159.0) is None
    late = watch.look(161.0)
    assert late is not None and late.plugin == "one"
    note.end()
    note.begin(label("one", "before_step", 60))  # another call: its time begins anew
    assert watch.look(162.0) is None
    assert watch.look(221.0) is None
