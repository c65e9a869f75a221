"""Presets, values of checkpoints, speeds, start values, and the past of a form."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from webui.errors import ParamsError, SettingsError
from webui.samplers.names import SAMPLERS_BY_NAME, SCHEDULES
from webui.services.forms import history as form_history
from webui.services.forms.history import FormHistory
from webui.services.forms.presets import Presets
from webui.services.forms.speeds import SPEEDS, speeds_of, values_for
from webui.services.forms.start_values import keep_start_values, start_values


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "presets.json"


def test_presets_when_saved_are_there_for_the_next_run(file: Path) -> None:
    Presets(file).save("  my  look ", {"steps": 30, "prompt": "x", "seed": "7", "picture": "a"})

    found = Presets(file)

    assert found.get("my look") == {"steps": 30, "prompt": "x"}, "a seed is a picture's own"
    assert found.names()[0] == ("my look", True)
    found.delete("my look")
    assert all(not is_own for _, is_own in Presets(file).names())


def test_presets_that_come_along_can_be_used_and_replaced_but_not_deleted(file: Path) -> None:
    presets = Presets(file)
    name = presets.names()[0][0]

    for each, _ in presets.names():
        values = presets.get(each)
        assert values["sampler"] in SAMPLERS_BY_NAME
        assert values["schedule"] in [info.label for info in SCHEDULES]
        assert values["width"] % 8 == values["height"] % 8 == 0
    with pytest.raises(ParamsError):
        presets.delete(name)
    presets.save(name, {"steps": 1})
    assert presets.get(name) == {"steps": 1}
    held = presets.delete(name)
    assert presets.get(name)["steps"] > 1
    assert presets.bring_in(json.dumps({"presets": {name: held}})) == [name]
    assert presets.get(name) == {"steps": 1}, "a deleted one comes back as it was"


@pytest.mark.parametrize("name", ["", "   ", "x" * 81])
def test_presets_when_the_name_is_none_are_refused(file: Path, name: str) -> None:
    with pytest.raises(ParamsError, match="name"):
        Presets(file).save(name, {})


@pytest.mark.parametrize(
    "text",
    ["", "{", "[]", "{}", '{"presets": []}', '{"presets": {"a": 1}}', "[" * 99_999, '"x"', "nan"],
)
def test_presets_when_a_file_holds_none_change_nothing(file: Path, text: str) -> None:
    presets = Presets(file)
    presets.save("a", {"steps": 3})

    with pytest.raises(ParamsError, match="holds none"):
        presets.bring_in(text)

    assert presets.get("a") == {"steps": 3}


def test_presets_when_a_name_is_taken_are_brought_in_beside_it(file: Path) -> None:
    presets = Presets(file)
    presets.save("a", {"steps": 3})

    assert presets.bring_in('{"presets": {"a": {"steps": 4}, " b ": {}}}') == ["a 2", "b"]
    assert presets.bring_in(presets.export()) == ["a", "a 2", "b"], "the same is not doubled"
    assert (presets.get("a"), presets.get("a 2")) == ({"steps": 3}, {"steps": 4})


def test_presets_when_somebody_broke_the_file_keep_it_aside(file: Path) -> None:
    file.write_text('{"presets": {"a": ')
    presets = Presets(file)
    assert [is_own for _, is_own in presets.names()] == [False] * 4

    presets.save("b", {"steps": 5})

    assert file.with_suffix(".json.bad").read_text() == '{"presets": {"a": '
    assert Presets(file).get("b") == {"steps": 5}


def test_checkpoints_when_something_is_kept_for_them_have_it(file: Path) -> None:
    Presets(file).keep_for_checkpoint("foo.safetensors", {"steps": 6, "prompt": "x", "sd_vae": "v"})

    presets = Presets(file)
    assert presets.of_checkpoint("foo.safetensors") == {"steps": 6, "sd_vae": "v"}
    assert presets.of_checkpoint("bar.safetensors") == {}
    presets.save("a", {})
    presets.keep_for_checkpoint("foo.safetensors", None)
    assert Presets(file).of_checkpoint("foo.safetensors") == {} and presets.names()[0][0] == "a"


@pytest.mark.parametrize(
    ("checkpoint", "loras", "kind", "draft_steps"),
    [
        ("dreamshaper_8.safetensors", [], "", 10),
        ("dreamshaperXL_lightningDPMSDE.safetensors", [], "Lightning", 4),
        ("sdxl_lightning_8step.safetensors", [], "Lightning", 8),
        ("sd_turbo.safetensors", [], "Turbo", 2),
        ("foo.safetensors", ["lcm-lora-sdv1-5"], "LCM", 4),
        ("foo.safetensors", ["ink", "Hyper-SD15-2steps-lora"], "Hyper", 2),
        ("hyperrealistic_v3.safetensors", ["falcma"], "", 10),
        ("hyper_realism.safetensors", ["hyper-real 8 steps"], "", 10),
        ("RealVisXL_Hyper-SDXL.safetensors", [], "Hyper", 4),
    ],
)
def test_speed_when_a_model_is_distilled_fits_it(
    checkpoint: str, loras: list[str], kind: str, draft_steps: int
) -> None:
    found = [values_for(speed, checkpoint, loras) for speed in SPEEDS]

    assert {name for _, name in found} == {kind}
    assert found[-1][0]["steps"] == draft_steps
    steps = [values["steps"] for values, _ in found]
    assert steps == sorted(steps, reverse=True)
    assert all(v["sampler"] in SAMPLERS_BY_NAME for v, _ in found)
    assert ("cfg_scale" in found[0][0]) == bool(kind)


@pytest.mark.parametrize(
    ("changed", "checkpoint", "speeds"),
    [
        ({}, "foo", ("speed",)),  # a fresh page: "Automatic" is Karras with this sampler
        ({"schedule": "Karras", "steps": 10, "cfg_scale": 3.5}, "foo", ("draft",)),
        ({"steps": 21}, "foo", ()),
        ({"sampler": "Euler"}, "foo", ()),
        ({"sampler": "of an extension"}, "foo", ()),
        ({"steps": 10}, "x_turbo", ()),
        (
            {"sampler": "Euler", "schedule": "SGM Uniform", "steps": 8, "cfg_scale": 1.0},
            "sdxl_lightning_8step", SPEEDS,
        ),
    ],
)  # fmt: skip
def test_speeds_of_a_form_are_those_with_its_values(
    changed: dict[str, object], checkpoint: str, speeds: tuple[str, ...]
) -> None:
    fresh = {"sampler": "DPM++ 2M", "schedule": "Automatic", "steps": 20, "cfg_scale": 7.0}
    assert speeds_of({**fresh, **changed}, checkpoint, []) == speeds


def test_start_values_when_a1111_wrote_them_are_read(tmp_path: Path) -> None:
    written = {
        "txt2img/Width/value": 640, "txt2img/Width/minimum": 64, "img2img/Width/value": 704,
        "customscript/sampler.py/txt2img/Sampling steps/value": 33, "txt2img/Seed/value": -1,
        "extras/Width/value": 1,
    }  # fmt: skip
    (tmp_path / "ui-config.json").write_text(json.dumps(written))

    assert start_values(tmp_path, "txt2img") == {"width": 640, "steps": 33, "seed": "-1"}
    assert start_values(tmp_path, "img2img") == {"width": 704}
    assert start_values(tmp_path, "restore") == {}


def test_start_values_when_kept_leave_the_rest_of_the_file(tmp_path: Path) -> None:
    (tmp_path / "ui-config.json").write_text(
        '{"customscript/sampler.py/txt2img/Sampling steps/value": 33, "txt2img/Width/step": 8}'
    )

    keep_start_values(tmp_path, "txt2img", {"steps": 12, "width": 768, "unknown": 1})

    found = json.loads((tmp_path / "ui-config.json").read_text())
    assert found == {
        "customscript/sampler.py/txt2img/Sampling steps/value": 12, "txt2img/Width/step": 8,
        "txt2img/Width/value": 768,
    }  # fmt: skip
    (tmp_path / "ui-config.json").write_text("{")
    assert start_values(tmp_path, "txt2img") == {}
    with pytest.raises(SettingsError, match="something else"):
        keep_start_values(tmp_path, "txt2img", {"steps": 12})


def test_past_when_stepped_through_gives_what_differs() -> None:
    past = FormHistory()
    past.keep("me", "txt2img", {"steps": 1, "prompt": ""}, {"steps": 2, "prompt": ""})
    past.keep("me", "txt2img", {}, {"steps": 2, "prompt": "x"})

    assert past.step("me", "txt2img", 1) is None
    assert past.step("me", "txt2img", -1) == {"prompt": ""}
    assert past.step("me", "txt2img", -1) == {"steps": 1}
    assert past.step("me", "txt2img", -1) is None
    assert past.step("me", "txt2img", 1) == {"steps": 2}
    past.keep("me", "txt2img", {}, {"steps": 2, "prompt": "x"})
    assert past.step("me", "txt2img", 1) == {"prompt": "x"}, "that draft was on its way"
    past.step("me", "txt2img", -1)
    past.keep("me", "txt2img", {}, {"steps": 9, "prompt": ""})
    assert past.step("me", "txt2img", 1) is None, "what was undone is gone"
    assert past.step("you", "txt2img", -1) is past.step("me", "img2img", -1) is None


def test_past_when_long_forgets_its_beginning(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(form_history, "MOST_FORMS", 2)
    past = FormHistory()
    for number in range(200):
        past.keep("me", "txt2img", {"n": -1}, {"n": number})

    steps = [past.step("me", "txt2img", -1) for _ in range(61)]
    assert steps[58] == {"n": 140} and steps[59] is None
    for other in ("a", "b"):
        past.keep(other, "txt2img", {"n": 0}, {"n": 1})
    assert past.step("me", "txt2img", 1) is None
