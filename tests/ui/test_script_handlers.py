"""Handlers that A1111 scripts connect with their fields: whatever they do, the server lives and
says whose it was."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import gradio as gr
import pytest

from tests.patience import PATIENCE
from webui.extensions.a1111.callbacks import NEVER_CALLED
from webui.extensions.a1111.fences import INSIDE, sentence
from webui.extensions.a1111.folder import A1111Folder
from webui.extensions.a1111.host import Host, Places
from webui.extensions.fence import MOST_FAILURES, Fence, within_time
from webui.options import Options
from webui.ui import script_handlers
from webui.ui.blocks import PageBlocks
from webui.ui.said import in_language
from webui.ui.script_handlers import call_fenced

HANDLERS = """
import asyncio, os, sys, threading
import gradio as gr
from functools import partial
THREADS = []
def softly(): sys.exit(3)
def hard(): os._exit(4)
async def waiting(): sys.exit(5)
def step_by_step():
    yield "one"
    sys.exit(6)
def broken(): raise ValueError("boom <b>")
def told(): raise gr.Error("fill this in")
def loop():
    THREADS.append(threading.current_thread())
    while True: pass
def asks(word: str, request: gr.Request, progress=gr.Progress()):
    progress(0.5)
    return f"{word} {request is None}"
class Callable_:
    def __call__(self): sys.exit(7)
DEEDS = dict(softly=softly, hard=hard, waiting=waiting, steps=step_by_step, broken=broken,
    told=told, loop=loop, partly=partial(softly), object=Callable_(), asks=asks)
"""
ENDED = "The extension mine failed: It tried to end the program, which was not done."


@pytest.fixture
def host(tmp_path: Path) -> Iterator[Host]:
    folder = tmp_path / "extensions" / "mine"
    (folder / "scripts").mkdir(parents=True)
    (folder / "scripts" / "main.py").write_text(HANDLERS, encoding="utf-8")
    places = Places(tmp_path, tmp_path, tmp_path / "models", folder.parent)
    options = Options(tmp_path / "config.json")
    with Host("web", places, Fence(within_time), options=options) as made:
        made.load([A1111Folder(folder)])
        yield made


@pytest.fixture
def page(host: Host) -> PageBlocks:
    """A page with a handler for each of their deeds, and one of ours."""
    deeds = {**host.modules["mine/main.py"].DEEDS, "ours": lambda: 1 / 0}
    with PageBlocks(analytics_enabled=False) as page:
        word, answer = gr.Textbox("a word"), gr.Textbox()
        for name, deed in deeds.items():
            takes = [word] if name == "asks" else []
            gr.Button(name).click(deed, takes, answer, api_name=name)
    page.fence = partial(call_fenced, host)
    return page


def asked(page: PageBlocks, name: str, *values: Any) -> Any:
    """What a handler answers; as the server asks it, in a task."""
    event = next(event for event in page.fns.values() if event.api_name == name)

    async def ask() -> Any:
        task = asyncio.create_task(page.call_function(event, list(values)))
        found = await task
        while found["iterator"] is not None:
            found = await page.call_function(event, [], iterator=found["iterator"])
        return found["prediction"]

    return asyncio.run(ask())


@pytest.mark.parametrize("name", ["softly", "hard", "waiting", "steps", "partly", "object"])
def test_handler_when_it_wants_to_end_the_program_then_is_refused_and_recorded(
    host: Host, page: PageBlocks, name: str
) -> None:
    with pytest.raises(gr.Error) as caught:
        asked(page, name)
    assert caught.value.message == ENDED
    (trouble,) = host.fence.core.troubles("mine")
    assert not trouble.is_fatal


def test_handler_when_it_fails_then_the_person_reads_whose_it_was_and_it_may_be_asked_again(
    page: PageBlocks,
) -> None:
    for _ in range(MOST_FAILURES + 1):
        with pytest.raises(gr.Error) as caught:
            asked(page, "broken")
        assert caught.value.message == "The extension mine failed: ValueError: boom <b>"
    with pytest.raises(gr.Error) as caught:
        asked(page, "told")
    assert caught.value.message == "fill this in"


def test_handler_when_it_loops_for_ever_then_its_thread_is_ended(
    host: Host, page: PageBlocks, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(script_handlers, "LONG_SECONDS", 0.2)
    with pytest.raises(gr.Error) as caught:
        asked(page, "loop")
    assert "longer than 0.2 s" in caught.value.message
    thread: threading.Thread = host.modules["mine/main.py"].THREADS[0]
    thread.join(PATIENCE)
    assert not thread.is_alive()


def test_handler_when_it_works_then_is_handed_what_gradio_hands_out(page: PageBlocks) -> None:
    assert asked(page, "asks", "leaf") == "leaf True"


def test_handler_when_the_extension_is_left_out_then_says_why(host: Host, page: PageBlocks) -> None:
    host.fence.core.record("mine", "process", "It was too slow.", is_fatal=True)
    with pytest.raises(gr.Error) as caught:
        asked(page, "asks", "leaf")
    assert caught.value.message == "The extension mine was left out: process: It was too slow."


def test_handler_when_it_is_ours_then_is_called_as_ever(page: PageBlocks) -> None:
    with pytest.raises(ZeroDivisionError):
        asked(page, "ours")


@pytest.mark.parametrize(
    "err",
    [
        SystemExit(2),
        ModuleNotFoundError(name="numba"),
        ModuleNotFoundError(name="modules.made_up"),
        *(ModuleNotFoundError(name=name) for name in sorted(INSIDE)[:2]),
        ImportError("cannot import name 'nets' from 'modules.shared'", name="modules.shared"),
    ],
)
def test_sentences_of_the_fence_have_chinese(err: BaseException) -> None:
    told = in_language(f"The extension mine failed: {sentence(err)}", "zh")
    assert "It " not in told and "mine" in told


def test_notes_of_callbacks_that_never_come_have_chinese(host: Host) -> None:
    with host.imports.within(host.folders["mine"].folder.path):
        for category in NEVER_CALLED:
            host.add_callback(category, print, None)
    notes = host.folders["mine"].notes
    assert len(notes) == len(NEVER_CALLED)
    assert [in_language(note, "zh") for note in notes if "It " in in_language(note, "zh")] == []
