"""POST /sdapi/v1/extra-single-image and extra-batch-images; face restorers and upscalers listed."""

from __future__ import annotations

import base64
import io
import json
import struct
import threading
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from fastapi.testclient import TestClient
from PIL import Image, PngImagePlugin
from safetensors.torch import save_file

from tests.api.clients import QUICK, client_of
from tests.patience import PATIENCE, wait_until
from webui.params import Extras, ImageToImage, TextToImage
from webui.pictures import read_infotext
from webui.studio import Studio
from webui.torch_setup import mend_torchvision

SINGLE = "/sdapi/v1/extra-single-image"
BATCH = "/sdapi/v1/extra-batch-images"
MODEL = "4x-Tiny"


def encoded(size: tuple[int, int] = (40, 30), color: Any = (200, 90, 30), recipe: str = "") -> str:
    mode = "RGBA" if len(color) == 4 else "RGB"
    data, chunks = io.BytesIO(), PngImagePlugin.PngInfo()
    if recipe:
        chunks.add_text("parameters", recipe)
    Image.new(mode, size, color).save(data, "PNG", pnginfo=chunks)
    return base64.b64encode(data.getvalue()).decode()


def opened(text: str) -> Image.Image:
    return Image.open(io.BytesIO(base64.b64decode(text)))


def asked(client: TestClient, studio: Studio, **body: Any) -> Extras:
    """What a request became."""
    answer = client.post(SINGLE, json={"image": encoded(), **body})
    assert answer.status_code == 200, answer.text
    params = studio.params_of(studio.jobs.list(limit=1)[0])
    assert isinstance(params, Extras)
    return params


# What a request means


def test_defaults_when_only_a_picture_is_sent_are_those_of_the_api(
    client: TestClient, studio: Studio
) -> None:
    params = asked(client, studio)

    assert (params.resize_mode, params.upscaling_resize) == ("by", 2.0)
    assert (params.upscaler_1, params.upscaler_2) == ("None", "None")
    assert (params.gfpgan_visibility, params.codeformer_visibility) == (0, 0)
    assert (params.multiple_of, params.upscale_first, params.keep_grey) == (8, True, False)
    assert not params.output.save and not params.output.grid


def test_fields_when_sent_as_clients_send_them_are_read(client: TestClient, studio: Studio) -> None:
    params = asked(
        client, studio, resize_mode="1", upscaling_resize_w="96", upscaling_resize_h=64.0,
        upscaling_crop=0, upscaler_1="Lanczos", upscaler_2="Nearest", codeformer_weight=None,
        extras_upscaler_2_visibility="0.25", show_extras_results=False, model="unknown field",
    )  # fmt: skip

    assert (params.resize_mode, params.upscaling_resize_w, params.upscaling_resize_h) == (
        "to", 96, 64,
    )  # fmt: skip
    assert (params.upscaler_1, params.upscaler_2) == ("Lanczos", "Nearest")
    assert params.extras_upscaler_2_visibility == 0.25 and not params.upscaling_crop


def test_answer_when_done_is_a_picture_and_escaped_html(client: TestClient, studio: Studio) -> None:
    answer = client.post(SINGLE, json={"image": "data:image/png;base64," + encoded()}).json()

    assert set(answer) == {"html_info", "image"}
    assert opened(answer["image"]).size == (40, 30)
    assert answer["html_info"] == "<p>Postprocess upscaler: None, Seen: a &lt; b</p>"
    (picture,) = studio.library.images_of(studio.jobs.list(limit=1)[0].id)
    assert not picture.is_saved


def test_batch_when_done_keeps_order_and_names(client: TestClient, studio: Studio) -> None:
    files = [
        {"data": encoded((8 * n, 8)), "name": name}
        for n, name in ((1, "b.png"), (2, "a.png"), (3, "../../c\0.png" * 40))
    ]

    answer = client.post(BATCH, json={"imageList": files}).json()

    assert [opened(image).width for image in answer["images"]] == [8, 16, 24]
    assert answer["names"] == [file["name"] for file in files]
    params = studio.params_of(studio.jobs.list(limit=1)[0])
    assert isinstance(params, Extras) and params.names[:2] == ("b.png", "a.png")


