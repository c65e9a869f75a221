"""A1111 scripts in painting jobs: every method in its order, and what they can change."""

from __future__ import annotations

import io
import json
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from PIL import Image

from tests.conftest import STARTER
from tests.extensions.a1111.conftest import POPULAR, MakeFolder
from webui.errors import ExtensionError
from webui.extensions.a1111.folder import A1111Folder
from webui.extensions.a1111.host import Places
from webui.extensions.a1111.script import JOB_METHODS
from webui.infotext import parse_infotext
from webui.options import OPTION_DEFAULTS
from webui.params import Extras, build
from webui.torch_setup import prepare_torch

prepare_torch()

from webui.model_process.painter import Painter  # noqa: E402

Drop = Callable[[str], A1111Folder]
SMALL = {
    "checkpoint": "starter", "width": 64, "height": 64, "steps": 2, "seed": 5, "subseed": 7,
    "sampler": "Euler", "prompt": "a frog",
}  # fmt: skip


class Worker:
    """A painter, and what it sends."""

    def __init__(self, place: Path) -> None:
        self.sent: list[dict[str, Any]] = []
        asked = SimpleNamespace(
            interrupted=False, should_stop=False, paused=False, clear_skip=lambda: None
        )
        sender: Any = SimpleNamespace(send=self._keep)
        settings = {"extensions_note": str(place / "note"), "device": "cpu"}
        self.painter = Painter(settings, sender, asked)  # type: ignore[arg-type]
        self.place = place

    def _keep(self, message: dict[str, Any]) -> None:
        self.sent.append(message)

    def paint(
        self,
        *folders: A1111Folder,
        selected: str = "",
        arguments: dict[str, list[Any]] | None = None,
        kind: str = "txt2img",
        inputs: dict[str, str] | None = None,
        **values: Any,
    ) -> dict[str, Any]:
        """Run a job; answers with its result."""
        said = {"selected": selected, "arguments": json.dumps(arguments or {})}
        params = build(kind, {**SMALL, **values, "extensions": {"a1111": said}})
        return self.run(params, folders, inputs or {})

    def run(
        self,
        params: Any,
        folders: Sequence[A1111Folder],
        inputs: dict[str, str],
        steps: dict[str, Any] | None = None,
    ) -> dict[str, Any]:
        """Run a request."""
        self.sent.clear()
        place = str(self.place)
        return self.painter.run(
            {
                "job": 1, "params": params.to_json(), "inputs": inputs,
                "checkpoint": {"path": str(STARTER), "stem": "starter"},
                "preview": {"enabled": False},
                "extensions": {"wanted": [], "infotext": {}, "files": {}},
                "a1111": {
                    "folders": [[str(folder.path), "1"] for folder in folders],
                    "options": OPTION_DEFAULTS, "output": place, "steps": steps or {},
                    "flags": Places(*[self.place] * 4).in_flags({}),
                    "places": dict.fromkeys(("program", "data", "models", "extensions"), place),
                },
            }
        )  # fmt: skip

    @property
    def events(self) -> list[dict[str, Any]]:
        """Of pictures."""
        return [event for event in self.sent if event["type"] == "image"]

    @property
    def pictures(self) -> list[Image.Image]:
        return [Image.open(io.BytesIO(event["image"])) for event in self.events]

    @property
    def recipes(self) -> list[dict[str, str]]:
        return [parse_infotext(event["infotext"]).params for event in self.events]

    def module(self, name: str) -> Any:
        """A loaded script."""
        scripts: Any = self.painter._scripts
        return scripts._host.modules[name]

    def told(self, name: str = "recorder/recorder.py", where: str = "TOLD") -> list[Any]:
        """What a script wrote down."""
        return getattr(self.module(name), where)

    @property
    def troubles(self) -> list[tuple[str, str]]:
        found = [event["trouble"] for event in self.sent if event["type"] == "extension"]
        return [(trouble["plugin"], trouble["moment"]) for trouble in found]


