"""Plans of extensions: one as a stranger writes it, from the dropped folder to the sheet; the
program's own, switched like anybody's and written with the public API alone."""

from __future__ import annotations

import shutil
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from fastapi.testclient import TestClient
from PIL import Image

from tests.api.clients import FAKE_WORKER, client_of
from tests.source_tree import imports
from webui.errors import ExtensionError, ParamsError
from webui.hookspecs import MOMENTS, Plan, Sheet, Words
from webui.params import Painting, Plot
from webui.pictures import read_infotext
from webui.roles import GUEST_MARK
from webui.services.extensions.listing import state_of
from webui.services.resolve import TextToImageRequest
from webui.settings import read_settings
from webui.studio import Studio
from webui.ui import plots
from webui.ui.pasting import paste

LITTLE = Path(__file__).parent / "extensions" / "little" / "seed_walk"
OWN = {"prompt_matrix": "matrix", "prompts_from_list": "list", "xyz_plot": "xyz"}
WALK = {"kind": "seed_walk", "pictures": 2, "down": {"axis": "steps", "values": "2, 3"}}


@pytest.fixture(scope="module")
def studio(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Studio]:
    folder = tmp_path_factory.mktemp("plans")
    settings = read_settings(["--nowebui", "--data-dir", str(folder)], {})
    made = Studio(settings, worker_command=[sys.executable, "-m", FAKE_WORKER])
    made.start()
    yield made
    made.stop()


@pytest.fixture(scope="module")
def walking(studio: Studio) -> Studio:
    """With the stranger's folder dropped in while the program runs."""
    goal = studio.settings.folders.data / "extensions" / LITTLE.name
    assert studio.plots.plans.find("seed_walk") is None
    shutil.copytree(LITTLE, goal)
    assert LITTLE.name in studio.refresh_extensions().new
    return studio


@pytest.fixture(scope="module")
def client(walking: Studio) -> Iterator[TestClient]:
    with client_of(walking) as client:
        yield client


def wish(**more: Any) -> TextToImageRequest:
    return TextToImageRequest(**{"prompt": "a cat", "width": 64, "height": 64, "seed": 7, **more})


def test_plan_when_a_stranger_drops_it_in_then_its_sheet_comes_out_of_the_queue(
    walking: Studio,
) -> None:
    job = walking.wait(walking.plots.submit(wish(), WALK).id, 60)

    whole = walking.params_of(job)
    cells = [walking.params_of(cell) for cell in walking.plots.cells(job)]
    (sheet,) = walking.library.images_of(job.id)
    text = read_infotext(sheet.path)[0]
    assert job.state == "done" and isinstance(whole, Plot) and whole.script == "Seed walk"
    assert [(c.seed, c.steps) for c in cells if isinstance(c, Painting)] == [
        (7, 2), (8, 2), (7, 3), (8, 3),
    ]  # fmt: skip
    assert min(Image.open(sheet.path).size) > 128 and text is not None
    assert text.endswith(
        'Script: Seed walk, Walk begins: 7, Walk length: 2, Down Type: Steps, Down Values: "2, 3"'
    )
    found = paste(text, walking)
    assert plots.read(found.values, walking.plots.plans) == {
        "kind": "seed_walk", "pictures": 2, "down": {"axis": "Steps", "values": "2, 3"},
    }  # fmt: skip
    assert found.left_out == ["Walk begins: 7"]


def test_plan_when_it_came_then_doors_list_it_and_take_its_arguments(client: TestClient) -> None:
    titles = client.get("/sdapi/v1/scripts").json()
    infos = client.get("/sdapi/v1/script-info").json()
    (info,) = [i for i in infos if i["name"] == "seed walk" and not i["is_img2img"]]
    small = {"prompt": "a cat", "width": 64, "height": 64, "steps": 2, "seed": 7}
    arguments = [2, True, "Sampler", "", ["Euler", "euler a"]]
    answer = client.post(
        "/sdapi/v1/txt2img",
        json={**small, "script_name": "Seed walk", "script_args": arguments, "send_images": False},
    ).json()
    by_name = client.post(
        "/danqing/v1/plots", json={"txt2img": small, "script": WALK, "is_dry_run": True}
    ).json()
    (panel,) = [p for p in client.get("/danqing/v1/plots/plans").json() if p["name"] == "seed_walk"]

    assert all("seed walk" in titles[tab] for tab in ("txt2img", "img2img"))
    assert [one["label"] for one in info["args"]] == [
        "pictures", "backwards", "down type", "down values", "down values",
    ]  # fmt: skip
    assert '"all_seeds": [7, 6, 7, 6]' in answer["info"]
    assert answer["parameters"]["script_name"] == "Seed walk"
    assert (by_name["cells"], by_name["columns"], by_name["rows"]) == (4, 2, 2)
    assert "Euler a" in panel["menus"]["down"]["Sampler"] and panel["title"]["zh"] == "种子漫步"


