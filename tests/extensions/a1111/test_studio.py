"""A1111 folders in the web process: what jobs carry, what lists and settings tell, and the page."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import gradio as gr
import pytest
from fastapi import FastAPI
from fastapi.testclient import TestClient
from PIL import Image

from tests.extensions.a1111.conftest import Drop, MakeFolder
from webui.api.a1111_scripts import take_scripts
from webui.api.schemas import TextToImageBody
from webui.api.text_to_image import read_request
from webui.api.wishes import read_wish
from webui.errors import ExtensionError
from webui.hookspecs import SavedPicture
from webui.params import build
from webui.services.extensions.listing import list_extensions
from webui.services.resolve import TextToImageRequest
from webui.settings import read_settings
from webui.studio import Studio
from webui.ui import script_fields
from webui.ui.draft import count_prompts
from webui.ui.owners_page import IDS_APART
from webui.ui.page import build_page
from webui.ui.script_fields import ScriptFields
from webui.ui.words_routes import make_words_routes


@pytest.fixture
def studio(tmp_path: Path, example: Drop, script: MakeFolder) -> Iterator[Studio]:
    """A studio whose extensions folder holds three good folders and a bad one."""
    for name in ("recorder", "callbacks", "redoer"):
        example(name)
    script("import modules.made_up", "Broken")
    settings = read_settings(["--data-dir", str(tmp_path), "--use-cpu", "all"])
    made = Studio(settings, worker_command=["true"])
    yield made
    made.stop()


def test_job_when_asked_then_carries_what_scripts_are_told(studio: Studio) -> None:
    scripts = studio.extensions.scripts
    assert scripts is not None
    plain = studio.resolve(TextToImageRequest(prompt="a")).extensions["a1111"]
    assert json.loads(str(plain["arguments"])) == {"job recorder": [False, "tail", 1]}
    said = {"arguments": json.dumps({"job recorder": [True]})}
    asked = studio.resolve(TextToImageRequest(prompt="a", extensions={"a1111": said}))
    arguments = json.loads(str(asked.extensions["a1111"]["arguments"]))
    assert arguments == {"job recorder": [True, "tail", 1]}
    told = studio.extensions.message_for(asked, print)["a1111"]
    assert [Path(path).name for path, _ in told["folders"]] == ["callbacks", "recorder", "redoer"]
    assert told["options"]["recorder_suffix"] == "!" and told["options"]["first_option"] == 5


def test_lists_when_folders_lie_there_then_tell_of_all_and_why_one_is_left_out(
    studio: Studio,
) -> None:
    listed = {one["name"]: one for one in list_extensions(studio.extensions)}
    assert listed["broken"]["state"] == "left out" and "modules.made_up" in listed["broken"]["why"]
    assert listed["recorder"]["state"] == "on" and listed["recorder"]["seconds"] > 0
    assert [one["name"] for one in listed["callbacks"]["settings"]] == ["first_option"]
    scripts = studio.extensions.scripts
    assert scripts is not None
    infos = {(one["name"], one["is_img2img"]): one for one in scripts.infos()}
    assert set(infos) == {
        ("job recorder", False), ("job recorder", True), ("redo in tiles", True),
    }  # fmt: skip
    tile = infos["redo in tiles", True]["args"][0]
    assert (tile["label"], tile["value"], tile["maximum"]) == ("Tile", 64, 256)


def test_settings_when_changed_then_scripts_read_them(studio: Studio) -> None:
    studio.extensions.set_settings("recorder", {"recorder_suffix": "?"})
    scripts = studio.extensions.scripts
    assert scripts is not None and scripts.host is not None
    assert scripts.host.options.recorder_suffix == "?"
    params = studio.resolve(TextToImageRequest(prompt="a"))
    assert scripts.message(params)["a1111"]["options"]["recorder_suffix"] == "?"


@pytest.mark.parametrize("kind", ["extras", "txt2img"])
def test_pictures_when_they_are_saved_then_on_image_saved_is_told(
    studio: Studio, tmp_path: Path, kind: str
) -> None:
    Image.new("RGB", (8, 8)).save(path := tmp_path / "made.png")
    restored = build("extras", {"images": ("ab" * 32,)})
    params = restored if kind == "extras" else studio.resolve(TextToImageRequest(prompt="a"))
    studio.extensions.after_save(params, SavedPicture(1, 0, b"", "png", "Tint: 1", path=path))
    scripts = studio.extensions.scripts
    assert scripts is not None and scripts.host is not None
    told = scripts.host.modules["callbacks/a_first.py"].TOLD
    assert told == [f"saved {path}"]


def test_settings_when_a_request_overrides_them_then_the_job_carries_them(studio: Studio) -> None:
    overrides = {"recorder_suffix": "?", "CLIP_stop_at_last_layers": 2}
    body = TextToImageBody(prompt="a", override_settings=overrides)
    left, said = take_scripts(studio, body)
    assert left.override_settings == {"CLIP_stop_at_last_layers": 2}
    wish = read_wish(studio, left, read_request, scripts=said)
    own = wish.params.extensions["a1111"]
    assert json.loads(str(own["settings"])) == {"recorder_suffix": "?"}
    assert json.loads(str(own["arguments"])) == {"job recorder": [False, "tail", 1]}
    plain, nothing = take_scripts(studio, TextToImageBody(prompt="a"))
    assert nothing == {} and plain.override_settings is None
    studio.extensions.enable("recorder", False)
    assert take_scripts(studio, body) == (body, {})


def test_recipe_when_read_then_on_infotext_pasted_may_change_it(studio: Studio) -> None:
    assert studio.extensions.read_recipe({"Steps": "3"})[0]["Word"] == "pasted"


def test_extras_when_an_extension_has_steps_then_has_a_block_of_their_fields(
    studio: Studio,
) -> None:
    (known,) = [one for one in studio.extensions.loaded() if one.name == "callbacks"]
    (field,) = known.forms["extras"].fields
    assert (field.label.en, field.usual) == ("Tint strength", 0.5)
    acting = studio.extensions.acting("extras", {"callbacks": {}}, print)
    assert acting["callbacks"][field.name] == 0.5


ODD_STEPS = """
import gradio as gr
from modules import scripts_postprocessing
class Odd(scripts_postprocessing.ScriptPostprocessing):
    name = "Odd"
    def ui(self):
        return {"picture": gr.Image(), "kinds": gr.CheckboxGroup(["a", "b"], value=["b"]),
                "amount": gr.Slider(0, 9, 4, step=1, label="Amount"), "number": gr.Number(),
                "state": gr.State("kept"), "text": gr.Textbox(label="Text"),
                "which": gr.Radio(["one", "two"], value="two", type="index", label="Which")}
