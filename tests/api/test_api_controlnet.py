"""ControlNet over the API: units in all the forms clients send them, lists, and maps."""

from __future__ import annotations

import base64
import io
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from fastapi.testclient import TestClient
from PIL import Image

from tests.api.clients import QUICK
from tests.checkpoints.model_files import write_raw
from webui.params import ControlUnit, Painting
from webui.studio import Studio

TXT2IMG, IMG2IMG = "/sdapi/v1/txt2img", "/sdapi/v1/img2img"
CANNY, XL = "control_v11p_sd15_canny", "diffusers_xl_depth_full"


def picture(size: tuple[int, int] = (64, 48)) -> str:
    image = Image.new("RGB", size, "black")
    image.paste((255, 255, 255), (16, 12, size[0] - 16, size[1] - 12))
    file = io.BytesIO()
    image.save(file, "PNG")
    return base64.b64encode(file.getvalue()).decode()


@pytest.fixture(scope="module")
def nets(studio: Studio) -> Studio:
    """A studio with two ControlNets, of which only the headers matter here."""
    folder = Path(studio.settings.folders.data) / "models" / "ControlNet"
    tiny = {"dtype": "F16", "shape": [1], "data_offsets": [0, 2]}
    write_raw(folder / f"{CANNY}.safetensors", {"control_model.a": tiny}, b"\0\0")
    write_raw(folder / "sub" / XL / "config.json", {}, b"")
    write_raw(
        folder / "sub" / XL / "diffusion_pytorch_model.safetensors",
        {"controlnet_cond_embedding.a": tiny}, b"\0\0",
    )  # fmt: skip
    studio.catalog.refresh()
    return studio


def units_of(client: TestClient, studio: Studio, *units: Any, **fields: Any) -> Any:
    path = fields.pop("path", TXT2IMG)
    name = fields.pop("name", "controlnet")
    asked = {"alwayson_scripts": {name: {"args": list(units)}}, "send_images": False}
    answer = client.post(path, json={**QUICK, **asked, **fields})
    assert answer.status_code == 200, answer.text
    params = studio.params_of(studio.jobs.list(limit=1)[0])
    assert isinstance(params, Painting)
    return params.control


def test_unit_when_everything_is_told_then_all_of_it_stands_in_the_params(
    client: TestClient, nets: Studio
) -> None:
    (unit,) = units_of(
        client, nets,
        {
            "enabled": True, "image": f"data:image/png;base64,{picture()}", "module": "canny",
            "model": f"{CANNY} [e3b0c442]", "weight": 0.6, "resize_mode": "Resize and Fill",
            "processor_res": 640, "threshold_a": 50, "threshold_b": -1, "guidance_start": 0.1,
            "guidance_end": 0.7, "control_mode": "My prompt is more important",
            "pixel_perfect": True, "low_vram": True, "hr_option": "Low res only",
            "save_detected_map": False,
        },
        {"enabled": False, "model": "gone"},
        {"model": "None", "module": "none", "image": {"image": None, "mask": None}},
        name="ControlNet",
    )  # fmt: skip
    assert unit.image is not None and nets.inputs.image(unit.image).size == (64, 48)
    assert unit == ControlUnit(
        model=f"{CANNY}.safetensors", module="canny", image=unit.image, weight=0.6,
        guidance_start=0.1, guidance_end=0.7, control_mode="My prompt is more important",
        resize_mode="Resize and Fill", processor_res=640, threshold_a=50, threshold_b=200,
        pixel_perfect=True, low_vram=True, hr_option="Low res only", save_detected_map=False,
    )  # fmt: skip


def test_unit_when_in_old_words_then_they_mean_the_same(client: TestClient, nets: Studio) -> None:
    old, pair = units_of(
        client, nets,
        {
            "input_image": picture(), "lowvram": "true", "guidance": 0.5, "model": CANNY.upper(),
            "module": "lineart_standard", "resize_mode": 2, "control_mode": 2, "processor_res": 1,
        },
        {"image": {"image": picture(), "mask": picture()}, "model": "xl_depth",
         "resize_mode": "Scale to Fit (Inner Fit)", "weight": None},
    )  # fmt: skip
    assert (old.low_vram, old.guidance_end, old.resize_mode) == (True, 0.5, "Resize and Fill")
    assert old.control_mode == "ControlNet is more important"
    assert old.module == "lineart_standard (from white bg & black line)"
    assert old.processor_res == 512  # 1 is out of the preprocessor's range
    assert pair.model == f"sub/{XL}.safetensors" and pair.mask == pair.image
    assert (pair.resize_mode, pair.weight) == ("Crop and Resize", 1.0)