def test_plan_when_it_refuses_then_its_sentence_is_told_and_it_stays(walking: Studio) -> None:
    for given, told in (
        (wish(prompt="refuse"), "nowhere to walk"),
        (wish(), "one of Nothing, Steps, Sampler"),
        (wish(), "No plan is called"),
    ):
        more = {"down": {"axis": "Sigma"}} if "Nothing" in told else {}
        kind = "no such" if "No plan" in told else "seed_walk"
        for _ in range(4):
            with pytest.raises(ParamsError, match=told):
                walking.plots.foretell(given, {"kind": kind, **more})
    assert walking.plots.plans.find("Seed Walk") is not None


def test_plan_when_a_guest_asks_then_only_the_programs_own_are_there(walking: Studio) -> None:
    guest = wish(user=f"x{GUEST_MARK}1")
    with pytest.raises(ParamsError, match="No plan is called 'seed_walk'"):
        walking.plots.foretell(guest, WALK)
    names = [owned.plan.name for owned in walking.plots.plans.all(user=guest.user)]
    assert names == list(OWN.values())


@pytest.mark.parametrize(("extension", "plan"), OWN.items())
def test_own_plan_when_its_extension_is_switched_off_then_it_is_gone_until_it_is_on(
    studio: Studio, client: TestClient, extension: str, plan: str
) -> None:
    plans = studio.plots.plans
    title = plans.named(plan).title
    page = {"script": title, "plot": plots.chosen(title, "", plans)}
    body = {"prompt": "a", "script_name": title, "script_args": []}

    studio.extensions.enable(extension, False)
    try:
        assert plans.find(plan) is None and plans.find(title) is None
        with pytest.raises(ParamsError, match="switched off"):
            plots.read(page, plans)
        assert client.post("/sdapi/v1/txt2img", json=body).status_code == 422
        assert title.lower() not in client.get("/sdapi/v1/scripts").json()["txt2img"]
    finally:
        studio.extensions.enable(extension, True)
    assert plots.read(page, plans) == {"kind": plan}


@pytest.mark.parametrize("extension", OWN)
def test_own_plan_when_its_code_is_read_then_it_imports_the_public_api_alone(
    extension: str,
) -> None:
    own = f"webui.built_in_extensions.{extension}."
    modules = [name for name in imports() if name.startswith(own)]
    ours = {other for name in modules for other in imports()[name] if other.startswith("webui.")}
    assert modules
    assert {o for o in ours if not o.startswith(own)} <= {"webui.hookspecs"}


def answered(studio: Studio, sheet: Any, request: TextToImageRequest | None = None) -> Any:
    """What comes of a plan that answers so."""
    known = next(known for known in studio.extensions.loaded() if known.name == LITTLE.name)
    known.plans["made"] = Plan("made", Words(en="Made"), lambda request, values, names: sheet)
    try:
        return studio.plots.plans.plan({"kind": "made"}, request or wish())
    finally:
        del known.plans["made"]
        studio.extensions.fence.forget(known.name)


def test_cells_when_parts_of_fields_differ_then_the_others_stay(walking: Studio) -> None:
    request = wish(overrides={"rho": 7}).model_copy(update={"hires": None})
    cells = [{"overrides": {"sigma_min": 1}}, {"hires": {"scale": 1.5}}, {}]
    planned = answered(walking, Sheet(cells=cells), request)

    assert [dict(cell.overrides) for cell in planned.cells] == [
        {"rho": 7, "sigma_min": 1}, {"rho": 7}, {"rho": 7},
    ]  # fmt: skip
    assert planned.cells[1].hires.scale == 1.5 and planned.cells[2].hires is None
    assert (len(planned.columns), len(planned.rows)) == (2, 2), "as square as can be"
    more = answered(walking, Sheet(cells=[{"hires": {"steps": 4}}]), planned.cells[1])
    assert (more.cells[0].hires.scale, more.cells[0].hires.steps) == (1.5, 4)