class Bare(scripts_postprocessing.ScriptPostprocessing):
    name = "Bare"
"""
SHOWN = ["Amount", "Text", "Which"]
NO_FIELDS: dict[str, Any] = {"fields": {}, "usual": {}, "numbered": {}}


def test_steps_when_options_name_them_then_have_fields_and_act_where_they_are_wanted(
    studio: Studio, script: MakeFolder
) -> None:
    room, change = studio.extensions, studio.settings_changes.change
    script(ODD_STEPS, "late")
    studio.refresh_extensions()

    def forms() -> dict[str, tuple[str, list[str], bool]]:
        (known,) = [one for one in room.loaded() if one.name == "late"]
        return {
            tab: (form.title.en, [one.label.en for one in form.fields], form.has_switch)
            for tab, form in known.forms.items()
        }

    def told(params: Any) -> Any:
        return room.message_for(params, print)["a1111"]["steps"]["late"]

    def asked() -> Any:
        return studio.resolve(TextToImageRequest(prompt="a"))

    on_restore = ("Odd, Bare", SHOWN, True)
    before = asked()
    assert forms() == {"extras": on_restore} and "late" not in before.extensions

    change({"postprocessing_enable_in_main_ui": "Odd, Tint, nothing of ours"})
    here = ("Odd", SHOWN, False)
    assert forms() == {"txt2img": here, "img2img": here, "extras": on_restore}
    params = asked()
    assert list(params.extensions["late"].values()) == [4, "", "two"]
    assert 0.5 in params.extensions["callbacks"].values()
    odd = {
        "fields": dict(zip(params.extensions["late"], ("amount", "text", "which"), strict=True)),
        "usual": {"picture": None, "kinds": ["b"], "number": None, "state": "kept"},
        "numbered": {"which": ["one", "two"]},
    }
    assert told(params) == {"Odd": odd}

    change({"postprocessing_enable_in_main_ui": ["Bare"]})
    assert told(params) == {"Odd": odd, "Bare": NO_FIELDS}, "the job keeps it"
    assert told(asked()) == {"Bare": NO_FIELDS}

    change({"postprocessing_enable_in_main_ui": None, "postprocessing_disable_in_extras": ["Odd"]})
    assert forms() == {"extras": ("Bare", [], True)}
    acting = room.acting("extras", {"late": {}}, print)
    assert told(build("extras", {"images": ("ab" * 32,), "extensions": acting})) == {
        "Bare": NO_FIELDS
    }
    room.enable("late", False)
    assert "late" not in room.message_for(params, lambda text: None)["a1111"]["steps"]


def test_fields_when_drawn_then_drafts_and_recipes_fill_them(studio: Studio) -> None:
    drawn = _drawn(studio, "txt2img")
    on, word, times = drawn.by_name()
    assert (on, word, times) == (
        "script job recorder 0 Job Recorder", "script job recorder 1 Word",
        "script job recorder 2 Times",
    )  # fmt: skip
    assert drawn.usual() == {on: False, word: "tail", times: 1}
    parts = drawn.by_name()
    assert drawn.read({parts[word]: "x"}) == {word: "x"}
    changes = drawn.write({on: True, word: "x", times: 9, "steps": 3})
    assert {part: change["value"] for part, change in changes.items()} == {
        parts[on]: True, parts[word]: "x",
    }  # fmt: skip
    said = drawn.pasted({"Recorder": "True", "Recorder word": "y", "Steps": "3"})
    assert said == {on: "True", word: "y"}
    assert drawn.write(said)[parts[on]]["value"] is True
    scripts = studio.extensions.scripts
    assert scripts is not None and scripts.recipe_keys() == {"Recorder", "Recorder word"}


def test_fields_when_scripts_read_numbers_of_choices_then_drafts_keep_the_choices(
    studio: Studio,
) -> None:
    drawn = _drawn(studio, "img2img")
    order = "script redo in tiles 1 Order"
    part = drawn.by_name()[order]
    assert drawn.usual()[order] == "Linear" and drawn.read({part: 1}) == {order: "Chess"}
    assert drawn.write({order: "Chess"})[part]["value"] == "Chess"
    assert drawn.write({order: "Spiral"}) == {}


def test_pictures_when_they_lie_in_a_field_of_several_then_are_kept_and_named(
    studio: Studio,
) -> None:
    drawn = _drawn(studio, "txt2img")
    field = drawn.by_name()["script job recorder 1 Word"]
    image = Image.new("RGB", (8, 8))
    values = {field: {"background": image, "layers": [(image, "one"), (object(), 2)]}}
    request = script_fields.asked(drawn, TextToImageRequest(prompt="a"), values, studio.inputs)
    own = request.extensions["a1111"]
    said = json.loads(str(own["arguments"]))["job recorder"][1]
    named = {"picture": own["picture_0"], "is_array": False}
    assert said == {"background": named, "layers": [[named, "one"], [None, 2]]}
    assert studio.inputs.path(own["picture_0"]).is_file()


def test_folder_when_another_is_switched_off_then_keeps_its_arguments(studio: Studio) -> None:
    before = studio.resolve(TextToImageRequest(prompt="a")).extensions
    studio.extensions.enable("redoer", False)
    assert studio.resolve(TextToImageRequest(prompt="a")).extensions == before


COUNTS = """
from modules import script_callbacks, sd_hijack
TOLD = []
def counted(params):
    TOLD.append((params.prompt, params.steps, params.styles, params.is_positive))
    if params.prompt == "odd":
        params.prompt = None
    else:
        params.prompt = params.prompt.replace("MACRO", "one two three four")
    assert sd_hijack.model_hijack.get_prompt_lengths(params.prompt or "")[1] == 75