def test_unit_when_its_picture_was_sent_before_then_its_sha256_is_enough(
    client: TestClient, nets: Studio
) -> None:
    key = nets.inputs.keep(base64.b64decode(picture()))
    (unit,) = units_of(client, nets, {"image": key, "model": CANNY})
    assert unit.image == key
    args = [{"image": "0" * 64, "model": CANNY}]
    answer = client.post(
        TXT2IMG, json={**QUICK, "alwayson_scripts": {"controlnet": {"args": args}}}
    )
    assert answer.status_code == 404 and "args[0].image" in answer.text


@pytest.mark.parametrize(
    ("unit", "where"),
    [
        ({"model": "None"}, "args[0].model"),
        ({"model": CANNY, "weight": 3}, "weight"),
        ({"model": CANNY, "weight": "much"}, "args[0].weight"),
        ({"model": CANNY, "guidance_start": 0.9, "guidance_end": 0.2}, "begin before it ends"),
        ({"model": CANNY, "resize_mode": "Somehow"}, "args[0].resize_mode"),
        ({"model": CANNY, "module": "mlsd"}, "mlsd_large_512_fp32.pth"),
        ({"model": CANNY, "image": [picture(), picture(), picture()]}, "3 pictures"),
        ({"model": CANNY, "module": "magic"}, "No preprocessor is called"),
        ({"model": CANNY, "advanced_weighting": [1.0]}, "advanced_weighting"),
        ({"model": CANNY, "image": 5}, "args[0].image"),
        ({"model": CANNY, "image": None}, "no picture"),
    ],
)
def test_unit_when_a_value_cannot_be_used_then_says_which(
    unit: dict[str, Any], where: str, client: TestClient, nets: Studio
) -> None:
    scripts = {"controlnet": {"args": [{"image": picture(), **unit}]}}
    answer = client.post(TXT2IMG, json={**QUICK, "alwayson_scripts": scripts})
    assert answer.status_code == 422, answer.text
    assert where in answer.text


def test_maps_when_units_act_then_follow_the_pictures_unless_that_is_switched_off(
    client: TestClient, nets: Studio
) -> None:
    unit = {"image": picture(), "model": CANNY, "module": "invert"}
    asked = {
        **QUICK,
        "width": 64,
        "height": 64,
        "alwayson_scripts": {"controlnet": {"args": [unit]}},
    }
    answer = client.post(TXT2IMG, json=asked).json()
    assert len(answer["images"]) == 2
    found = Image.open(io.BytesIO(base64.b64decode(answer["images"][1])))
    assert found.size == (64, 48)  # as the model process sent it
    hidden = client.post(
        TXT2IMG, json={**asked, "override_settings": {"control_net_no_detectmap": True}}
    )
    assert len(hidden.json()["images"]) == 1


def test_unit_when_img2img_then_it_may_have_no_picture_of_its_own(
    client: TestClient, nets: Studio
) -> None:
    (unit,) = units_of(
        client, nets, {"model": CANNY, "enabled": True, "image": ""}, path=IMG2IMG,
        init_images=[picture()],
    ) or (None,)  # fmt: skip
    assert unit is not None and unit.image is None


def test_lists_when_asked_then_as_the_extension_answers(client: TestClient, nets: Studio) -> None:
    assert client.get("/controlnet/version").json() == {"version": 3}
    assert client.get("/controlnet/settings").json() == {"control_net_unit_count": 3}
    models = client.get("/controlnet/model_list").json()["model_list"]
    assert models == ["None", f"{CANNY} [e3b0c442]", f"{XL} [e3b0c442]"]
    modules = client.get("/controlnet/module_list").json()
    assert {"none", "canny", "lineart_standard", "tile_resample"} <= set(modules["module_list"])
    assert modules["module_detail"]["canny"]["sliders"][1] == {
        "name": "Low Threshold", "value": 100, "min": 0, "max": 256, "step": 1,
    }  # fmt: skip
    types = client.get("/controlnet/control_types").json()["control_types"]
    assert types["Canny"]["default_option"] == "canny"
    assert types["Canny"]["default_model"] == f"{CANNY} [e3b0c442]"
    assert types["Depth"]["model_list"] == ["None", f"{XL} [e3b0c442]"]
    assert "controlnet" in client.get("/sdapi/v1/scripts").json()["img2img"]