@pytest.fixture(scope="module")
def one_worker(tmp_path_factory: pytest.TempPathFactory) -> Worker:
    """A worker for all tests of this file: its model is loaded once."""
    return Worker(tmp_path_factory.mktemp("worker"))


@pytest.fixture
def worker(one_worker: Worker) -> Iterator[Worker]:
    """A worker without any folder loaded."""
    yield one_worker
    if one_worker.painter._scripts is not None:
        one_worker.painter._scripts.close()
    one_worker.painter.extensions = None


def names(told: list[Any]) -> list[str]:
    return [entry[0] for entry in told]


def test_methods_when_a_job_has_two_batches_then_are_called_in_the_documented_order(
    worker: Worker, example: Drop
) -> None:
    worker.paint(example("recorder"), arguments={"job recorder": [False, "w", 1]}, batch_count=2)
    batch = [
        "before_process_batch", "after_extra_networks_activate", "process_batch",
        "process_before_every_sampling", "post_sample", "postprocess_batch",
        "postprocess_batch_list", "postprocess_image", "postprocess_image_after_composite",
    ]  # fmt: skip
    told = worker.told()
    wanted = ["setup", "before_process", "process", *batch, *batch, "postprocess"]
    assert names(told) == wanted
    assert [JOB_METHODS.index(n) for n in batch] == sorted(JOB_METHODS.index(n) for n in batch)
    assert ("before_process", (False, "w", 1)) in told
    assert ("process", [5, 6], ["a frog", "a frog"]) in told
    assert ("process_before_every_sampling", (1, 4, 8, 8)) in told
    assert ("postprocess_batch", (1, 3, 64, 64)) in told and ("postprocess", 2) in told


def test_methods_when_there_is_a_second_pass_then_before_hr_comes_between(
    worker: Worker, example: Drop
) -> None:
    hires = {"scale": 1.25, "upscaler": "Latent", "steps": 1}
    worker.paint(example("recorder"), arguments={"job recorder": [False, "w", 1]}, hires=hires)
    told = names(worker.told())
    first = told.index("process_before_every_sampling")
    assert told[first : first + 6] == [
        "process_before_every_sampling", "before_hr", "after_extra_networks_activate",
        "process_before_every_sampling", "post_sample", "postprocess_batch",
    ]  # fmt: skip


def test_job_when_a_script_changes_it_then_is_painted_and_told_so(
    worker: Worker, example: Drop
) -> None:
    said = {"job recorder": [True, "green", 1]}
    result = worker.paint(example("recorder"), arguments=said, batch_size=2)
    assert result["extra_generation_params"]["Recorder word"] == "green"
    assert [r["Recorder each"] for r in worker.recipes] == ["n0", "n1"]
    assert {r["Steps"] for r in worker.recipes} == {"3"}
    texts = [event["infotext"].split("\n")[0] for event in worker.events]
    assert texts == ["a frog, green"] * 2
    assert worker.pictures[0].getpixel((2, 2)) == (255, 0, 0)


def test_job_when_no_script_acts_on_it_then_is_the_same_picture(
    worker: Worker, example: Drop
) -> None:
    worker.paint(example("callbacks"))
    one = worker.pictures[0].tobytes()
    worker.paint()
    assert worker.pictures[0].tobytes() == one


def test_callbacks_when_painting_then_are_told_of_every_call(worker: Worker, example: Drop) -> None:
    worker.paint(example("callbacks"))
    told = worker.told("callbacks/a_first.py")
    assert told[0] == "model_loaded"
    calls = ["cfg_denoiser {}/2", "cfg_denoised", "cfg_after_cfg"]
    assert told[1:7] == [text.format(step) for step in (0, 1) for text in calls]
    assert worker.recipes[0]["seen"] == "yes"
    assert ("callbacks", "on_model_loaded") in worker.troubles