def test_batch_when_interrupted_hands_out_what_is_finished(
    client: TestClient, studio: Studio
) -> None:
    names, answers = ("one.png", "stuck.png", "three.png"), []
    files = [{"data": encoded((8, 8)), "name": name} for name in names]
    sender = threading.Thread(
        target=lambda: answers.append(client.post(BATCH, json={"imageList": files}))
    )
    sender.start()
    wait_until(lambda: (live := studio.live.running()) and studio.library.images_of(live[0].job_id))

    client.post("/sdapi/v1/interrupt")
    sender.join(PATIENCE)

    assert answers[0].status_code == 200, answers[0].text
    assert answers[0].json()["names"] == ["one.png"]
    assert len(answers[0].json()["images"]) == 1


# What cannot be done


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("resize_mode", 2), ("gfpgan_visibility", 1.01), ("codeformer_visibility", -0.1),
        ("codeformer_weight", 2), ("extras_upscaler_2_visibility", "5"), ("upscaling_resize", 0),
        ("upscaling_resize", 65), ("upscaling_resize_w", 0), ("upscaling_resize_h", 70_000),
        ("upscaling_resize", "many"),
    ],
)  # fmt: skip
def test_value_when_out_of_range_is_422_and_named(
    client: TestClient, field: str, value: Any
) -> None:
    answer = client.post(SINGLE, json={"image": encoded(), field: value})

    assert answer.status_code == 422 and field in answer.json()["detail"]


@pytest.mark.parametrize(
    "image",
    ["", None, "no picture", encoded()[:60], base64.b64encode(b"\xff\xd8\xff\xe0" * 9).decode()],
)
def test_picture_when_missing_or_broken_is_422_and_no_job(
    client: TestClient, studio: Studio, image: str | None
) -> None:
    before = studio.jobs.list(limit=1)
    single = client.post(SINGLE, json={"image": image})
    batch = client.post(BATCH, json={"imageList": [{"data": image, "name": "x.png"}]})

    for answer, name in ((single, "image"), (batch, "imageList[0]")):
        assert answer.status_code == 422
        assert answer.json()["detail"].startswith(f"Invalid encoded image. {name}: ")
    assert studio.jobs.list(limit=1) == before


@pytest.mark.parametrize("body", [{}, {"imageList": []}, {"imageList": None}])
def test_batch_when_of_none_is_422(client: TestClient, body: dict[str, Any]) -> None:
    answer = client.post(BATCH, json=body)

    assert answer.status_code == 422 and "imageList" in answer.json()["detail"]


@pytest.mark.parametrize("field", ["upscaler_1", "upscaler_2"])
def test_upscaler_when_unknown_is_404_in_a1111s_words(client: TestClient, field: str) -> None:
    answer = client.post(SINGLE, json={"image": encoded(), field: "lanczos"})

    assert answer.status_code == 404
    assert (answer.json()["error"], answer.json()["errors"]) == (
        "AssertionError", "could not find upscaler named lanczos",
    )  # fmt: skip


def test_upscaler_when_known_but_not_here_tells_file_and_folder(client: TestClient) -> None:
    answer = client.post(SINGLE, json={"image": encoded(), "upscaler_1": "R-ESRGAN 2x+"})

    assert answer.status_code == 404
    assert "RealESRGAN_x2plus.pth" in answer.json()["detail"]
    assert "models/RealESRGAN" in answer.json()["detail"]


@pytest.mark.parametrize(
    ("field", "file"),
    [
        ("gfpgan_visibility", "GFPGANv1.4.pth"),
        ("codeformer_visibility", "codeformer-v0.1.0.pth"),
    ],
)
def test_face_restorer_when_not_here_is_no_silent_fallback(
    client: TestClient, field: str, file: str
) -> None:
    answer = client.post(SINGLE, json={"image": encoded(), field: 0.5})

    assert answer.status_code == 404 and file in answer.json()["detail"]


def test_picture_when_its_header_promises_too_much_is_refused_before_it_is_decoded(
    client: TestClient,
) -> None:
    def chunk(kind: bytes, body: bytes) -> bytes:
        return (
            struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))
        )

    header = struct.pack(">IIBBBBB", 20_000, 20_000, 8, 2, 0, 0, 0)
    bomb = b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IEND", b"")

    answer = client.post(SINGLE, json={"image": base64.b64encode(bomb).decode()})

    assert answer.status_code == 422 and "178,956,970" in answer.json()["detail"]


# Lists


def test_face_restorers_when_listed_are_a1111s_and_have_no_folder_without_weights(
    client: TestClient,
) -> None:
    assert client.get("/sdapi/v1/face-restorers").json() == [
        {"name": "CodeFormer", "cmd_dir": None},
        {"name": "GFPGAN", "cmd_dir": None},
    ]