def test_detect_when_given_pictures_then_answers_their_maps(client: TestClient) -> None:
    asked = {
        "controlnet_module": "canny", "controlnet_images": [picture()],
        "controlnet_processor_res": 96, "controlnet_threshold_a": None,
    }  # fmt: skip
    answer = client.post("/controlnet/detect", json=asked).json()
    found = Image.open(io.BytesIO(base64.b64decode(answer["images"][0])))
    assert answer["info"] == "Success" and found.size == (128, 96)
    assert 0 < float((np.asarray(found) > 0).mean()) < 0.2
    clear = io.BytesIO()
    Image.new("RGBA", (64, 64)).save(clear, "PNG")
    seen = base64.b64encode(clear.getvalue()).decode()
    plain = {"controlnet_module": "none", "controlnet_images": [seen]}
    (white,) = client.post("/controlnet/detect", json=plain).json()["images"]
    assert Image.open(io.BytesIO(base64.b64decode(white))).getpixel((9, 9)) == (255, 255, 255)
    for changed, told in (
        ({"controlnet_module": "magic"}, "Module not available"),
        ({"controlnet_images": []}, "No image selected"),
    ):
        refused = client.post("/controlnet/detect", json={**asked, **changed})
        assert refused.status_code == 422 and told in refused.text


def test_network_when_its_file_is_missing_then_it_is_named_and_once_there_it_makes_maps(
    client: TestClient, nets: Studio
) -> None:
    asked = {"controlnet_module": "openpose", "controlnet_images": [picture(), picture((32, 64))]}
    unit = {"image": picture(), "model": CANNY, "module": "openpose"}
    painted = {**QUICK, "alwayson_scripts": {"controlnet": {"args": [unit]}}}
    for path, body in (("/controlnet/detect", asked), (TXT2IMG, painted)):
        missing = client.post(path, json=body)
        assert missing.status_code == 404, missing.text
        assert "body_pose_model.pth" in missing.text and "ControlNetPreprocessor" in missing.text
    whole = client.post("/controlnet/detect", json={**asked, "controlnet_module": "openpose_full"})
    files = ("body_pose_model.pth", "hand_pose_model.pth", "facenet.pth")
    assert all(file in whole.json()["errors"] for file in files)
    types = client.get("/controlnet/control_types").json()["control_types"]
    assert types["OpenPose"]["default_option"] == "none"

    folder = nets.settings.folders.own_models / "ControlNetPreprocessor" / "openpose"
    folder.mkdir(parents=True)
    (folder / "body_pose_model.pth").touch()
    assert "openpose" in client.get("/controlnet/module_list").json()["module_list"]
    types = client.get("/controlnet/control_types").json()["control_types"]
    assert types["OpenPose"]["default_option"] == "openpose"
    found = client.post("/controlnet/detect", json=asked).json()
    maps = [Image.open(io.BytesIO(base64.b64decode(one))) for one in found["images"]]
    assert [one.size for one in maps] == [(64, 48), (32, 64)]
    assert maps[0].info["network"] == str(folder / "body_pose_model.pth")
    assert [pose["people"][0]["pose_keypoints_2d"] for pose in found["poses"]] == [
        [0.5, 0.25, 1]
    ] * 2
    assert len(client.post(TXT2IMG, json=painted).json()["images"]) == 2
    assert not nets.control_maps.take(nets.jobs.list(limit=1)[0].id)  # they were handed over


def test_poses_when_told_as_json_then_are_drawn(client: TestClient) -> None:
    address = "/controlnet/render_openpose_json"
    arm = [0.0] * 6 + [16, 8, 1, 16, 40, 1] + [0.0] * 42
    body = {"people": [{"pose_keypoints_2d": arm, "face_keypoints_2d": None, "more": 1}],
            "canvas_width": 32, "canvas_height": 48}  # fmt: skip
    answer = client.post(address, json=[body, {**body, "people": []}]).json()
    drawn, empty = (Image.open(io.BytesIO(base64.b64decode(one))) for one in answer["images"])
    assert answer["info"] == "Success" and drawn.size == (32, 48) == empty.size
    assert drawn.getpixel((16, 24)) == (153, 102, 0)  # 0.6 of the colour of the third limb
    assert drawn.getpixel((16, 40)) == (255, 255, 0) and not empty.getbbox()
    assert client.post(address, json=[]).json() == {"info": "No pose data detected."}
    for changed, told in (
        ({"people": [{"pose_keypoints_2d": [1, 2]}]}, "whole number of joints"),
        ({"people": [{"pose_keypoints_2d": [1e9, 2, 1]}]}, "farther than"),
        ({"canvas_width": 100_000}, "canvas_width"),
    ):
        refused = client.post(address, json=[{**body, **changed}])
        assert refused.status_code == 422 and told in refused.text
