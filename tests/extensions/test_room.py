"""The web process's extensions: found, loaded, switched, asked; a bad one harms nobody."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import pytest

from tests.extensions.stores import ACTS, MakeRoom
from webui.errors import ParamsError
from webui.extensions.note import Note, label
from webui.params import TextToImage, build
from webui.samplers.names import SAMPLERS_BY_NAME
from webui.services.extensions.listing import forms_on, list_extensions
from webui.services.extensions.room import ExtensionRoom

LITTLE = Path(__file__).parent / "little"


def drop(folder: Path, name: str, files: dict[str, str]) -> Path:
    path = folder / name
    path.mkdir()
    for file, text in files.items():
        (path / file).write_text(text, encoding="utf-8")
    return path


def states(room: ExtensionRoom) -> dict[str, tuple[str, str]]:
    return {one["name"]: (one["state"], one["why"]) for one in list_extensions(room)}


def rewritten(room: ExtensionRoom, text: str = "") -> str:
    return room.rewrite(room.acting("txt2img", {}, pytest.fail), text, "prompt")


BAD = {
    "other_api": ({"extension.toml": "api = 99", "web.py": ACTS}, "version 99"),
    "no_parts": ({"extension.toml": "api = 1"}, "neither web.py nor model.py"),
    "bad_toml": ({"extension.toml": "api = ", "web.py": ACTS}, "cannot be read"),
    "deep": ({"extension.toml": "x = " + "[" * 100_000, "web.py": ACTS}, "cannot be read"),
    "odd_key": ({"extension.toml": "api = 1\ncolour = 1", "web.py": ACTS}, "colour"),
    "odd_offer": ({"extension.toml": "api = 1\n[offers]\nx = []", "web.py": ACTS}, "offers 'x'"),
    "needs": (
        {"extension.toml": 'api = 1\nrequires = ["pillow>=1", "no-such-package>=2"]',
         "web.py": ACTS},
        "no-such-package>=2",
    ),
    "needs_newer": ({"extension.toml": 'api = 1\nrequires = ["pillow>=999"]', "web.py": ACTS},
                    "pillow>=999"),
    "needs_older": ({"extension.toml": 'api = 1\nrequires = ["pillow>=1,<2"]', "web.py": ACTS},
                    "pillow>=1,<2"),
    "needs_oddly": ({"extension.toml": 'api = 1\nrequires = ["pillow at least 2"]',
                     "web.py": ACTS}, "'pillow at least 2', which is no package"),
    "needs_address": (
        {"extension.toml": 'api = 1\nrequires = ["pillow @ https://x.example/p.whl"]',
         "web.py": ACTS}, "which is no package",
    ),
    "raises": ({"extension.toml": "api = 1", "web.py": "1 / 0"}, "ZeroDivisionError"),
    "leaves": ({"extension.toml": "api = 1", "web.py": "raise SystemExit(3)"}, "SystemExit"),
    "syntax": ({"extension.toml": "api = 1", "web.py": "def"}, "SyntaxError"),
    "misspelt": (
        {"extension.toml": "api = 1",
         "web.py": "from webui.hookspecs import hook\n@hook\ndef rewrite_promt(text): ...\n"},
        "rewrite_promt",
    ),
    "heavy": ({"extension.toml": "api = 1", "web.py": "import diffusers.nothing"}, "web process"),
}  # fmt: skip


def test_bad_extensions_when_found_then_each_says_why_and_good_ones_work(
    folder: Path, make_room: MakeRoom
) -> None:
    (folder / "fine.py").write_text(ACTS.format("!"))
    for name, (files, _) in BAD.items():
        drop(folder, name, files)
    room = make_room()
    found = states(room)
    for name, (_, told) in BAD.items():
        assert found[name][0] == "broken", name
        assert told in found[name][1], (name, found[name])
    assert found["fine"] == ("on", "")
    assert rewritten(room, "a cat") == "a cat!"


def test_two_of_one_name_when_found_then_the_second_is_refused_and_names_the_first(
    tmp_path: Path, folder: Path, make_room: MakeRoom
) -> None:
    other = tmp_path / "more"
    other.mkdir()
    (folder / "same.py").write_text(ACTS.format("1"))
    (other / "Same.py").write_text(ACTS.format("2"))
    room = make_room(other)
    assert rewritten(room) == "1"
    assert states(room)["same-2"][0] == "broken"
    assert str(folder / "same.py") in states(room)["same-2"][1]


def test_extensions_when_their_names_differ_by_a_dash_only_then_keep_their_own_modules(
    make_room: MakeRoom, folder: Path
) -> None:
    web = (
        "from webui.hookspecs import hook\n@hook\ndef rewrite_prompt(text):\n"
        "    from .own import WORD\n    return text + WORD\n"
    )
    for name, word in (("one-way", " dash"), ("one_way", " line")):
        toml = "api = 1"
        drop(folder, name, {"extension.toml": toml, "web.py": web, "own.py": f"WORD = {word!r}"})
    room = make_room()
    values: Any = {"one-way": {}, "one_way": {}}
    assert room.rewrite(values, "a", "prompt") == "a dash line"


def test_folder_when_nobody_may_look_into_it_then_the_others_are_there(
    make_room: MakeRoom, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (folder / "locked").mkdir()
    drop(folder, "open", {"extension.toml": "\ufeffapi = 1", "web.py": ACTS.format("!")})
    is_file = Path.is_file

    def refused(path: Path) -> bool:
        if "locked" in path.parts[:-1]:
            raise PermissionError(13, "Permission denied")
        return is_file(path)

    monkeypatch.setattr(Path, "is_file", refused)
    listed = states(make_room())
    assert listed["open"] == ("on", "")
    assert listed["locked"][0] == "broken" and "Permission denied" in listed["locked"][1]


def test_refresh_when_files_come_change_and_go_then_only_these_are_loaded_anew(
    folder: Path, make_room: MakeRoom
) -> None:
    (folder / "one.py").write_text(ACTS.format("1"))
    room = make_room()
    (folder / "two.py").write_text(ACTS.format("2"))
    (folder / "one.py").write_text(ACTS.format("one"))
    found = room.refresh()
    assert (found.new, found.changed, found.gone) == (("two",), ("one",), ())
    assert rewritten(room) == "one2"
    (folder / "one.py").unlink()
    assert room.refresh().gone == ("one",)
    assert rewritten(room) == "2"


def test_refresh_when_a_worker_part_in_use_changed_then_the_worker_must_restart(
    folder: Path, make_room: MakeRoom
) -> None:
    path = drop(folder, "mine", {"extension.toml": "api = 1", "model.py": "x = 1"})
    room = make_room()
    (path / "model.py").write_text("x = 22")
    assert not room.refresh().restarts_worker  # no job has had it yet
    params = TextToImage(extensions={"mine": {}})
    assert [one["name"] for one in room.message_for(params, pytest.fail)["extensions"]["wanted"]]
    (path / "model.py").write_text("x = 333")
    assert room.refresh().restarts_worker


def test_enable_when_switched_then_lasts_over_a_start_and_is_not_for_unknown_ones(
    folder: Path, make_room: MakeRoom
) -> None:
    (folder / "one.py").write_text(ACTS.format("1"))
    room = make_room()
    room.enable("one", False)
    assert (rewritten(room), states(room)["one"][0]) == ("", "off")
    again = make_room()
    assert rewritten(again) == ""
    again.enable("one", True)
    assert rewritten(again) == "1"
    with pytest.raises(ParamsError, match="No extension is called"):
        room.enable("nobody", True)


def test_enable_when_switched_off_then_the_others_keep_their_places(
    folder: Path, make_room: MakeRoom
) -> None:
    for name in ("one", "two"):
        (folder / f"{name}.py").write_text(ACTS.format(name))
    room = make_room()
    room.enable("one", False)
    assert [known.name for known in room.all()] == ["one", "two"]


@pytest.mark.parametrize(("switched_off", "found"), [("all", ""), ("extra", ""), ("", "1")])
def test_flags_when_given_then_nothing_of_a_person_is_loaded(
    folder: Path, make_room: MakeRoom, switched_off: str, found: str
) -> None:
    (folder / "one.py").write_text(ACTS.format("1"))
    assert rewritten(make_room(switched_off=switched_off)) == found


def test_failures_when_too_many_then_left_out_until_refreshed(
    folder: Path, make_room: MakeRoom
) -> None:
    text = (
        "from webui.hookspecs import hook\n@hook\ndef rewrite_prompt(text): return text.nothing\n"
    )
    (folder / "one.py").write_text(text)
    room = make_room()
    for _ in range(3):
        assert rewritten(room, "a") == "a"
    assert states(room)["one"][0] == "left out"
    assert room.acting("txt2img", {}, pytest.fail) == {}
    room.refresh(tries_again=True)
    assert states(room)["one"] == ("on", "")


def test_packages_when_asked_for_as_pip_does_then_are_found(
    folder: Path, make_room: MakeRoom
) -> None:
    lines = (
        "Pillow[fpx] >=1, !=2.0", "numpy~=2.0; python_version >= '3.0'", "typing-extensions",
        "no-such-package>=2; python_version < '3.0'",
    )  # fmt: skip
    drop(folder, "asks", {"extension.toml": f"api = 1\nrequires = {list(lines)}", "web.py": ACTS})
    assert states(make_room())["asks"] == ("on", "")


def test_start_when_the_last_one_died_while_loading_then_that_extension_is_left_out(
    tmp_path: Path, folder: Path, make_room: MakeRoom
) -> None:
    (folder / "one.py").write_text(ACTS.format("1"))
    (folder / "two.py").write_text(ACTS.format("2"))
    Note(tmp_path / "notes" / "extension-loading.note").begin(label("one", "loading", 10))
    room = make_room()
    assert rewritten(room) == "2"
    assert "the program ended while it was loaded" in states(room)["one"][1]
    assert rewritten(make_room()) == "12"  # told once; the next start tries again


def test_blame_when_the_worker_died_then_names_who_was_at_work_and_leaves_them_out(
    folder: Path, make_room: MakeRoom
) -> None:
    (folder / "one.py").write_text(ACTS.format("1"))
    room = make_room()
    assert room.blame() == ""
    Note(room.worker_note).begin(label("one", "before_step", 60))
    assert "The extension one was at work, in before_step" in room.blame()
    assert rewritten(room) == ""
    told: list[str] = []
    room.message_for(TextToImage(extensions={"one": {}}), told.append)
    assert told == ["The extension one was left out: before_step: the model process ended in it."]


def test_acting_when_forms_are_switched_then_by_tab_and_with_settings(make_room: MakeRoom) -> None:
    room = make_room(LITTLE)
    warned: list[str] = []
    usual = {"word": "kept", "loud": False, "how": "soft", "most": 3}
    assert room.acting("txt2img", {}, pytest.fail).keys() == {"shouted", "steps", "own_work"}
    found = room.acting("img2img", {"words_kept": {"word": "x"}, "gone": {}}, warned.append)
    assert found["words_kept"] == {**usual, "word": "x"}
    assert "shouted" not in found  # its form stands on txt2img alone
    assert warned == ["The extension gone was left out: it is not here, or switched off."]
    room.set_settings("words_kept", {"most": 5})
    assert room.acting("txt2img", {"words_kept": {}}, pytest.fail)["words_kept"]["most"] == 5
    with pytest.raises(ParamsError):
        room.acting("txt2img", {"words_kept": {"how": "sideways"}}, pytest.fail)
    with pytest.raises(ParamsError):
        room.set_settings("words_kept", {"most": 50})


def test_moments_of_a_request_when_asked_then_change_it_and_the_recipe_goes_round(
    make_room: MakeRoom,
) -> None:
    room = make_room(LITTLE)
    acting = room.acting("txt2img", {"words_kept": {"word": "kept"}}, pytest.fail)
    assert room.rewrite(acting, "a cat", "prompt") == "A CAT, kept"
    assert room.rewrite(acting, "blur", "negative_prompt") == "blur"
    params = build("txt2img", {"steps": 4, "extensions": acting})
    assert getattr(room.resolved(params), "steps", 0) == 5
    pairs = room.message_for(params, pytest.fail)["extensions"]["infotext"]
    assert pairs == {"Kept word": "kept"}  # as usual, but the switch was on
    changed, found = room.read_recipe({"Old word": "old"})
    assert (changed["Kept word"], found["words_kept"]) == ("old", {"word": "old"})
    too_loud = room.acting("txt2img", {"words_kept": {"loud": True}}, pytest.fail)
    params = build("txt2img", {"steps": 4, "extensions": too_loud})
    assert room.resolved(params) == params  # 0 steps are out of range
    assert "steps" in room.fence.troubles("words_kept")[-1].message


def test_offers_when_loaded_then_stand_in_the_lists_until_switched_off(make_room: MakeRoom) -> None:
    room = make_room(LITTLE)
    assert "Little Euler" in SAMPLERS_BY_NAME
    assert room.offered("upscalers") == ("Little larger",)
    room.enable("offers", False)
    assert "Little Euler" not in SAMPLERS_BY_NAME
    assert room.offered("upscalers") == ()


def test_nothing_installed_when_asked_then_jobs_carry_nothing(make_room: MakeRoom) -> None:
    room = make_room()
    assert (room.acting("txt2img", {}, pytest.fail), room.recipe_keys()) == ({}, set())
    assert room.message_for(TextToImage(), pytest.fail) == {}


def test_forms_when_listed_then_hold_what_the_page_draws(tmp_path: Path, folder: Path,
                                                         make_room: MakeRoom) -> None:  # fmt: skip
    lora = tmp_path / "models" / "Lora" / "sub"
    lora.mkdir(parents=True)
    (lora / "a.safetensors").write_bytes(b"")
    (folder / "file.py").write_text(
        "from webui.hookspecs import *\n@hook\ndef forms():\n"
        "    return [Form(fields=(ModelFile(name='net', folder='Lora'),))]\n"
    )
    (form,) = forms_on(make_room(), "txt2img")
    assert (form["name"], form["files"]) == ("file", {"net": ["sub/a.safetensors"]})
    assert "diffusers.nothing" not in sys.modules


def test_contents_when_an_extension_lies_elsewhere_are_the_same_until_it_changes(
    tmp_path: Path, folder: Path, make_room: MakeRoom
) -> None:
    files = {"extension.toml": "api = 1", "web.py": ACTS.format(1)}
    waves = drop(folder, "waves", files)
    drop(folder, "hills", {**files, "web.py": ACTS.format(2)})
    room = make_room()
    before = room.contents()
    assert set(before) == {"waves", "hills"} and before["waves"] != before["hills"]
    assert room.contents(["waves", "gone"]) == {"waves": before["waves"]}
    waves.rename(tmp_path / "waves")
    waves.symlink_to(tmp_path / "waves")
    room.refresh()
    assert room.contents() == before
    (waves / "web.py").write_text(ACTS.format(20), encoding="utf-8")
    room.refresh()
    after = room.contents()
    assert after["waves"] != before["waves"] and after["hills"] == before["hills"]