def test_script_when_it_fails_in_every_moment_then_the_job_goes_on(
    worker: Worker, example: Drop
) -> None:
    worker.paint(
        example("crasher"), example("recorder"), arguments={"job recorder": [False, "", 0]}
    )
    assert len(worker.pictures) == 1 and names(worker.told())[-1] == "postprocess"
    assert worker.troubles == [("crasher", m) for m in ("setup", "before_process", "process")]


def test_run_when_it_paints_tile_by_tile_then_its_picture_is_the_job_s(
    worker: Worker, example: Drop, tmp_path: Path
) -> None:
    Image.new("RGB", (64, 64), "green").save(tmp_path / "in.png")
    key = "ab" * 32
    worker.paint(
        example("redoer"), example("recorder"), selected="Redo in tiles", kind="img2img",
        arguments={"redo in tiles": [64, 0, False], "job recorder": [False, "", 0]},
        init_images=(key,), inputs={key: str(tmp_path / "in.png")}, denoising_strength=0.5,
    )  # fmt: skip
    assert [picture.size for picture in worker.pictures] == [(128, 128)]
    assert worker.recipes[0]["Redo tile"] == "64" and worker.recipes[0]["Seed"] == "5"
    told = names(worker.told())
    assert told.count("process") == 4 and told.count("setup") == 1
    assert "on_mask_blend" in told


def test_run_when_it_fails_then_the_job_says_whose_it_is(
    worker: Worker, script: Callable[..., A1111Folder]
) -> None:
    text = (
        "from modules import scripts\n"
        "class Bad(scripts.Script):\n"
        "    def title(self):\n        return 'Bad'\n"
        "    def run(self, p):\n        raise SystemExit\n"
    )
    with pytest.raises(ExtensionError, match="«Bad» of the extension small"):
        worker.paint(script(text), selected="bad")


def test_p_when_a_script_makes_one_of_its_own_then_it_is_painted_inside_the_job(
    worker: Worker, script: Callable[..., A1111Folder]
) -> None:
    text = """
from modules import scripts
from modules.processing import StableDiffusionProcessingImg2Img, process_images
SEEN = []
class Again(scripts.Script):
    def title(self):
        return "Again"
    def show(self, is_img2img):
        return scripts.AlwaysVisible
    def postprocess_image(self, p, pp, *args):
        if getattr(p, "is_inner", False):
            return
        inner = StableDiffusionProcessingImg2Img(
            sd_model=p.sd_model, prompt="a red ball", negative_prompt=p.negative_prompt,
            sampler_name="Euler a", steps=2, seed=p.seeds[0], width=64, height=64, cfg_scale=3,
            init_images=[pp.image], denoising_strength=0.9, restore_faces=False, tiling=False,
        )
        inner.is_inner = True
        inner.scripts, inner.script_args = p.scripts, p.script_args
        done = process_images(inner)
        SEEN.append((pp.image.tobytes() != done.images[0].tobytes(), done.infotexts[0]))
        pp.image = done.images[0]
"""
    worker.paint(script(text))
    differs, recipe = worker.module("small/main.py").SEEN[0]
    assert differs and recipe.startswith("a red ball") and "Sampler: Euler a" in recipe
    assert worker.recipes[0]["Sampler"] == "Euler" and worker.troubles == []


def test_steps_when_an_extras_job_wants_them_then_work_over_its_pictures(
    worker: Worker, example: Drop, tmp_path: Path
) -> None:
    Image.new("RGB", (16, 16), "green").save(tmp_path / "in.png")
    key = "cd" * 32
    values = {"callbacks": {"f0_strength": 0.5}}
    params = Extras(images=(key,), extensions=values)
    steps = {"callbacks": {"Tint": {"f0_strength": "strength"}}}
    worker.run(params, [example("callbacks")], {key: str(tmp_path / "in.png")}, steps)
    (picture,) = worker.pictures
    assert picture.getpixel((3, 3)) == (255, 0, 0) and picture.getpixel((3, 12)) == (0, 128, 0)
    assert worker.events[0]["infotext"] == "Tint: 0.5"


