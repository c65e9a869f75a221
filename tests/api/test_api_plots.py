"""Plots over the API: A1111's argument lists, and our own door."""

from __future__ import annotations

import base64
import io
import json
from typing import Any

import pytest
from fastapi.testclient import TestClient
from PIL import Image

from webui.built_in_extensions.xyz_plot.axes import KINDS
from webui.studio import Studio

SMALL: dict[str, Any] = {"prompt": "a cat", "width": 64, "height": 64, "steps": 2, "seed": 7}
NOTHING = ["Nothing", "", []]


def paint(client: TestClient, script: str, arguments: list[Any], **more: Any) -> dict[str, Any]:
    body = {**SMALL, "script_name": script, "script_args": arguments, **more}
    answer = client.post("/sdapi/v1/txt2img", json=body)
    assert answer.status_code == 200, answer.text
    told = answer.json()
    return {**json.loads(told["info"]), "sizes": [_size(text) for text in told["images"]]}


def _size(text: str) -> tuple[int, int]:
    return Image.open(io.BytesIO(base64.b64decode(text))).size


def test_xyz_when_axes_are_given_by_number_then_paints_them_and_answers_the_sheet_first(
    client: TestClient,
) -> None:
    steps = [kind.label for kind in KINDS if "txt2img" in kind.tabs].index("Steps")
    sampler = ["Sampler", "", ["Euler", "euler a"]]
    options = [True, True, False, False, True, False, False, 0, False]

    told = paint(client, "X/Y/Z plot", [steps, "2, 3", [], *sampler, *NOTHING, *options])

    assert told["index_of_first_image"] == 1 and len(told["sizes"]) == 5
    assert told["sizes"][1:] == [(64, 64)] * 4 and told["sizes"][0][0] > 128
    assert told["all_seeds"] == [7, 8, 7, 8]
    assert 'Y Values: "Euler, euler a"' in told["infotexts"][0]
    assert "Steps: 3, Sampler: Euler a" in told["infotexts"][4]


def test_matrix_when_the_prompt_has_parts_then_combines_them(client: TestClient) -> None:
    arguments = [False, True, "positive", "comma", 0]

    told = paint(client, "prompt matrix", arguments, prompt="a cat|red, |on [a|b] chair")

    assert told["all_prompts"] == [
        "a cat", "a cat, red", "a cat, on [a|b] chair", "a cat, red, on [a|b] chair",
    ]  # fmt: skip
    assert told["all_seeds"] == [7, 8, 9, 10]


def test_list_when_lines_have_options_then_each_is_painted_as_it_says(client: TestClient) -> None:
    lines = 'a dog\n\n--prompt "a red fox" --steps 3 --sampler_name "Euler a" --seed 100'
    arguments = [True, False, "start", lines]

    told = paint(client, "prompts from file or textbox", arguments, prompt="")

    assert told["index_of_first_image"] == 0 and len(told["sizes"]) == 2
    assert told["all_prompts"] == ["a dog", "a red fox"] and told["all_seeds"] == [7, 100]
    assert "Steps: 3, Sampler: Euler a" in told["infotexts"][1]


@pytest.mark.parametrize(
    ("script", "arguments", "told"),
    [
        ("x/y/z plot", [4, "ten"], "ten"),
        ("x/y/z plot", ["Checkpoint name", "nowhere", []], "nowhere"),
        ("prompts from file or textbox", [False, False, "start", "--stepz 3"], "Line 1"),
        ("prompt matrix", [False, False, "both"], "Select prompt"),
    ],
)
def test_scripts_when_an_argument_is_wrong_then_it_is_named_and_nothing_is_painted(
    client: TestClient, studio: Studio, script: str, arguments: list[Any], told: str
) -> None:
    before = studio.jobs.counts()
    body = {**SMALL, "script_name": script, "script_args": arguments}

    answer = client.post("/sdapi/v1/txt2img", json=body)

    assert answer.status_code in (404, 422) and told in answer.text
    assert studio.jobs.counts() == before


def test_door_when_a_plot_is_begun_then_tells_its_size_and_where_its_pictures_are(
    client: TestClient, studio: Studio
) -> None:
    script = {"kind": "xyz", "x": {"axis": "cfg scale", "values": "1-5 [3]"}}
    body = {"txt2img": SMALL, "script": script}

    dry = client.post("/danqing/v1/plots", json={**body, "is_dry_run": True}).json()
    begun = client.post("/danqing/v1/plots", json=body).json()
    studio.wait(begun["job"], 60)
    ended = client.get(f"/danqing/v1/plots/{begun['task_id']}").json()

    assert dry["cells"] == begun["cells"] == 3 and "job" not in dry
    assert ended["state"] == "done" and ended["states"] == {"done": 3}
    assert len(ended["sheets"]) == 1 and [len(cell) for cell in ended["cells_painted"]] == [1] * 3


def test_door_when_asked_for_the_axes_then_lists_names_and_choices(client: TestClient) -> None:
    axes = client.get("/danqing/v1/plots/axes?tab=img2img").json()

    assert "Euler a" in axes["Sampler"] and axes["Seed"] is None
    assert "Hires steps" not in axes and "Image CFG Scale" in axes


def painted_prompts(client: TestClient, arguments: list[Any], **more: Any) -> dict[str, Any]:
    scripts = {"Dynamic Prompts v2.17.1": {"args": arguments}}
    body = {**SMALL, "prompt": "a {red|blue} {cat|dog}", "alwayson_scripts": scripts, **more}
    answer = client.post("/sdapi/v1/txt2img", json=body)
    assert answer.status_code == 200, answer.text
    return json.loads(answer.json()["info"])


def test_dynamic_prompts_when_combinatorial_then_paints_every_combination_once(
    client: TestClient,
) -> None:
    told = painted_prompts(client, [True, True])

    assert sorted(told["all_prompts"]) == ["a blue cat", "a blue dog", "a red cat", "a red dog"]


def test_dynamic_prompts_when_the_extension_is_off_then_paints_what_is_written_and_says_so(
    client: TestClient, studio: Studio
) -> None:
    studio.extensions.enable("dynamic_prompts", False)
    try:
        told = painted_prompts(client, [True, True])
    finally:
        studio.extensions.enable("dynamic_prompts", True)

    assert told["all_prompts"] == ["a {red|blue} {cat|dog}"]
    assert [line for line in told["warnings"] if "switched off" in line]


def test_dynamic_prompts_when_off_or_unknown_parts_are_asked_for_then_says_so(
    client: TestClient,
) -> None:
    off = painted_prompts(client, [False, True])
    drawn = painted_prompts(client, [True, False, 1, True, False, False, 1.2], seed=3)

    assert off["all_prompts"] == ["a {red|blue} {cat|dog}"]
    assert drawn["all_prompts"][0].split()[1] in ("red", "blue")
    assert [line for line in drawn["warnings"] if "Magic prompt" in line]
    assert not [line for line in drawn["warnings"] if "attention" in line]
