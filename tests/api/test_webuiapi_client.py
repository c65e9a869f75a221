"""The real server, worker and starter checkpoint, driven by the popular Python client and by the
payloads of A1111's own tests: 64x64 pixels, 3 steps."""

from __future__ import annotations

import base64
import io
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import requests
import webuiapi
from PIL import Image

from tests.api.clients import free_port
from tests.patience import PATIENCE, wait_until
from webui.settings import PROJECT_DIR

TINY = {"steps": 3, "width": 64, "height": 64}
LOGIN = ("ann", "word")
JOB_SECONDS = 240

T = {
    "batch_size": 1, "cfg_scale": 7, "denoising_strength": 0, "enable_hr": False, "eta": 0,
    "firstphase_height": 0, "firstphase_width": 0, "height": 64, "n_iter": 1,
    "negative_prompt": "", "prompt": "example prompt", "restore_faces": False, "s_churn": 0,
    "s_noise": 1, "s_tmax": 0, "s_tmin": 0, "sampler_index": "Euler a", "seed": -1,
    "seed_resize_from_h": -1, "seed_resize_from_w": -1, "steps": 3, "styles": [], "subseed": -1,
    "subseed_strength": 0, "tiling": False, "width": 64,
}  # fmt: skip
"""The payload of A1111's txt2img tests."""


def picture_text(image: Image.Image) -> str:
    data = io.BytesIO()
    image.save(data, "PNG")
    return "data:image/png;base64," + base64.b64encode(data.getvalue()).decode()


def is_past_step(state: dict[str, Any], step: int) -> bool:
    """A job runs and is there; the numbers alone may be those of the job before."""
    return bool(state["job"]) and state["sampling_step"] > step