def test_realesrgan_models_when_listed_are_a1111s_six_with_their_sources(
    client: TestClient,
) -> None:
    models = client.get("/sdapi/v1/realesrgan-models").json()

    assert [m["name"] for m in models] == [
        "R-ESRGAN General 4xV3", "R-ESRGAN General WDN 4xV3", "R-ESRGAN AnimeVideo",
        "R-ESRGAN 4x+", "R-ESRGAN 4x+ Anime6B", "R-ESRGAN 2x+",
    ]  # fmt: skip
    assert [m["scale"] for m in models] == [4, 4, 4, 4, 4, 2]
    assert all(m["path"].startswith("https://") for m in models)


# With the real model process


@pytest.fixture(scope="module")
def real(real_studio: Studio) -> Iterator[tuple[TestClient, Studio]]:
    """A studio whose model folders hold a small network of spandrel's own classes."""
    mend_torchvision()
    from spandrel.architectures.Compact import Compact

    studio = real_studio
    models = studio.settings.folders.data / "models"
    torch.manual_seed(7)
    network = Compact(num_feat=16, num_conv=2, upscale=4).eval()
    tensors = {key: value.contiguous() for key, value in network.state_dict().items()}
    for place in (f"ESRGAN/{MODEL}.safetensors", "RealESRGAN/RealESRGAN_x4plus.safetensors"):
        (models / place).parent.mkdir(parents=True, exist_ok=True)
        save_file(tensors, models / place)
    studio.refresh_models()
    with client_of(studio) as client:
        yield client, studio


def test_enlarging_when_real_with_lanczos_doubles_and_keeps_recipe_and_alpha(
    real: tuple[TestClient, Studio],
) -> None:
    client, _ = real
    old = "a cat\nSteps: 20, Sampler: Euler, Seed: 3, Size: 8x8"

    answer = client.post(
        SINGLE, json={"image": encoded((40, 30), (9, 9, 9, 50), old), "upscaler_1": "Lanczos"}
    )

    assert answer.status_code == 200, answer.text
    image = opened(answer.json()["image"])
    assert (image.size, image.mode) == ((80, 56), "RGBA")  # cut to multiples of 8
    done = "Postprocess upscale by: 2, Postprocess upscaler: Lanczos"
    assert answer.json()["html_info"] == f"<p>{done}</p>"
    assert read_infotext(image)[0] == f"{old}, {done}"


@pytest.mark.parametrize("name", [MODEL, "R-ESRGAN 4x+"])
def test_enlarging_when_real_with_a_network_reaches_the_size_asked_for(
    real: tuple[TestClient, Studio], name: str
) -> None:
    client, _ = real
    listed = {u["name"]: u for u in client.get("/sdapi/v1/upscalers").json()}

    answer = client.post(
        SINGLE,
        json={
            "image": encoded(), "upscaler_1": name, "resize_mode": 1, "upscaling_resize_w": 100,
            "upscaling_resize_h": 90,
        },
    ).json()  # fmt: skip

    assert Path(listed[name]["model_path"]).is_file() and listed[name]["scale"] == 4
    assert opened(answer["image"]).size == (100, 90)
    assert answer["html_info"] == (
        "<p>Postprocess upscale to: 100x90, Postprocess crop to: 100x90, "
        f"Postprocess upscaler: {name}</p>"
    )


def test_lists_when_weights_are_here_name_their_files(real: tuple[TestClient, Studio]) -> None:
    client, studio = real
    names = [u["name"] for u in client.get("/sdapi/v1/upscalers").json()]
    models = {m["name"]: m["path"] for m in client.get("/sdapi/v1/realesrgan-models").json()}

    plain, files = names[:3], names[3:]
    assert plain == ["None", "Lanczos", "Nearest"]
    assert sorted(files) == sorted([MODEL, "R-ESRGAN 4x+", "starter-2x-flat"])
    folder = studio.settings.folders.data / "models" / "RealESRGAN"
    assert models["R-ESRGAN 4x+"] == str(folder / "RealESRGAN_x4plus.safetensors")