script_callbacks.on_before_token_counter(counted)
"""


def test_tokens_when_a_script_wants_another_prompt_counted_then_the_page_counts_that(
    studio: Studio, script: MakeFolder
) -> None:
    script(COUNTS, "late")
    studio.refresh_extensions()
    parts: Any = SimpleNamespace(prompts=SimpleNamespace(prompt_tokens=1, negative_tokens=2))
    written = {"prompt": "a MACRO", "negative_prompt": "MACRO", "steps": 9, "styles": ["ink"]}
    shown = count_prompts(parts, studio, written)
    assert ">5/75<" in shown[1] and ">4/75<" in shown[2]
    assert ">1/75<" in count_prompts(parts, studio, {"prompt": "odd", "negative_prompt": ""})[1]
    app = FastAPI()
    app.include_router(make_words_routes(studio))
    said = {"text": "MACRO", "negative": True, "steps": 7}
    (text,) = TestClient(app).post("/words/tokens", json=said).json()["texts"]
    assert [row[0] for row in text["chunks"][0]] == ["one", "two", "three", "four"]
    scripts = studio.extensions.scripts
    assert scripts is not None and scripts.host is not None
    assert scripts.host.modules["late/main.py"].TOLD == [
        ("a MACRO", 9, ["ink"], True), ("MACRO", 9, ["ink"], False), ("odd", 20, [], True),
        ("", 20, [], False), ("MACRO", 7, [], False),
    ]  # fmt: skip
    assert scripts.notes("late") == [] and not studio.extensions.fence.troubles("late")


LATE = """
import gradio as gr
from modules import scripts
class Late(scripts.Script):
    def title(self): return "Late"
    def ui(self, is_img2img):
        return [gr.Slider(0, 9, 4, step=1, label="Depth"), gr.State("kept"),
                gr.Radio(["one", "two"], value="one", type="index", label="Which")]
