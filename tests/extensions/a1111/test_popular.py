"""Five folders that do what popular extensions do, in their words: they load, show and act."""

from __future__ import annotations

import shutil
from collections.abc import Iterator

import pytest
from fastapi import FastAPI
from fastapi.testclient import TestClient

from tests.extensions.a1111.conftest import POPULAR
from webui.services.extensions.listing import list_extensions
from webui.settings import read_settings
from webui.studio import Studio

NAMES = ("aspects", "facer", "prompts", "remover", "tagger")
OFF = {"many prompts v2": [False, 3, 0], "face fixer": [False, "Same", "", 0.4, {}]}


@pytest.fixture(scope="module")
def studio(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Studio]:
    """A studio with all five."""
    data = tmp_path_factory.mktemp("data")
    shutil.copytree(POPULAR, data / "extensions")
    settings = read_settings(["--data-dir", str(data), "--use-cpu", "all"])
    made = Studio(settings, worker_command=["true"])
    yield made
    made.stop()


def test_folders_when_loaded_then_none_is_left_out_and_all_fields_are_there(studio: Studio) -> None:
    listed = {one["name"]: one for one in list_extensions(studio.extensions)}
    assert {name: listed[name]["state"] for name in NAMES} == dict.fromkeys(NAMES, "on")
    scripts = studio.extensions.scripts
    assert scripts is not None
    assert scripts.usual("txt2img") == {**OFF, "aspects": [512, 0, ["a"], None, None]}
    told = [(name, t["moment"]) for name in NAMES for t in listed[name]["troubles"]]
    assert told == [("facer", "on_ui_settings")]
    (remover,) = [one for one in studio.extensions.loaded() if one.name == "remover"]
    assert [one.label.en for one in remover.fields.values()] == ["Remover", "Model", "Level"]


def test_settings_when_their_keys_have_capitals_or_values_are_lists_then_are_kept(
    studio: Studio,
) -> None:
    scripts = studio.extensions.scripts
    assert scripts is not None and scripts.host is not None
    opts = scripts.host.options
    assert (opts.tag_File, opts.ff_kept, opts.FF_Colour) == ("a.csv", ["a"], "#ff0000")
    opts.set("tag_File", "None")
    opts.set("ff_kept", ["b", "a"])
    assert (opts.tag_File, opts.ff_kept) == ("None", ["b", "a"])
    kept = studio.options["extension_settings"]
    assert list(kept["tagger"].values()) == ["None", "{}"] and kept["facer"]["ff_kept"] == "b, a"


def test_routes_when_added_then_answer_with_settings(studio: Studio) -> None:
    scripts = studio.extensions.scripts
    assert scripts is not None and scripts.host is not None
    app = FastAPI()
    scripts.host.callbacks.call("app_started", None, app)
    assert TestClient(app).get("/tagapi/v1/file").json() == scripts.host.options.tag_File
