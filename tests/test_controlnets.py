"""ControlNets from the catalog to a picture's recipe and back: names, memory, verdicts, pasting."""

from __future__ import annotations

import hashlib
import io
import json
import shutil
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from PIL import Image

from tests.checkpoints.model_files import SomeFolders, write_raw
from webui.checkpoints.catalog import Catalog
from webui.errors import CheckpointError, CheckpointNotFoundError, ParamsError
from webui.infotext import parse_infotext
from webui.library.inputs import Inputs
from webui.params import ControlUnit, MakeMap, TextToImage
from webui.preprocessors.recipe import read_units, unit_pairs
from webui.services.control_maps import MadeMaps
from webui.services.controlnets import ControlNets
from webui.services.costs.job_work import CONTROL_SHARE, work_of
from webui.services.gallery.replay import judge
from webui.torch_setup import prepare_torch
from webui.ui import control_panel

prepare_torch()

import torch  # noqa: E402

from tests.control_files import controlnet_for, over_unet, stated, write  # noqa: E402
from tests.heard import Heard  # noqa: E402
from tests.map_networks.small_map_networks import saved_state, small_anything  # noqa: E402
from webui.checkpoints.load import load_part  # noqa: E402
from webui.model_process.loaded_models import LoadedModels, ModelPlan  # noqa: E402
from webui.model_process.painter import Painter  # noqa: E402
from webui.pipelines.placement import NetworkPart  # noqa: E402

KEY = hashlib.sha256(b"sketch").hexdigest()
CANNY = "control_v11p_sd15_canny"


