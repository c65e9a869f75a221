"""Extensions that draw prompts: every picture gets a text of theirs, and the job keeps it."""

from __future__ import annotations

import ast
import shutil
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.extensions.stores import MakeRoom
from webui.errors import ParamsError, PromptSyntaxError
from webui.options import OPTION_DEFAULTS
from webui.params import DrawnTexts, TextToImage
from webui.services.extensions.room import ExtensionRoom
from webui.services.resolve import Known, TextToImageRequest, resolve
from webui.studio import BUILT_IN_EXTENSIONS

LITTLE = Path(__file__).parent / "little"
PUBLIC = {"webui.hookspecs", "webui.errors", "webui.params", "webui.lenient"}
HEAD = "from webui.hookspecs import *\n@hook\ndef draw_prompts(texts, seeds, combinations):\n"


@pytest.fixture
def little(folder: Path, tmp_path: Path, make_room: MakeRoom) -> ExtensionRoom:
    """A room with the little extension that draws words of a file, and that file."""
    shutil.copytree(LITTLE / "own_texts", folder / "own_texts")
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "own-words.txt").write_text("red green blue", encoding="utf-8")
    return make_room()


def resolved(room: ExtensionRoom, warnings: list[str] | None = None, **wish: Any) -> TextToImage:
    warn = (warnings if warnings is not None else []).append
    known = Known(find_checkpoint=str, draw=room.drawing({}, warn))
    found = resolve(TextToImageRequest(**{"seed": 7, **wish}), OPTION_DEFAULTS, known)
    assert isinstance(found, TextToImage)
    return found


def test_texts_when_a_dropped_extension_draws_them_are_kept_picture_by_picture(
    little: ExtensionRoom,
) -> None:
    warnings: list[str] = []
    wish = {"prompt": "a %word% hat", "negative_prompt": "no %word%", "batch_count": 3}
    params = resolved(little, warnings, **wish)

    assert [params.of_picture(index).prompt for index in range(3)] == [
        "a and green hat", "a and blue hat", "a and red hat",
    ]  # fmt: skip
    assert params.drawn is not None
    assert params.drawn.templates() == DrawnTexts(
        template="a %word% hat", negative_template="no %word%"
    )
    assert warnings == ["negative_prompt has a %word%."]
    little.set_settings("own_texts", {"between": "or"})
    assert resolved(little, prompt="%word%").prompt == "or green"
    assert little.acting("txt2img", {}, pytest.fail) == {}, "it is done when the job begins"


def test_combinations_when_wanted_are_as_many_pictures_as_are_answered(
    little: ExtensionRoom,
) -> None:
    params = resolved(little, prompt="a %word%", combinatorial=True, batch_size=4)

    assert (params.batch_size, params.batch_count) == (1, 3)
    assert params.prompts == ("a red", "a green", "a blue")


def test_request_when_refused_by_who_draws_says_their_sentence_and_blames_nobody(
    little: ExtensionRoom,
) -> None:
    with pytest.raises(ParamsError, match="own_texts draws nothing here"):
        resolved(little, prompt="refuse %word%")
    assert little.fence.troubles("own_texts") == []


def test_page_when_it_asks_is_told_by_the_same_extension(little: ExtensionRoom) -> None:
    (seen,) = little.choices("a %word%")
    assert (seen.count, seen.note.en, little.choices("a word")) == (3, "own", [])
    (offer,) = little.offers("%wo")
    assert (offer.text, offer.label.zh) == ("%word%", "自己")
    assert little.drawn_once("%word%", "prompt") == "and red"


WRONG = {
    "'one text'": "a list of texts is needed",
    "[1] * len(texts)": "a list of texts is needed",
    "texts[1:]": "2 texts; 3 texts are needed",
    "['x' * 200_001] * 3": "200,001 characters",
    "1 / 0": "ZeroDivisionError",
    "__import__('sys').exit(2)": "SystemExit",
}


@pytest.mark.parametrize("answer", WRONG)
def test_prompts_when_an_extension_answers_wrongly_stay_as_they_are(
    folder: Path, make_room: MakeRoom, answer: str
) -> None:
    (folder / "bad.py").write_text(f"{HEAD}    return {answer}\n", encoding="utf-8")
    room = make_room()
    params = resolved(room, prompt="a cat", batch_count=3)

    assert (params.prompt, params.drawn) == ("a cat", None)
    assert WRONG[answer] in room.fence.troubles("bad")[-1].message


def test_two_that_draw_when_both_are_there_act_one_after_the_other(
    folder: Path, make_room: MakeRoom
) -> None:
    for name in ("first", "second"):
        text = f"{HEAD}    return [f'{{t}} {name} {{s}}' for t, s in zip(texts, seeds)]\n"
        (folder / f"{name}.py").write_text(text, encoding="utf-8")
    params = resolved(make_room(), prompt="a", batch_count=2)
    assert params.prompts == ("a first 7 second 7", "a first 8 second 8")
    room = make_room(built_in=BUILT_IN_EXTENSIONS)
    every = resolved(room, prompt="{a|b}", combinatorial=True)
    assert every.prompts == ("a first 7 second 7", "b first 8 second 8")


def test_form_when_it_is_off_draws_nothing(folder: Path, make_room: MakeRoom) -> None:
    text = f"{HEAD}    return ['drawn'] * len(texts)\n@hook\ndef forms(): return [Form()]\n"
    (folder / "asked.py").write_text(text, encoding="utf-8")
    room = make_room()
    assert resolved(room, prompt="a").prompt == "a"
    acting = room.acting("txt2img", {"asked": {}}, pytest.fail)
    assert room.drawing(acting, pytest.fail)(("a",), "prompt", (1,), 0) == ["drawn"]


def test_dynamic_prompts_when_dropped_in_as_anybodys_folder_do_the_same(
    folder: Path, tmp_path: Path, make_room: MakeRoom
) -> None:
    wildcards = tmp_path / "data" / "wildcards"
    wildcards.mkdir(parents=True)
    (wildcards / "colour.txt").write_text("red\n{light|dark} blue\n", encoding="utf-8")
    (wildcards / "round.txt").write_text("__round__", encoding="utf-8")
    wish = {"prompt": "{2$$a|b|c} __colour__", "negative_prompt": "{d|e}", "batch_count": 9}
    ours = resolved(make_room(built_in=BUILT_IN_EXTENSIONS), **wish, subseed=1)
    shutil.copytree(BUILT_IN_EXTENSIONS / "dynamic_prompts", folder / "theirs")
    room = make_room()

    assert "dynamic_prompts" not in [known.name for known in room.all()]
    assert resolved(room, **wish, subseed=1) == ours
    with pytest.raises(PromptSyntaxError, match="__round__ → __round__"):
        resolved(room, prompt="__round__")
    assert room.fence.troubles("theirs") == []


def test_dynamic_prompts_when_read_lean_on_the_public_api_alone() -> None:
    for file in (BUILT_IN_EXTENSIONS / "dynamic_prompts").glob("*.py"):
        for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
            names = [one.name for one in node.names] if isinstance(node, ast.Import) else []
            if isinstance(node, ast.ImportFrom):
                names = [] if node.level else [node.module or ""]
            for name in names:
                top = name.partition(".")[0]
                assert name in PUBLIC or top in {*sys.stdlib_module_names, "yaml"}, (file, name)