def test_cells_when_a_field_of_an_extension_differs_then_its_others_stay(walking: Studio) -> None:
    chosen = {
        "detailer": {"prompt": "a face", "denoising_strength": 0.5},
        "cfg_rescale": {"strength": 0.7},
    }
    cells = [
        {"extensions": {"detailer": {"denoising_strength": 0.3}}},
        {"extensions": {"other": {"x": 1}}},
    ]
    planned = answered(walking, Sheet(cells=cells), wish(extensions=chosen))
    assert [cell.extensions for cell in planned.cells] == [
        {**chosen, "detailer": {"prompt": "a face", "denoising_strength": 0.3}},
        {**chosen, "other": {"x": 1}},
    ]


@pytest.mark.parametrize(
    ("sheet", "error", "told"),
    [
        (None, ExtensionError, "Sheet is needed"),
        (Sheet(cells=[]), ExtensionError, "0 cells"),
        (Sheet(cells=[{}], columns=["a", "b"]), ExtensionError, "1 cells for 2 places"),
        (Sheet(cells=[{}], columns=[5]), ExtensionError, "could not plan"),
        (Sheet(cells=["steps"]), ExtensionError, "no dicts"),
        (Sheet(cells=[{}], pairs=[5]), ExtensionError, "could not plan"),
        (Sheet(cells=[{"user": "other"}]), ParamsError, "'user', which is no field"),
        (Sheet(cells=[{"stepz": 3}]), ParamsError, "'stepz', which is no field"),
        (Sheet(cells=[{"steps": "many"}]), ParamsError, "steps was 'many'"),
        (Sheet(cells=[{}], columns=["c"] * 65, rows=["r"] * 64), ParamsError, "4160 cells"),
        (Sheet(cells=({} for _ in iter(int, 1))), ParamsError, "at most 4096"),
    ],
)
def test_sheet_when_it_cannot_be_used_then_whose_it_is_or_what_is_wrong_is_told(
    walking: Studio, sheet: Any, error: type[Exception], told: str
) -> None:
    with pytest.raises(error, match=told):
        answered(walking, sheet)


def test_plan_when_it_fails_then_the_extension_is_told_of_and_left_out_in_the_end(
    walking: Studio, monkeypatch: pytest.MonkeyPatch
) -> None:
    for _ in range(3):
        with pytest.raises(ExtensionError, match=r"seed_walk could not plan .* stumbled"):
            walking.plots.foretell(wish(prompt="fail"), WALK)
    assert walking.plots.plans.find("seed_walk") is None
    walking.refresh_extensions()
    monkeypatch.setattr("webui.services.plots.plans.MOMENT", _short())
    with pytest.raises(ExtensionError, match="took longer than"):
        walking.plots.foretell(wish(prompt="sleep"), WALK)
    known = next(one for one in walking.extensions.all() if one.name == LITTLE.name)
    assert state_of(walking.extensions, known)[0] == "left out"


def _short() -> Any:
    moment = MOMENTS["plans"]
    return type(moment)(moment.name, moment.process, moment.answer, 0.05)


def test_form_when_it_was_kept_before_there_were_plans_then_its_axes_stand_there(
    studio: Studio,
) -> None:
    kept = {"script": "X/Y/Z plot", "plot_xyz": '{"x": {"axis": "Steps", "values": "2"}}',
            "plot_matrix": "", "plot_list": "{", "steps": 3}  # fmt: skip
    found = plots.of_older(kept)
    assert plots.read(found, studio.plots.plans) == {
        "kind": "xyz", "x": {"axis": "Steps", "values": "2"},
    }  # fmt: skip
    assert found["steps"] == 3 and plots.of_older(found) == found


def test_values_when_more_are_written_than_there_are_cells_then_no_name_is_looked_up(
    studio: Studio, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[str] = []
    monkeypatch.setattr(type(studio.plots.plans.names), "find", lambda *of: asked.append(of[2]))
    many = {"kind": "xyz", "x": {"axis": "Checkpoint name", "values": "a," * 5000}}
    with pytest.raises(ParamsError, match="5001 cells"):
        studio.plots.foretell(wish(), many)
    with pytest.raises(ParamsError, match="at most 4096"):
        studio.plots.foretell(wish(), {"kind": "list", "text": "--sd_model a\n" * 9000})
    assert len(asked) <= 4097