@pytest.fixture(scope="module")
def file(starter_checkpoint: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    control = controlnet_for(load_part(starter_checkpoint, "unet"))
    return write(control, tmp_path_factory.mktemp("control") / f"{CANNY}.safetensors")


@pytest.fixture
def catalog(file: Path, tmp_path: Path) -> Any:
    folder = tmp_path / "models" / "ControlNet"
    (folder / "xl").mkdir(parents=True)
    shutil.copy(file, folder)
    write_raw(folder / "xl" / "diffusers_xl_depth.safetensors", {})
    tiny = {"lllite_unet_x": {"dtype": "F16", "shape": [1], "data_offsets": [0, 2]}}
    write_raw(folder / "kohya_lllite_xl.safetensors", tiny, b"\0\0")
    made = Catalog(SomeFolders((tmp_path / "models",)), tmp_path / "facts.sqlite3")
    yield made
    made.close()


def test_names_when_asked_in_any_form_then_mean_the_file(catalog: Catalog) -> None:
    nets = ControlNets(catalog)
    record = nets.find(CANNY)
    title = nets.title(record)
    assert title == f"{CANNY} [{catalog.with_old_hash(record).old_hash}]"
    for name in (title, title.upper(), CANNY.upper(), f"{CANNY}.safetensors", "canny",
                 f"{CANNY} [00000000]"):  # fmt: skip
        assert nets.find(name).path == record.path
    assert nets.find("xl_depth").name == "xl/diffusers_xl_depth.safetensors"
    with pytest.raises(CheckpointNotFoundError, match="openpose"):
        nets.find("openpose")


def test_file_when_looked_into_then_says_what_it_is_for(catalog: Catalog) -> None:
    found = {r.stem: catalog.inspect(r) for r in catalog.records("controlnet")}
    assert (found[CANNY].family, found[CANNY].contents) == ("sd1", "a ControlNet for SD 1.x")
    assert "a ControlLLLite" in found["kohya_lllite_xl"].problem
    assert CANNY in " ".join(ControlNets(catalog).titles())
    assert "lllite" not in " ".join(ControlNets(catalog).titles())


def unit(**values: Any) -> ControlUnit:
    return ControlUnit(model=f"{CANNY}.safetensors", image=KEY, **values)


def test_units_when_written_then_are_read_back() -> None:
    mine = unit(
        module="canny", weight=0.75, guidance_start=0.1, guidance_end=0.9, threshold_a=50.0,
        threshold_b=-1, processor_res=768, control_mode="My prompt is more important",
        resize_mode="Resize and Fill", pixel_perfect=True, hr_option="Low res only",
    )  # fmt: skip
    pairs = unit_pairs((unit(), mine), {mine.model: f"{CANNY} [d14c016b]"})
    read = parse_infotext(
        f"a\nSteps: 1, Seed: 1, ControlNet 1: {json.dumps(pairs['ControlNet 1'])}"
    )
    (told,) = read_units(read.params).values()
    assert told["model"] == f"{CANNY} [d14c016b]"
    again = ControlUnit.model_validate({**told, "model": mine.model, "image": KEY})
    assert again == mine
    assert "Hr Option" not in pairs["ControlNet 0"] and "Threshold A" not in pairs["ControlNet 0"]


def test_units_when_in_the_old_form_then_are_read_too() -> None:
    old = (
        "preprocessor: canny, model: control_sd15_canny [fef5e48e], weight: 1, starting/ending: "
        "(0.1, 0.8), resize mode: Crop and Resize, pixel perfect: False, control mode: Balanced, "
        "preprocessor params: (512, 100, 200)"
    )
    (told,) = read_units({"ControlNet": old}).values()
    assert told["model"] == "control_sd15_canny [fef5e48e]"
    assert (told["guidance_start"], told["guidance_end"]) == (0.1, 0.8)
    assert (told["processor_res"], told["threshold_b"]) == (512, 200)
    assert read_units({"ControlNet 0": "nonsense", "ControlNet x": "Model: a"}) == {}


def test_verdict_when_a_controlnet_differs_or_lacks_then_says_so(catalog: Catalog) -> None:
    title = ControlNets(catalog).title(ControlNets(catalog).find(CANNY))
    for model, wanted in (
        (title, set()),
        (f"{CANNY} [00000000]", {"other_controlnet"}),
        (CANNY, {"unhashed"}),
        ("control_openpose [00000000]", {"lacks_controlnet"}),
    ):
        text = f'a\nSteps: 1, Seed: 1, RNG: CPU, ControlNet 0: "Module: canny, Model: {model}"'
        found = judge(parse_infotext(text), {}, catalog, {})
        kinds = {reason.key for reason in found.reasons}
        assert kinds - {"unnamed_checkpoint", "unrecorded"} == wanted
        assert (found.level == "cannot") == (wanted == {"lacks_controlnet"})


# The panel


def test_panel_when_read_then_gives_the_units_that_are_on() -> None:
    given = [{"on": True, "model": "a", "image": KEY, "type": "Canny", "mask": ""}, {"model": "b"}]
    assert control_panel.read({"control": json.dumps(given)}) == (
        ControlUnit(model="a", image=KEY),
    )
    assert control_panel.read({"control": ""}) == control_panel.read({}) == ()
    for wrong in ("[1", "[1]", json.dumps([{"on": True}]), json.dumps([{**given[0], "weight": 9}])):
        with pytest.raises(ParamsError):
            control_panel.read({"control": wrong})


def test_panel_when_a_recipe_is_pasted_then_holds_its_units(catalog: Catalog) -> None:
    studio: Any = SimpleNamespace(controlnets=ControlNets(catalog))
    pairs = {
        "ControlNet 1": f"Module: canny, Model: {CANNY} [00000000], Weight: 0.5, Threshold A: 90",
        "ControlNet 2": "Module: none, Model: gone [00000000], Weight: 1",
        "ControlNet 0": f"Module: reference_only, Model: {CANNY}, Weight: 1",
    }
    values, missing = control_panel.pasted(pairs, studio)
    first, second, third = json.loads(values["control"])
    assert (first, third) == ({}, {})
    assert missing == ["gone [00000000]", "ControlNet 0: reference_only"]
    assert second == {
        "on": True, "model": f"{CANNY}.safetensors", "module": "canny", "weight": 0.5,
        "threshold_a": 90.0, "threshold_b": 200, "processor_res": 512,
    }  # fmt: skip
    assert control_panel.pasted({}, studio) == ({"control": ""}, [])
    assert control_panel.is_told("ControlNet 0") and not control_panel.is_told("Model")


def test_panel_when_a_waiting_job_is_edited_then_holds_its_units_and_pictures() -> None:
    units = (unit(weight=0.5, module="canny"), unit(guidance_end=0.4, mask=KEY, low_vram=True))
    values = control_panel.of_request(units)
    assert control_panel.read(values) == units
    assert control_panel.of_request(()) == {"control": ""}


def test_work_when_units_act_then_it_is_foretold() -> None:
    plain, much = TextToImage(), TextToImage(control=(unit(guidance_end=0.5), unit(weight=0)))
    ratio = work_of(much).network / work_of(plain).network
    assert ratio == pytest.approx(1 + CONTROL_SHARE / 2)
    assert work_of(much).pixels == work_of(plain).pixels


# The model process


@pytest.fixture(scope="module")
def working() -> tuple[Painter, Heard]:
    """A model process, and what it says."""
    heard = Heard()
    asked = SimpleNamespace(interrupted=False, should_stop=False, clear_skip=lambda: None)
    return Painter({"device": "cpu"}, heard, asked), heard  # type: ignore[arg-type]


def test_job_when_it_has_a_unit_then_loads_keeps_and_tells_its_controlnet(
    working: tuple[Painter, Heard], file: Path, starter_checkpoint: Path, tmp_path: Path
) -> None:
    painter, heard = working
    heard.messages.clear()
    copy = Path(shutil.copy(file, tmp_path))
    sketch = tmp_path / "sketch.png"
    Image.effect_noise((64, 64), 90).convert("RGB").save(sketch)
    small = {"prompt": "a cat", "width": 64, "height": 64, "steps": 2, "seed": 3}

    def run(*units: ControlUnit) -> dict[str, Any]:
        heard.messages.clear()
        facts = {"path": str(copy), "title": f"{CANNY} [12345678]"}
        checkpoint = {"path": str(starter_checkpoint), "name": "a", "stem": "a", "sha256": None}
        return painter.run(
            {
                "job": 1, "params": TextToImage(**small, control=units).to_json(), "vae": None,
                "checkpoint": checkpoint, "inputs": {KEY: str(sketch)},
                "controlnets": {unit.model: facts for unit in units},
            }
        )  # fmt: skip

    def pixels() -> bytes:
        (picture,) = heard.of("image")
        return Image.open(io.BytesIO(picture["image"])).tobytes()

    run()
    plain, before = pixels(), painter.models.memory.used
    result = run(unit(module="none", processor_res=-1))
    controlled = pixels()
    assert controlled != plain
    told = result["extra_generation_params"]["ControlNet 0"]
    assert told.startswith(f"Module: none, Model: {CANNY} [12345678], Weight: 1.0")
    assert "ControlNet 0" in heard.of("image")[0]["infotext"]
    key = painter.models.controlnet_key(copy, starter_checkpoint)
    assert key in painter.models.memory
    grown = painter.models.memory.used.device - before.device
    assert grown == pytest.approx(copy.stat().st_size, rel=0.01)
    run(unit(module="none", processor_res=-1))
    assert pixels() == controlled
    assert "loading" not in [m["stage"] for m in heard.of("progress")]
    copy.touch()  # another file under its name
    run(unit(module="none", processor_res=-1, low_vram=True))
    assert key not in painter.models.memory and pixels() == controlled
    run()
    assert pixels() == plain


def test_job_when_a_preprocessor_is_a_network_then_it_draws_the_map_and_stays_in_memory(
    working: tuple[Painter, Heard], file: Path, starter_checkpoint: Path, tmp_path: Path
) -> None:
    painter, heard = working
    heard.messages.clear()
    saved_state(small_anything(), tmp_path / "depth")
    sketch = tmp_path / "sketch.png"
    Image.effect_noise((80, 64), 90).convert("RGB").save(sketch)
    told = {
        "inputs": {KEY: str(sketch)}, "map_networks": {"depth_anything": str(tmp_path / "depth")},
    }  # fmt: skip
    deep = unit(module="depth_anything", processor_res=64, resize_mode="Just Resize")

    def maps() -> list[Image.Image]:
        return [Image.open(io.BytesIO(message["image"])) for message in heard.of("control-map")]

    preview = MakeMap(unit=deep, map_width=96, map_height=64)
    painter.run({"job": 1, "params": preview.to_json(), **told})
    (shown,) = maps()
    assert shown.size == (96, 64) and shown.getextrema()[0] == (0, 255)
    assert painter._shelf.bytes().device > 0
    heard.messages.clear()
    detected = MakeMap(unit=deep)
    painter.run({"job": 2, "params": detected.to_json(), **told})
    assert maps()[0].size == (80, 64)  # of the working size
    assert "loading" not in [m["stage"] for m in heard.of("progress")]  # it was there
    heard.messages.clear()
    checkpoint = {"path": str(starter_checkpoint), "name": "a", "stem": "a", "sha256": None}
    params = TextToImage(prompt="a cat", width=96, height=64, steps=1, control=(deep,))
    facts = {deep.model: {"path": str(file), "title": CANNY}}
    job = {"job": 3, "params": params.to_json(), "vae": None, "checkpoint": checkpoint,
           "controlnets": facts, "wants_maps": True, **told}  # fmt: skip
    painter.run(job)
    assert maps()[0].tobytes() == shown.tobytes()
    with pytest.raises(CheckpointNotFoundError, match="depth_anything_vitl14"):
        painter.run({**job, "map_networks": {}})


def test_network_when_low_vram_is_switched_off_then_it_belongs_to_the_device_again(
    file: Path, tmp_path: Path
) -> None:
    device = torch.device("meta")
    models = LoadedModels(ModelPlan(device, torch.float32, torch.float32))
    network = models.controlnet(file, tmp_path, waits=True).network
    assert NetworkPart(network, device).missing() == 0  # it waits
    assert models.controlnet(file, tmp_path, waits=False).network is network
    part = NetworkPart(network, device)
    assert part.missing() > 0 or part.bytes().device > 0


def test_controlnet_when_stored_as_what_it_has_more_then_each_checkpoint_has_its_own(
    starter_checkpoint: Path, file: Path, tmp_path: Path
) -> None:
    from safetensors.torch import save_file

    unet = load_part(starter_checkpoint, "unet")
    path = tmp_path / "more.safetensors"
    state = over_unet(unet, controlnet_for(unet), "difference")
    save_file({name: t.contiguous() for name, t in state.items()}, path, stated(unet))
    models = LoadedModels(ModelPlan(torch.device("cpu"), torch.float32, torch.float32))
    other = tmp_path / "other.safetensors"
    other.write_bytes(b"another checkpoint")
    assert models.controlnet_key(file, other) == models.controlnet_key(file, starter_checkpoint)
    assert models.controlnet_key(path, other) != models.controlnet_key(path, starter_checkpoint)
    made = models.controlnet(path, starter_checkpoint, waits=False)
    assert models.controlnet(path, starter_checkpoint, waits=False) is made
    assert models.has_controlnet(path, starter_checkpoint)
    assert not models.has_controlnet(path, other)
    with pytest.raises(CheckpointError):
        models.controlnet(path, other, waits=False)


def test_map_when_asked_for_on_the_page_then_networks_wait_their_turn_and_guests_do_without(
    tmp_path: Path,
) -> None:
    """The page gets the map at once, or the job that makes it."""
    from fastapi import Depends, FastAPI
    from fastapi.testclient import TestClient

    inputs = Inputs(tmp_path / "inputs")
    key = inputs.keep_image(Image.new("RGB", (64, 64), "white"))
    rows: dict[int, Any] = {}

    def submit(asked: MakeMap) -> Any:
        if asked.user:
            raise ParamsError("Guests paint; make-map is for the owner alone.")
        rows[7] = SimpleNamespace(id=7, is_finished=False, state="running", error=None)
        return rows[7]

    folders = SimpleNamespace(own_models=tmp_path, models=(), data=tmp_path, programs=())
    studio: Any = SimpleNamespace(
        inputs=inputs, submit=submit, control_maps=MadeMaps(), guests=SimpleNamespace(
            told=lambda user, text: text), settings=SimpleNamespace(folders=folders),
    )  # fmt: skip
    who = {"name": ""}
    app = FastAPI()
    app.include_router(
        control_panel.make_control_routes(
            studio, Depends(lambda: who["name"]), lambda job, user: rows[job]
        )
    )
    client = TestClient(app)

    def ask(module: str) -> Any:
        body = {"unit": {"image": key, "module": module}, "width": 96, "height": 64}
        return client.post("/controlnet/map", json=body)

    plain = ask("invert")
    assert Image.open(io.BytesIO(plain.content)).size == (96, 64)
    missing = ask("openpose")
    assert missing.status_code == 404 and "body_pose_model.pth" in missing.json()["detail"]
    assert client.post("/controlnet/map", json={"unit": {}, "width": 9, "height": 9}).is_error
    (tmp_path / "OpenPose").mkdir()
    (tmp_path / "OpenPose" / "body_pose_model.pth").touch()
    assert ask("openpose").json() == {"job": 7}
    assert client.get("/controlnet/map/7").status_code == 202
    studio.control_maps.keep(7, 0, b"a map")
    rows[7].is_finished, rows[7].state = True, "done"
    assert client.get("/controlnet/map/7").content == b"a map"
    assert client.get("/controlnet/map/7").status_code == 404
    rows[7].state, rows[7].error = "failed", ParamsError("no").to_json()
    assert client.get("/controlnet/map/7").status_code == 422
    who["name"] = "~guest"
    assert "owner alone" in ask("openpose").json()["detail"]


def test_maps_when_nobody_takes_them_then_the_oldest_go() -> None:
    kept, large = MadeMaps(), b"x" * (30 << 20)
    for job in (1, 2, 3):
        kept.keep(job, 1, b"second")
        kept.keep(job, 0, large)
    assert [len(kept.take(job)) for job in (1, 2, 3)] == [0, 2, 2]
    assert kept.take(3) == []
    kept.keep(4, 1, b"b")
    kept.keep(4, 0, b"a")
    assert kept.take(4) == [b"a", b"b"]