class Always(scripts.Script):
    def title(self): return "Always"
    def show(self, is_img2img): return scripts.AlwaysVisible
    def ui(self, is_img2img):
        return [gr.Checkbox(True, label="On"), gr.Image(label="None of ours")]
"""


def test_folder_when_dropped_in_beside_an_open_page_then_the_page_is_built_anew(
    studio: Studio, script: MakeFolder
) -> None:
    room, built = studio.extensions, list[str]()

    def build() -> None:
        assert studio.extensions.scripts is not None
        studio.extensions.scripts.page_begins()
        built.append(",".join(_drawn(studio, "txt2img").panels))

    build()
    room.renew_page = build
    folder = script(LATE, "late")
    assert studio.refresh_extensions().new == ("late",) and built == ["", "Late"]

    def asked(**said: Any) -> dict[str, Any]:
        own = {**said, "arguments": json.dumps(said.get("arguments", {}))}
        request = TextToImageRequest(prompt="a", extensions={"a1111": own})
        carried = studio.resolve(request).extensions["a1111"]
        return {"selected": carried["selected"], **json.loads(str(carried["arguments"]))}

    usual = {"selected": "", "job recorder": [False, "tail", 1], "always": [True, None]}
    assert asked() == usual
    assert asked(selected="Late", arguments={"late": [7]}) == {
        **usual, "selected": "Late", "late": [7, "kept", 0],
    }  # fmt: skip
    studio.refresh_extensions()
    assert len(built) == 2, "nothing has changed"
    (folder.path / "javascript").mkdir()
    (folder.path / "javascript" / "late.js").touch()
    studio.refresh_extensions()
    room.enable("late", False)
    assert built == ["", "Late", "Late", ""]


def test_folder_when_loaded_then_is_noted_for_the_next_start(
    studio: Studio, script: MakeFolder
) -> None:
    note = studio.settings.folders.database.parent / "extension-loading.note"
    script(
        "from pathlib import Path\nfrom webui.extensions.note import read_note\n"
        f"SEEN = read_note(Path({str(note)!r}))\n",
        "late",
    )
    studio.refresh_extensions()
    scripts = studio.extensions.scripts
    assert scripts is not None and scripts.host is not None
    assert scripts.host.modules["late/main.py"].SEEN.plugin == "late" and not note.exists()


def test_page_when_it_cannot_be_built_anew_then_the_folder_says_so(
    studio: Studio, script: MakeFolder
) -> None:
    scripts = studio.extensions.scripts
    assert scripts is not None
    scripts.page_begins()

    def fail() -> None:
        scripts.page_begins()
        raise ExtensionError("The page could not be built anew: no.", "Restart the program.")

    studio.extensions.renew_page = fail
    script(LATE, "late")
    studio.refresh_extensions()
    (note,) = scripts.notes("late")
    assert "Restart the program" in note and scripts.notes("redoer") == []
    studio.extensions.renew_page = scripts.page_begins
    studio.refresh_extensions()
    assert scripts.notes("late") == []


def test_settings_when_changed_on_the_page_then_onchange_is_told(
    studio: Studio, script: MakeFolder
) -> None:
    script(
        "from modules import shared\nTOLD = []\n"
        "shared.opts.add_option('late_one', shared.OptionInfo(1, 'One', onchange="
        "lambda: TOLD.append(shared.opts.late_one)))\n"
        "shared.opts.onchange('sd_vae', lambda: TOLD.append(shared.opts.sd_vae), call=False)\n",
        "late",
    )
    studio.refresh_extensions()
    scripts = studio.extensions.scripts
    assert scripts is not None and scripts.host is not None
    told = scripts.host.modules["late/main.py"].TOLD
    studio.extensions.set_settings("late", {"late_one": 5})
    studio.extensions.set_settings("late", {"late_one": 5})
    studio.settings_changes.change({"sd_vae": "None"})
    assert told == [5, "None"]
    scripts.host.options.set("late_one", 6)
    assert told == [5, "None", 6] and scripts.host.options.late_one == 6


def _drawn(studio: Studio, tab: str) -> ScriptFields:
    with gr.Blocks(analytics_enabled=False):
        return script_fields.draw(studio, tab, gr.Dropdown([]))


def test_folder_when_switched_off_then_nothing_of_it_acts(studio: Studio) -> None:
    for name in ("recorder", "callbacks", "redoer"):
        studio.extensions.enable(name, False)
    assert "a1111" not in studio.resolve(TextToImageRequest(prompt="a")).extensions
    studio.extensions.enable("recorder", True)
    assert "a1111" in studio.resolve(TextToImageRequest(prompt="a")).extensions


TAB = """
import gradio as gr
from modules import script_callbacks
def tabs():
    with gr.Blocks() as page:
        gr.Button("Greet").click(lambda: "hello", [], gr.Textbox())
    return [(page, "Greeter", "greeter")]
script_callbacks.on_ui_tabs(tabs)
"""


def test_page_when_only_a_tab_comes_then_its_handlers_have_numbers_of_that_build(
    tmp_path: Path, script: MakeFolder
) -> None:
    script(TAB, "tabber")
    settings = read_settings(["--data-dir", str(tmp_path), "--use-cpu", "all"])
    studio = Studio(settings, worker_command=["true"])
    try:
        for build in (1, 2):
            blocks, _ = build_page(studio, build * IDS_APART)
            ages = {number // IDS_APART for number in blocks.fns}
            assert ages == {build} and len(blocks.fns) > 100
            assert any(
                event.fn and event.fn.__name__ == "<lambda>" for event in blocks.fns.values()
            )
    finally:
        studio.stop()