def test_picture_when_20000_wide_is_enlarged_or_refused_with_a_reason(
    real: tuple[TestClient, Studio],
) -> None:
    client, _ = real
    wide, tall = encoded((20_000, 2)), encoded((20_000, 600))

    fits = client.post(SINGLE, json={"image": wide, "upscaler_1": "Lanczos"})
    too_large = client.post(
        SINGLE, json={"image": tall, "upscaler_1": "Lanczos", "upscaling_resize": 64}
    )

    assert fits.status_code == 200 and opened(fits.json()["image"]).size == (40_000, 8)
    assert too_large.status_code == 422 and "1280000x" in too_large.json()["detail"]


# Faces of painted pictures


def painted(client: TestClient, studio: Studio, **body: Any) -> TextToImage:
    """What a painting request became."""
    answer = client.post("/sdapi/v1/txt2img", json={**QUICK, **body})
    assert answer.status_code == 200, answer.text
    params = studio.params_of(studio.jobs.list(limit=1)[0])
    assert isinstance(params, TextToImage)
    return params


@pytest.mark.parametrize(
    ("body", "expected"),
    [
        ({}, None),
        ({"restore_faces": False, "override_settings": {"face_restoration": True}}, None),
        ({"restore_faces": True}, ("CodeFormer", 0.5)),
        ({"override_settings": {"face_restoration": True}}, ("CodeFormer", 0.5)),
        (
            {
                "restore_faces": True,
                "override_settings": {
                    "face_restoration_model": "gfpgan", "code_former_weight": 0.25,
                },
            },
            ("GFPGAN", 0.25),
        ),
        (
            {
                "infotext": "a boat\nSteps: 3, Sampler: Euler, Seed: 1, Face restoration: GFPGAN, "
                "Size: 64x64, Face restoration weight: 0.2"
            },
            ("GFPGAN", 0.2),
        ),
    ],
)  # fmt: skip
def test_restore_faces_when_asked_takes_restorer_and_weight_from_the_options(
    client: TestClient, studio: Studio, body: dict[str, Any], expected: tuple[str, float] | None
) -> None:
    wish = painted(client, studio, **body).restore_faces

    assert (wish and (wish.model, wish.weight)) == expected


def test_restore_faces_when_the_weights_are_not_here_paints_and_warns(
    real: tuple[TestClient, Studio],
) -> None:
    client, _ = real

    answer = client.post("/sdapi/v1/txt2img", json={**QUICK, "restore_faces": True})

    assert answer.status_code == 200, answer.text
    info = json.loads(answer.json()["info"])
    assert len(answer.json()["images"]) == 1
    (warning,) = info["warnings"]
    assert warning.startswith("Faces were not restored: CodeFormer needs the file codeformer-")
    assert (info["restore_faces"], info["face_restoration_model"]) == (False, None)
    assert "Face restoration" not in info["infotexts"][0]


def test_hires_when_its_upscaler_is_a_network_takes_it_by_its_name(
    real: tuple[TestClient, Studio],
) -> None:
    client, _ = real
    wish = {**QUICK, "steps": 1, "enable_hr": True, "denoising_strength": 0}

    answer = client.post("/sdapi/v1/txt2img", json={**wish, "hr_upscaler": MODEL})
    unknown = client.post("/sdapi/v1/txt2img", json={**wish, "hr_upscaler": "no such"})
    not_here = client.post("/sdapi/v1/txt2img", json={**wish, "hr_upscaler": "R-ESRGAN 2x+"})

    assert answer.status_code == 200, answer.text
    assert opened(answer.json()["images"][0]).size == (128, 128)
    assert unknown.json()["errors"] == "could not find upscaler named no such"
    assert not_here.status_code == 404 and "RealESRGAN_x2plus" in not_here.json()["detail"]


def test_sd_upscale_when_asked_for_a_network_takes_its_name_or_number(
    real: tuple[TestClient, Studio],
) -> None:
    client, studio = real
    infos = client.get("/sdapi/v1/script-info").json()
    (script,) = [info for info in infos if info["name"] == "sd upscale"]
    choices = script["args"][2]["choices"]

    for wanted in (MODEL, choices.index(MODEL)):
        answer = client.post(
            "/sdapi/v1/img2img",
            json={
                **QUICK, "steps": 1, "init_images": [encoded((32, 32))], "batch_size": 4,
                "denoising_strength": 0, "script_name": "sd upscale",
                "script_args": ["", 8, wanted, 2],
            },
        )  # fmt: skip
        assert answer.status_code == 200, answer.text
        params = studio.params_of(studio.jobs.list(limit=1)[0])
        assert isinstance(params, ImageToImage) and params.sd_upscale is not None
        assert params.sd_upscale.upscaler == MODEL