def half_mask(size: tuple[int, int] = (64, 64)) -> Image.Image:
    """White = repaint on the right half."""
    mask = Image.new("L", size)
    mask.paste(255, (size[0] // 2, 0, *size))
    return mask


IMAGE_TO_IMAGE = {
    **{k: v for k, v in T.items() if k != "enable_hr" and not k.startswith("firstphase_")},
    "denoising_strength": 0.75, "include_init_images": False, "inpaint_full_res": False,
    "init_images": [picture_text(Image.new("RGB", (64, 64), (40, 120, 200)))],
    "inpaint_full_res_padding": 0, "inpainting_fill": 0, "inpainting_mask_invert": False,
    "mask": None, "mask_blur": 4, "override_settings": {}, "resize_mode": 0,
}  # fmt: skip
"""The payload of A1111's img2img tests."""


class Server:
    """``python app.py`` on a data folder of its own."""

    def __init__(self, data: Path, port: int, *flags: str) -> None:
        command = [sys.executable, "app.py", "--nowebui", "--port", str(port)]
        command += ["--api-auth", ":".join(LOGIN)]
        self.base = f"http://127.0.0.1:{port}"
        self.port = port
        self.log = data / "server-output.txt"
        with open(self.log, "wb") as out:
            self.process = subprocess.Popen(
                [*command, "--data-dir", str(data), *flags],
                cwd=PROJECT_DIR,
                env={**os.environ, "CI": "true", "COMMANDLINE_ARGS": ""},
                stdout=out,
                stderr=subprocess.STDOUT,
            )
        wait_until(self._is_up, self.log.read_text)

    def _is_up(self) -> bool:
        assert self.process.poll() is None, self.log.read_text()
        try:
            return requests.get(f"{self.base}/internal/ping", timeout=5).ok
        except requests.ConnectionError:
            return False

    def ask(self, path: str, body: dict[str, Any] | None = None) -> requests.Response:
        url = f"{self.base}/sdapi/v1/{path}"
        if body is None:
            return requests.get(url, timeout=PATIENCE, auth=LOGIN)
        return requests.post(url, json=body, timeout=JOB_SECONDS, auth=LOGIN)

    def stop(self) -> None:
        self.process.terminate()
        try:
            self.process.wait(PATIENCE)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait(PATIENCE)


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    server = Server(tmp_path_factory.mktemp("server"), free_port())
    try:
        yield server
    finally:
        server.stop()


@pytest.fixture(scope="module")
def api(server: Server) -> webuiapi.WebUIApi:
    name, password = LOGIN
    return webuiapi.WebUIApi(host="127.0.0.1", port=server.port, username=name, password=password)


# A1111's own tests


@pytest.mark.parametrize(
    "more",
    [
        {},
        {"negative_prompt": "example negative prompt"},
        {"prompt": "((emphasis)), (emphasis1:1.1), [to:1], [from::2], [from:to:0.3], [alt|alt1]"},
        {"height": 128},
        {"enable_hr": True},
        {"tiling": True},
        {"restore_faces": True},
        {"sampler_index": "PLMS"},
        {"sampler_index": "DDIM"},
        {"sampler_index": "UniPC"},
        {"n_iter": 2},
        {"batch_size": 2},
    ],
)
def test_txt2img_when_asked_as_a1111s_tests_do_answers_pictures(
    server: Server, more: dict[str, Any]
) -> None:
    payload = {**T, **more}

    answer = server.ask("txt2img", payload)

    assert answer.status_code == 200, answer.text
    assert len(answer.json()["images"]) == payload["n_iter"] * payload["batch_size"]


@pytest.mark.parametrize(
    "more",
    [
        {},
        {"mask": picture_text(half_mask())},
        {"mask": picture_text(half_mask()), "inpainting_mask_invert": True},
        {"script_name": "sd upscale", "script_args": ["", 8, "Lanczos", 2.0]},
    ],
)
def test_img2img_when_asked_as_a1111s_tests_do_answers_a_picture(
    server: Server, more: dict[str, Any]
) -> None:
    answer = server.ask("img2img", {**IMAGE_TO_IMAGE, **more})

    assert answer.status_code == 200, answer.text
    (image,) = map(opened, answer.json()["images"])
    assert image.size == ((128, 128) if "script_name" in more else (64, 64))


def opened(text: str) -> Image.Image:
    return Image.open(io.BytesIO(base64.b64decode(text, validate=True)))


def test_options_when_changed_as_a1111s_tests_do_round_trip(server: Server) -> None:
    before = server.ask("options").json()["send_seed"]

    assert server.ask("options", {"send_seed": not before}).status_code == 200
    assert server.ask("options").json()["send_seed"] is (not before)
    assert server.ask("options", {"send_seed": before}).status_code == 200


@pytest.mark.parametrize(
    "path",
    [
        "cmd-flags", "samplers", "upscalers", "sd-models", "hypernetworks", "face-restorers",
        "realesrgan-models", "prompt-styles", "embeddings",
    ],
)  # fmt: skip
def test_list_when_asked_as_a1111s_tests_do_is_200(server: Server, path: str) -> None:
    assert server.ask(path).status_code == 200


# The Python client


def test_client_when_it_paints_gets_a_picture_that_its_seed_repeats(
    api: webuiapi.WebUIApi,
) -> None:
    first = api.txt2img(prompt="a red apple", seed=5, **TINY)
    again = api.txt2img(prompt="a red apple", seed=5, **TINY)
    other = api.txt2img(prompt="a red apple", seed=6, **TINY)

    assert first.image.size == (64, 64)
    assert first.info["all_seeds"] == [5] and "Seed: 5" in first.info["infotexts"][0]
    assert first.image.tobytes() == again.image.tobytes() != other.image.tobytes()


def test_client_when_it_paints_from_a_picture_its_seed_repeats_it(
    api: webuiapi.WebUIApi,
) -> None:
    old = Image.new("RGB", (96, 64), (200, 40, 40))

    def paint(**more: Any) -> Any:
        return api.img2img(images=[old], prompt="a red apple", seed=5, **{**TINY, **more})

    first, again, weaker = paint(), paint(), paint(denoising_strength=0.1)

    assert first.image.size == (64, 64) and first.info["all_seeds"] == [5]
    assert "Denoising strength: 0.75" in first.info["infotexts"][0]
    assert first.image.tobytes() == again.image.tobytes() != weaker.image.tobytes()
    assert first.parameters["init_images"] is None


def test_client_when_it_sends_a_mask_keeps_the_rest_bit_for_bit(api: webuiapi.WebUIApi) -> None:
    old = Image.effect_noise((64, 64), 90).convert("RGB")

    result = api.img2img(
        images=[old], mask_image=half_mask(), mask_blur=2, inpaint_full_res=False,
        inpainting_fill=1, prompt="a star", seed=5, **TINY,
    )  # fmt: skip

    kept = (0, 0, 26, 64)  # the blur reaches 5 pixels beyond the mask's edge
    assert result.image.crop(kept).tobytes() == old.crop(kept).tobytes()
    assert result.image.tobytes() != old.tobytes()


def test_client_when_it_outpaints_keeps_the_picture_and_gets_it_larger(
    api: webuiapi.WebUIApi,
) -> None:
    old = Image.effect_noise((64, 64), 90).convert("RGB")

    result = api.img2img(
        images=[old], prompt="a star", seed=5, script_name="Outpainting mk2",
        script_args=["", 64, 2, ["right"], 1, 0.05], **TINY,
    )  # fmt: skip

    assert result.image.size == (128, 64)
    kept = (0, 0, 54, 64)
    assert result.image.crop(kept).tobytes() == old.crop(kept).tobytes()
    assert "Size: 128x64" in result.info["infotexts"][0]
    assert "Outpaint right: 64" in result.info["infotexts"][0]


def test_client_when_it_loops_gets_every_loop(api: webuiapi.WebUIApi) -> None:
    old = Image.new("RGB", (64, 64), (200, 40, 40))

    result = api.img2img(
        images=[old], prompt="a star", seed=5, script_name="loopback",
        script_args=[3, 0.4, "Lazy", "None"], **TINY,
    )  # fmt: skip

    assert len({image.tobytes() for image in result.images}) == 3
    assert result.info["all_seeds"] == [5, 6, 7]
    assert "Denoising curve: Lazy" in result.info["infotexts"][2]


def test_client_when_it_asks_for_hires_gets_the_large_size(api: webuiapi.WebUIApi) -> None:
    result = api.txt2img(
        prompt="a cat", enable_hr=True, hr_scale=2, denoising_strength=0.5,
        hr_upscaler=webuiapi.HiResUpscaler.Latent, **TINY,
    )  # fmt: skip

    assert result.image.size == (128, 128)


def test_client_when_it_paints_batches_gets_all(api: webuiapi.WebUIApi) -> None:
    result = api.txt2img(prompt="a cat", seed=1, batch_size=2, n_iter=2, **TINY)

    assert len(result.images) == 4 and result.info["all_seeds"] == [1, 2, 3, 4]


@pytest.mark.parametrize("sampler", ["DPM++ 2M Karras", "DPM++ SDE", "LCM", "Restart"])
def test_client_when_it_names_a_sampler_is_served(api: webuiapi.WebUIApi, sampler: str) -> None:
    result = api.txt2img(prompt="a cat", sampler_name=sampler, scheduler="automatic", **TINY)

    assert sampler.startswith(result.info["sampler_name"])


def test_client_when_it_sets_a_model_reads_it_back(api: webuiapi.WebUIApi) -> None:
    api.util_set_model("starter-emoji")

    assert "starter-emoji" in api.util_get_current_model()
    assert "starter-emoji" in api.util_get_model_names()[0]


def test_client_when_it_asks_for_lists_reads_them(api: webuiapi.WebUIApi) -> None:
    assert "Euler a" in api.util_get_sampler_names()
    assert "karras" in api.util_get_scheduler_names()
    assert {m["name"] for m in api.get_latent_upscale_modes()} >= {"Latent", "Latent (nearest)"}
    assert api.get_memory()["ram"]["total"] > 0
    assert api.refresh_checkpoints() is None
    assert [lora["name"] for lora in api.get_loras()] == ["starter-hedgehog"]
    assert api.get_cmd_flags()["nowebui"] is True


def test_client_when_it_reads_a_pictures_recipe_gets_its_text(api: webuiapi.WebUIApi) -> None:
    image = api.txt2img(prompt="a green frog", seed=3, save_images=True, **TINY).image

    assert api.png_info(image).info.startswith("a green frog")


def test_client_when_it_waits_until_ready_is_released(api: webuiapi.WebUIApi) -> None:
    api.util_wait_for_ready(check_interval=0.2)

    assert api.get_progress()["state"]["job_count"] == 0


def test_client_when_it_interrupts_gets_what_there_is(api: webuiapi.WebUIApi) -> None:
    results: list[Any] = []
    long = {"width": 256, "height": 256, "steps": 150, "n_iter": 10}
    painting = threading.Thread(target=lambda: results.append(api.txt2img(prompt="a dog", **long)))
    painting.start()
    wait_until(lambda: is_past_step(api.get_progress()["state"], 2))

    assert api.interrupt() == {}
    painting.join(PATIENCE)

    assert len(results[0].images) < 10 and not painting.is_alive()


def test_client_when_a_sampler_is_unknown_is_told_its_name(api: webuiapi.WebUIApi) -> None:
    with pytest.raises(RuntimeError, match=r"400.*Sampler not found"):
        api.txt2img(prompt="a cat", sampler_name="Imaginary", **TINY)


def test_client_when_it_has_the_password_gets_in(server: Server, api: webuiapi.WebUIApi) -> None:
    stranger = webuiapi.WebUIApi(host="127.0.0.1", port=server.port)
    with pytest.raises(RuntimeError, match="401"):
        stranger.txt2img(prompt="a cat", **TINY)
    assert api.get_options()["samples_format"] == "png"


# The end of the server


@pytest.mark.skipif(sys.platform == "win32", reason="no signals to other processes")
def test_waiting_request_when_the_server_is_stopped_is_told_and_the_job_is_kept(
    tmp_path: Path,
) -> None:
    server = Server(tmp_path, free_port())
    answers: list[requests.Response] = []
    body = {"prompt": "a dog", **TINY, "steps": 150, "n_iter": 50, "save_images": True}
    painting = threading.Thread(target=lambda: answers.append(server.ask("txt2img", body)))
    try:
        painting.start()
        wait_until(lambda: is_past_step(server.ask("progress").json()["state"], 1))
        server.process.send_signal(signal.SIGINT)
        painting.join(PATIENCE)
        server.process.wait(PATIENCE)
    finally:
        server.stop()

    assert answers and answers[0].status_code == 503
    assert "keeps its place in the queue" in answers[0].json()["detail"]
    assert server.process.returncode == 0


def test_picture_when_sent_is_a_whole_file(server: Server) -> None:
    text = server.ask("txt2img", T).json()["images"][0]

    with Image.open(io.BytesIO(base64.b64decode(text, validate=True))) as image:
        image.load()
        assert (image.format, image.size) == ("PNG", (64, 64))