def test_job_when_a_detailer_and_a_generator_act_then_every_picture_has_its_own(
    worker: Worker,
) -> None:
    folders = [A1111Folder(POPULAR / name) for name in ("facer", "prompts", "tagger")]
    said = {"many prompts v2": [True, 3, 0], "face fixer": [True, "Same", "a ball", 0.9, {}]}
    worker.paint(*folders, arguments=said)
    assert [event["infotext"].split("\n")[0] for event in worker.events] == [
        "one frog", "two frogs", "three frogs",
    ]  # fmt: skip
    assert [recipe["Seed"] for recipe in worker.recipes] == ["5", "6", "7"]
    assert {recipe["Template"] for recipe in worker.recipes} == {"a frog"}
    assert {recipe["FF prompt"] for recipe in worker.recipes} == {"a ball"}
    assert worker.told("facer/main.py", "SEEN") == [[True, False]] * 3
    assert worker.troubles == [("tagger", "on_model_loaded")]


ODD = """
from modules import scripts
from modules.processing import Processed, process_images
from PIL import Image
class Odd(scripts.Script):
    def title(self):
        return "Odd"
    def show(self, is_img2img):
        return scripts.AlwaysVisible
    def process(self, p):
        p.extra_generation_params["Odd"] = lambda **facts: 1 / 0
    def before_process_batch(self, p, **kwargs):
        p.prompts = ["a toad"]
    def process_batch(self, p, **kwargs):
        p.prompts = p.negative_prompts = []
class Sheet(scripts.Script):
    def title(self):
        return "Sheet"
    def run(self, p):
        done = process_images(p)
        sheet = Image.new("RGB", (8, 8))
        texts = ["the sheet", *done.infotexts]
        return Processed(p, [sheet, *done.images], p.seed, infotexts=texts, index_of_first_image=1)
class Wrong(scripts.Script):
    def title(self):
        return "Wrong"
    def run(self, p):
        return [1]
"""


def test_script_when_it_shortens_a_batch_or_fails_in_the_recipe_then_the_job_goes_on(
    worker: Worker, script: MakeFolder
) -> None:
    worker.paint(script(ODD), batch_count=2)
    assert len(worker.pictures) == 2 and "Odd" not in worker.recipes[0]
    assert worker.events[0]["infotext"].startswith("a toad")
    assert worker.troubles == [("small", "extra_generation_params Odd")] * 2


def test_arguments_when_pictures_lie_in_tables_and_lists_then_come_as_pictures(
    worker: Worker, script: MakeFolder, tmp_path: Path
) -> None:
    Image.new("RGB", (16, 8), "green").save(tmp_path / "in.png")
    key = "ef" * 32
    text = (
        "from modules import scripts\nTOLD = []\nclass Layers(scripts.Script):\n"
        "    def title(self): return 'Layers'\n"
        "    def show(self, is_img2img): return scripts.AlwaysVisible\n"
        "    def process(self, p, drawn): TOLD.append(drawn)\n"
    )
    named = {"picture": key, "is_array": False}
    said = {"layers": [{"background": named, "layers": [[named, "one"]]}]}
    params = {"selected": "", "arguments": json.dumps(said), "picture_0": key}
    worker.run(
        build("txt2img", {**SMALL, "extensions": {"a1111": params}}), [script(text)],
        {key: str(tmp_path / "in.png")},
    )  # fmt: skip
    (drawn,) = worker.told("small/main.py")
    assert drawn["background"].size == (16, 8)
    assert (drawn["layers"][0][0].size, drawn["layers"][0][1]) == ((16, 8), "one")


def test_run_when_a_sheet_stands_first_then_pictures_keep_their_own_seeds(
    worker: Worker, script: MakeFolder
) -> None:
    worker.paint(script(ODD), selected="Sheet", batch_count=2)
    assert [event["seed"] for event in worker.events] == [5, 5, 6]
    with pytest.raises(ExtensionError, match="«Wrong» of the extension again answered"):
        worker.paint(script(ODD, "again"), selected="Wrong")
