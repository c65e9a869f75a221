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
        self.choices: dict[str, Any] = {"checkpoints": {}, "vaes": [], "loras": {}}

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
        **options: Any,
    ) -> dict[str, Any]:
        """Run a request."""
        self.sent.clear()
        place = str(self.place)
        checkpoints = self.choices["checkpoints"].values()
        return self.painter.run(
            {
                "job": 1, "params": params.to_json(), "inputs": inputs,
                "checkpoint": {"path": str(STARTER), "stem": "starter"},
                "preview": {"enabled": False}, "choices": self.choices,
                "extensions": {"wanted": [], "infotext": {}, "files": {}},
                "a1111": {
                    "folders": [[str(folder.path), "1"] for folder in folders],
                    "options": {**OPTION_DEFAULTS, **options},
                    "output": place, "steps": steps or {},
                    "flags": Places(*[self.place] * 4).in_flags({}),
                    "places": dict.fromkeys(("program", "data", "models", "extensions"), place),
                    "names": {"checkpoints": [
                        {"title": f"{one['stem']} [00]", "name": one["name"],
                         "filename": one["path"]} for one in checkpoints
                    ]},
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
        "postprocess_batch_list", "postprocess_image", "postprocess_maskoverlay",
        "postprocess_image_after_composite",
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


TINT = {"fields": {"f0_strength": "strength"}, "usual": {}, "numbered": {}}
NO_FIELDS: dict[str, Any] = {"fields": {}, "usual": {}, "numbered": {}}


def test_steps_when_an_extras_job_wants_them_then_work_over_its_pictures(
    worker: Worker, example: Drop, tmp_path: Path
) -> None:
    Image.new("RGB", (16, 16), "green").save(tmp_path / "in.png")
    key = "cd" * 32
    values = {"callbacks": {"f0_strength": 0.5}}
    params = Extras(images=(key,), extensions=values)
    steps = {"callbacks": {"Tint": TINT}}
    worker.run(params, [example("callbacks")], {key: str(tmp_path / "in.png")}, steps)
    (picture,) = worker.pictures
    assert picture.getpixel((3, 3)) == (255, 0, 0) and picture.getpixel((3, 12)) == (0, 128, 0)
    assert worker.events[0]["infotext"] == "Tint: 0.5"


SPLIT = """
from modules import scripts_postprocessing
class Split(scripts_postprocessing.ScriptPostprocessing):
    name = "Split"
    order = 100
    def ui(self):
        return {}
    def process(self, pp):
        half = pp.image.width // 2
        pp.caption = " a frog "
        right = pp.create_copy(pp.image.crop((half, 0, 2 * half, pp.image.height)),
                               nametags=["half"], disable_processing=True)
        pp.image = pp.image.crop((0, 0, half, pp.image.height))
        pp.nametags.append("half")
        pp.info["Split"] = "yes"
        right.caption += " right"
        pp.caption = None
        pp.extra_images = [right, pp.image.copy()]
"""


def test_steps_when_one_adds_pictures_then_they_go_on_and_are_kept_under_their_names(
    worker: Worker, example: Drop, script: MakeFolder, tmp_path: Path
) -> None:
    Image.new("RGB", (16, 16), "green").save(tmp_path / "in.png")
    keys = ("cd" * 32, "ef" * 32)
    values = {"callbacks": {"f0_strength": 0.5}, "small": {}}
    params = Extras(images=keys, names=("one.png", "two.png"), extensions=values)
    steps = {"callbacks": {"Tint": TINT}, "small": {"Split": NO_FIELDS}}
    inputs = dict.fromkeys(keys, str(tmp_path / "in.png"))
    worker.run(params, [example("callbacks"), script(SPLIT)], inputs, steps)
    assert [event["index"] for event in worker.events] == [0, 2, 3, 1, 4, 5]
    assert [event["facts"]["basename"] for event in worker.events][:3] == [
        "one-half-tint", "one-half", "one-half-tint-2",
    ]  # fmt: skip
    assert {picture.size for picture in worker.pictures} == {(8, 16)}
    tops = [picture.convert("RGB").getpixel((3, 3)) for picture in worker.pictures]
    assert tops == [(255, 0, 0), (0, 128, 0), (255, 0, 0)] * 2
    captions = [event["facts"].get("caption") for event in worker.events]
    assert captions == [None, "a frog  right", None] * 2
    texts = [event["infotext"] for event in worker.events]
    assert texts == ["Split: yes, Tint: 0.5", "", "Split: yes, Tint: 0.5"] * 2


WHOLE = """
from modules import scripts_postprocessing
TOLD = []
class Whole(scripts_postprocessing.ScriptPostprocessing):
    name = "Whole"
    order = 100
    def ui(self):
        return {}
    def image_changed(self):
        TOLD.append("another")
    def process_firstpass(self, pp, amount, which, how):
        TOLD.append("first")
    def process(self, pp, amount, which, how):
        TOLD.append((pp.image.getpixel((3, 3)) == (255, 0, 0), amount, which, how))
        if len(TOLD) == 3:
            pp.info["Whole"] = how
        pp.caption, pp.nametags = "not here", ["not here"]
        pp.extra_images = [pp.image.copy()]
"""


@pytest.mark.parametrize("first", ["Whole", "Tint"])
def test_steps_when_wanted_in_painting_then_every_picture_goes_through_them(
    worker: Worker, example: Drop, script: MakeFolder, first: str
) -> None:
    whole = {
        "fields": {"f0_amount": "amount", "f1_which": "which"}, "usual": {"how": "well"},
        "numbered": {"which": ["one", "two"]},
    }  # fmt: skip
    steps = {"callbacks": {"Tint": TINT}, "small": {"Whole": whole}, "absent": {"No": TINT}}
    values = {
        "callbacks": {"f0_strength": 0.5},
        "small": {"f0_amount": 3, "f1_which": "two"},
        "a1111": {},
    }
    params = build("txt2img", {**SMALL, "batch_size": 2, "extensions": values})
    folders = [example("callbacks"), script(WHOLE)]
    worker.run(params, folders, {}, steps, postprocessing_operation_order=[first])
    tops = [picture.convert("RGB").getpixel((3, 3)) for picture in worker.pictures]
    is_tinted = first == "Tint"
    assert tops[:2] == [(255, 0, 0)] * 2 and len(tops) == 4
    assert worker.told("small/main.py") == ["another", "first", (is_tinted, 3, 1, "well")] * 2
    told = [(recipe.get("Tint"), recipe.get("Whole")) for recipe in worker.recipes[:2]]
    assert told == [("0.5", "well"), ("0.5", None)]
    assert all("caption" not in event["facts"] for event in worker.events)
    assert worker.troubles == [("callbacks", "on_model_loaded")]


def test_steps_when_a_script_paints_inside_the_job_then_only_its_own_pictures_go_through_them(
    worker: Worker, example: Drop, script: MakeFolder
) -> None:
    text = """
from copy import copy
from modules import scripts
from modules.processing import process_images
SEEN = []
class Again(scripts.Script):
    def title(self):
        return "Again"
    def show(self, is_img2img):
        return scripts.AlwaysVisible
    def postprocess_image(self, p, pp, *args):
        if not getattr(p, "is_inner", False):
            inner = copy(p)
            inner.is_inner = True
            SEEN.append(process_images(inner).images[0].getpixel((3, 3)))
"""
    values = {"callbacks": {"f0_strength": 0.5}, "a1111": {}}
    params = build("txt2img", {**SMALL, "extensions": values})
    folders = [example("callbacks"), script(text)]
    worker.run(params, folders, {}, {"callbacks": {"Tint": TINT}})
    assert worker.pictures[0].getpixel((3, 3)) == (255, 0, 0)
    (inner,) = worker.told("small/main.py", "SEEN")
    assert inner != (255, 0, 0)


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


GRID = """
from copy import copy
import gradio as gr
import modules.scripts as scripts
import modules.shared as shared
from modules import errors, images, processing, sd_models, sd_samplers, sd_schedulers, sd_vae
from modules.processing import Processed, process_images
from modules.shared import opts, state
from modules.ui_components import ToolButton
TOLD = []
class Kept:
    def __enter__(self):
        pass
    def __exit__(self, *error):
        sd_models.reload_model_weights()
        sd_vae.reload_vae_weights()
def to_checkpoint(p, text):
    info = sd_models.get_closet_checkpoint_match(text)
    p.override_settings["sd_model_checkpoint"] = info.name
class Grid(scripts.Script):
    def title(self):
        return "Grid of axes"
    def ui(self, is_img2img):
        return [gr.Textbox(label="Checkpoints"), ToolButton("f")]
    def run(self, p, texts, _):
        processing.fix_seed(p)
        assert sd_samplers.samplers_map and sd_schedulers.schedulers and opts.return_grid in (0, 1)
        names = texts.split(",")
        state.job_count = len(names) * p.n_iter
        shared.total_tqdm.updateTotal(len(names) * p.steps)
        state.grid_x = names
        whole, grid_texts = None, []
        with Kept():
            for text in names:
                pc = copy(p)
                pc.styles = pc.styles[:]
                to_checkpoint(pc, text)
                try:
                    res = process_images(pc)
                except Exception as err:
                    errors.display(err, "painting a cell")
                    res = Processed(p, [], p.seed, "")
                TOLD.append((opts.sd_model_checkpoint, shared.sd_model.sd_checkpoint_info.name))
                if whole is None:
                    whole = copy(res)
                    whole.images, whole.infotexts = [], []
                    pc.extra_generation_params = {**pc.extra_generation_params, "Axes": texts}
                    grid_texts.append(processing.create_infotext(
                        pc, pc.all_prompts, pc.all_seeds, pc.all_subseeds))
                whole.images += res.images
                whole.infotexts += res.infotexts
            grid = images.image_grid(whole.images, rows=1)
            labels = [[images.GridAnnotation(name)] for name in names]
            grid = images.draw_grid_annotations(
                grid, p.width, p.height, labels, [[images.GridAnnotation()]], 0)
            whole.images.insert(0, grid)
            whole.infotexts[0:0] = grid_texts
            whole.index_of_first_image = 1
        return whole
class Other(scripts.Script):
    def title(self):
        return "Other"
    def run(self, p):
        opts.data["CLIP_stop_at_last_layers"] = 2
        p.prompt = "a frog <lora:brought:1>"
        opts.sd_model_checkpoint = "other [00]"
        sd_models.reload_model_weights()
        first = process_images(copy(p))
        sd_models.load_model(sd_models.checkpoints_list["starter [00]"])
        p.override_settings["sd_vae"] = "made up"
        return first if p.seed % 2 else process_images(p)
"""


@pytest.fixture
def two_checkpoints(worker: Worker, tmp_path: Path) -> Worker:
    """A worker whose scripts may switch between two checkpoints of other weights."""
    from safetensors.torch import load_file, save_file

    tensors = load_file(STARTER)
    name = next(n for n in tensors if n.endswith("out.2.bias"))
    save_file({**tensors, name: tensors[name] + 0.5}, other := tmp_path / "other.safetensors")
    files = {"starter": STARTER, "other": other}
    worker.choices = {
        "checkpoints": {
            name: {
                "name": name, "stem": name, "path": str(path), "sha256": None, "vae": None,
                "usual_vae": None,
            }
            for name, path in files.items()
        },
        "vaes": [], "loras": {"brought": {"path": str(tmp_path / "no file"), "hash": None}},
    }  # fmt: skip
    return worker


def test_run_when_it_names_other_checkpoints_then_each_paints_and_the_job_s_comes_back(
    two_checkpoints: Worker, script: MakeFolder
) -> None:
    worker, folder = two_checkpoints, script(GRID)
    worker.paint(folder)
    alone = worker.pictures[0].tobytes()
    said = {"grid of axes": ["other,starter [00]", None]}
    worker.paint(folder, selected="Grid of axes", arguments=said)
    grid, other, own = worker.pictures
    assert own.tobytes() == alone and other.tobytes() != alone
    assert grid.width == 128 and worker.recipes[0]["Axes"] == "other,starter [00]"
    assert [recipe["Model"] for recipe in worker.recipes] == ["other", "other", "starter"]
    assert [event["facts"]["model_name"] for event in worker.events] == [
        "starter", "other", "starter",
    ]  # fmt: skip
    assert worker.told("small/main.py") == [(None, "other"), (None, "starter")]
    worker.paint(folder)
    assert worker.pictures[0].tobytes() == alone


def test_run_when_it_switches_for_the_whole_job_then_settings_and_networks_follow(
    two_checkpoints: Worker, script: MakeFolder
) -> None:
    worker, folder = two_checkpoints, script(GRID)
    worker.paint(folder, selected="Other")
    assert (worker.recipes[0]["Model"], worker.recipes[0]["Clip skip"]) == ("other", "2")
    told = " ".join(event["message"] for event in worker.sent if event["type"] == "warning")
    assert "no file" in told, "the LoRA that the script brought was looked for"
    with pytest.raises(ExtensionError, match="the VAE 'made up', which is not here"):
        worker.paint(folder, selected="Other", seed=6)


OVERLAYS = """
from modules import scripts
from PIL import Image
TOLD = []
class Over(scripts.Script):
    def title(self):
        return "Over"
    def show(self, is_img2img):
        return scripts.AlwaysVisible
    def postprocess_maskoverlay(self, p, ppmo, how):
        over = ppmo.overlay_image
        TOLD.append((ppmo.index, ppmo.mask_for_overlay.getpixel((1, 1)), over.getpixel((1, 1))[3],
                     over.getpixel((60, 60))))
        if how == "red":
            over.paste((255, 0, 0, 255), (0, 0, 8, 8))
        elif how == "none":
            ppmo.overlay_image = None
"""


def test_mask_overlay_when_a_script_changes_it_then_the_picture_is_pasted_so(
    worker: Worker, script: MakeFolder, tmp_path: Path
) -> None:
    Image.new("RGB", (64, 64), "green").save(tmp_path / "in.png")
    mask = Image.new("L", (64, 64))
    mask.paste(255, (0, 0, 32, 32))
    mask.save(tmp_path / "mask.png")
    inputs = {"ab" * 32: str(tmp_path / "in.png"), "cd" * 32: str(tmp_path / "mask.png")}
    folder, corners = script(OVERLAYS), dict[str, Any]()
    for how in ("", "red", "none"):
        worker.paint(
            folder, kind="img2img", inputs=inputs, init_images=("ab" * 32,),
            inpaint={"mask": "cd" * 32, "only_masked": False, "blur_x": 0, "blur_y": 0},
            arguments={"over": [how]}, denoising_strength=0.9,
        )  # fmt: skip
        picture = worker.pictures[0].convert("RGB")
        corners[how] = picture.getpixel((1, 1)), picture.getpixel((60, 60))
    assert worker.told("small/main.py") == [(0, 255, 0, (0, 128, 0, 255))] * 3
    painted, kept = corners[""]
    assert kept == (0, 128, 0) and painted != kept
    assert corners["red"] == ((255, 0, 0), (0, 128, 0))
    assert corners["none"][0] == painted and corners["none"][1] != kept


NOISES = """
from modules import script_callbacks
TOLD, HOW = [], ["look"]
def noisy(params):
    TOLD.append((HOW[0], tuple(params.xi.shape), bool((params.xi - params.x).std() > 0)))
    if HOW[0] == "in place":
        params.noise.zero_()
    elif HOW[0] == "anew":
        params.noise = params.noise * 0
    elif HOW[0] == "by hand":
        params.xi = params.xi + params.noise * 0.5
        params.noise = params.noise * 0
    elif HOW[0] == "odd":
        params.noise = params.xi = "no noise"
script_callbacks.on_extra_noise(noisy)
"""


def test_extra_noise_when_a_script_changes_it_then_the_picture_is_painted_so(
    worker: Worker, script: MakeFolder, tmp_path: Path
) -> None:
    Image.new("RGB", (64, 64), "green").save(tmp_path / "in.png")
    key, folder = "ab" * 32, script(NOISES)

    def painted(how: str, extra_noise: float = 0.5) -> bytes:
        if how != "look":
            worker.module("small/main.py").HOW[0] = how
        worker.paint(
            folder, kind="img2img", inputs={key: str(tmp_path / "in.png")}, init_images=(key,),
            extra_noise=extra_noise, denoising_strength=0.9,
        )  # fmt: skip
        return worker.pictures[0].tobytes()

    without, noisy = painted("look", 0.0), painted("look")
    assert without != noisy
    assert painted("in place") == painted("anew") == without
    assert painted("by hand") == painted("odd") == noisy
    hows = ("look", "in place", "anew", "by hand", "odd")
    assert worker.told("small/main.py") == [(how, (1, 4, 8, 8), True) for how in hows]
    assert worker.troubles == [] and worker.recipes[0]["Extra noise"] == "0.5"


def test_extra_noise_when_it_is_of_the_second_pass_then_is_told_of_that_alone(
    worker: Worker, script: MakeFolder
) -> None:
    hires = {"scale": 1.25, "upscaler": "Latent", "steps": 1, "extra_noise": 0.2}
    worker.paint(script(NOISES), hires=hires)
    assert worker.told("small/main.py") == [("look", (1, 4, 10, 10), True)]


def test_extra_noise_when_a_script_wants_it_in_the_second_pass_then_it_is_put_on(
    worker: Worker, script: MakeFolder
) -> None:
    text = """
from modules import scripts
class Noisy(scripts.Script):
    def title(self):
        return "Noisy"
    def show(self, is_img2img):
        return scripts.AlwaysVisible
    def before_process(self, p):
        p.override_settings["img2img_extra_noise"] = 0.4
"""
    hires = {"scale": 1.25, "upscaler": "Latent", "steps": 1}
    worker.paint(script(NOISES + text), hires=hires)
    assert len(worker.told("small/main.py")) == 1
    assert worker.recipes[0]["Extra noise"] == "0.4"


SETTING = """
from modules import scripts, shared
TOLD = []
shared.opts.add_option("small_word", shared.OptionInfo("usual", "Word"))
class Says(scripts.Script):
    def title(self):
        return "Says"
    def show(self, is_img2img):
        return scripts.AlwaysVisible
    def process(self, p):
        TOLD.append((shared.opts.small_word, p.override_settings.get("small_word")))
"""


def test_settings_of_folders_when_a_job_has_its_own_then_hold_for_that_job_alone(
    worker: Worker, script: MakeFolder
) -> None:
    folder, own = script(SETTING), {"settings": json.dumps({"small_word": "mine"})}
    worker.run(build("txt2img", {**SMALL, "extensions": {"a1111": own}}), [folder], {})
    assert not [event for event in worker.sent if event["type"] == "warning"]
    worker.paint(folder)
    assert worker.told("small/main.py") == [("mine", "mine"), ("usual", None)]
