"""Measures what the program costs beside the networks themselves. Prints tables; judges nothing."""

from __future__ import annotations

import argparse
import base64
import json
import os
import shutil
import socket
import statistics
import struct
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import psutil

PROJECT = Path(__file__).resolve().parent.parent
STARTER = PROJECT / "models/Stable-diffusion/starter-emoji.safetensors"
sys.path.insert(0, str(PROJECT))

from benchmarks import second_passes  # noqa: E402
from benchmarks.big_pictures import measure_sd_upscale, measure_tiled_vae  # noqa: E402
from benchmarks.table import header, row  # noqa: E402


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("what", choices=list(MEASURES))
    parser.add_argument("--runs", type=int, default=5)
    options = parser.parse_args()
    MEASURES[options.what](options.runs)


def spread(values: list[float]) -> str:
    return f"{statistics.median(values):.3f} ({min(values):.3f}–{max(values):.3f})"


# Servers


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


class Server:
    """One of our servers in a data folder of its own."""

    def __init__(self, data: Path, *flags: str) -> None:
        self.port = free_port()
        self.began = time.monotonic()
        command = [sys.executable, "app.py", "--port", str(self.port), "--data-dir", str(data)]
        self.process = subprocess.Popen(
            [*command, "--no-autolaunch", *flags],
            cwd=PROJECT,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        self.web = psutil.Process(self.process.pid)

    def get(self, path: str, timeout: float = 600) -> bytes:
        return self._open(urllib.request.Request(self.url(path)), timeout)

    def post(self, path: str, body: dict[str, object], timeout: float = 3600) -> dict:
        request = urllib.request.Request(
            self.url(path),
            data=json.dumps(body).encode(),
            headers={"Content-Type": "application/json"},
        )
        return json.loads(self._open(request, timeout))

    def url(self, path: str) -> str:
        return f"http://127.0.0.1:{self.port}{path}"

    @staticmethod
    def _open(request: urllib.request.Request, timeout: float) -> bytes:
        with urllib.request.urlopen(request, timeout=timeout) as answer:
            return answer.read()

    def wait_for(self, path: str) -> float:
        """Seconds from the start until the path answers."""
        while True:
            try:
                self.get(path, timeout=30)
                return time.monotonic() - self.began
            except OSError:
                if self.process.poll() is not None:
                    raise SystemExit("The server ended before it answered.") from None
                time.sleep(0.02)

    def cpu_seconds(self) -> float:
        times = self.web.cpu_times()
        return times.user + times.system

    def stop(self) -> None:
        self.process.terminate()
        self.process.wait(30)


@contextmanager
def serving(*flags: str, data: Path | None = None) -> Iterator[Server]:
    folder = data or Path(tempfile.mkdtemp(prefix="danqing-bench-"))
    server = Server(folder, *flags)
    try:
        yield server
    finally:
        server.stop()
        if data is None:
            shutil.rmtree(folder, ignore_errors=True)


# Start


GRADIO_ALONE = """
import sys, time, gradio as gr
with gr.Blocks() as page:
    a = gr.Textbox(); b = gr.Button(); b.click(lambda x: x, a, a)
page.launch(server_port=int(sys.argv[1]), quiet=True, ssr_mode=False)
"""


def measure_startup(runs: int) -> None:
    ours: list[tuple[float, float, float]] = []
    gradio: list[tuple[float, float]] = []
    for _ in range(runs):
        with serving() as server:
            wall = server.wait_for("/")
            cpu = server.cpu_seconds()
            time.sleep(1)
            ours.append((wall, cpu, server.web.memory_info().rss / 2**20))
        gradio.append(_gradio_alone())
    header("start to first page", "wall s", "CPU s", "web process MB")
    row(
        "ours",
        spread([o[0] for o in ours]),
        spread([o[1] for o in ours]),
        spread([o[2] for o in ours]),
    )
    row(
        "a page of three Gradio components",
        spread([g[0] for g in gradio]),
        spread([g[1] for g in gradio]),
        "",
    )
    row("ComfyUI (measured elsewhere on such a machine)", "", "10", "1000")


def _gradio_alone() -> tuple[float, float]:
    port = free_port()
    environ = {**os.environ, "GRADIO_ANALYTICS_ENABLED": "0", "HF_HUB_OFFLINE": "1"}
    began = time.monotonic()
    process = subprocess.Popen(
        [sys.executable, "-c", GRADIO_ALONE, str(port)],
        env=environ,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    try:
        while True:
            try:
                urllib.request.urlopen(f"http://127.0.0.1:{port}/", timeout=30).read()
                break
            except OSError:
                time.sleep(0.02)
        wall = time.monotonic() - began
        times = psutil.Process(process.pid).cpu_times()
        return wall, times.user + times.system
    finally:
        process.terminate()
        process.wait(30)


def measure_many_files(runs: int) -> None:
    with tempfile.TemporaryDirectory(prefix="danqing-many-") as folder:
        few, many = Path(folder, "few"), Path(folder, "many")
        few.mkdir()
        _write_many(many / "models")
        times: dict[str, list[float]] = {"few": [], "many": []}
        for data in (few, many):
            with serving(data=data) as server:  # the first start, which may look at every file
                server.wait_for("/sdapi/v1/sd-models")
        for _ in range(runs):
            for name, data in (("few", few), ("many", many)):
                with serving(data=data) as server:
                    server.wait_for("/sdapi/v1/sd-models")
                    times[name].append(server.wait_for("/"))
    header("second start", "wall s")
    row("starter only", spread(times["few"]))
    row("and 5,000 LoRA files, 200 checkpoints", spread(times["many"]))
    extra = statistics.median(times["many"]) - statistics.median(times["few"])
    row("difference", f"{extra:.3f}")


def _write_many(models: Path) -> None:
    lora = {
        f"lora_unet_block_{i}.lora_{d}.weight": [4, 4] for i in range(264) for d in ("up", "down")
    }
    checkpoint = {f"model.diffusion_model.block.{i}.weight": [4, 4] for i in range(1100)}
    for i in range(5000):
        _write_empty_weights(models / "Lora" / f"{i % 50:02d}" / f"lora_{i:04d}.safetensors", lora)
    for i in range(200):
        _write_empty_weights(models / "Stable-diffusion" / f"model_{i:03d}.safetensors", checkpoint)


def _write_empty_weights(path: Path, shapes: dict[str, list[int]]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    entries: dict[str, object] = {"__metadata__": {"ss_output_name": path.stem}}
    end = 0
    for name, shape in shapes.items():
        size = 2 * shape[0] * shape[1]
        entries[name] = {"dtype": "F16", "shape": shape, "data_offsets": [end, end + size]}
        end += size
    text = json.dumps(entries).encode()
    path.write_bytes(struct.pack("<Q", len(text)) + text + bytes(end))


# Painting


def measure_starter(runs: int) -> None:
    _measure_painting(STARTER, side=128, steps=20, runs=runs, data=None)


def measure_full(runs: int) -> None:
    with tempfile.TemporaryDirectory(prefix="danqing-full-") as folder:
        file = Path(folder, "models/Stable-diffusion/random-sd15.safetensors")
        _write_full_size(file)
        _measure_painting(file, side=256, steps=4, runs=runs, data=Path(folder))


def _write_full_size(path: Path) -> None:
    """A Stable Diffusion 1.5 of random weights in the original layout."""
    from webui.torch_setup import prepare_torch

    prepare_torch()
    import torch
    from safetensors.torch import save_file

    from tests.checkpoints.stripped import sd1_shapes

    generator = torch.Generator().manual_seed(0)
    tensors = {}
    for name, (_, shape) in sd1_shapes().items():
        if name.endswith("position_ids"):
            tensors[name] = torch.arange(77)[None]
            continue
        spread_ = 0.02 if len(shape) > 1 else 0.0
        value = torch.randn(shape, generator=generator) * spread_
        is_scale = len(shape) == 1 and "norm" in name and name.endswith("weight")
        tensors[name] = (value + (1.0 if is_scale else 0.0)).half()
    path.parent.mkdir(parents=True)
    save_file(tensors, path)


def _measure_painting(file: Path, *, side: int, steps: int, runs: int, data: Path | None) -> None:
    body: dict[str, object] = {
        "prompt": "a red apple on a yellow background",
        "negative_prompt": "blurry",
        "sampler_name": "DPM++ 2M",
        "scheduler": "Karras",
        "steps": steps,
        "width": side,
        "height": side,
        "seed": 7,
        "cfg_scale": 5,
        "override_settings": {"sd_model_checkpoint": file.stem},
    }
    no_preview = {**body, "override_settings": {**body["override_settings"]}}  # type: ignore[dict-item]
    theirs = Diffusers(file, body)
    times: dict[str, list[float]] = {k: [] for k in ("ours", "bare", "diffusers", "no preview")}
    with serving("--nowebui", data=data) as server:
        server.wait_for("/internal/ping")
        server.post("/sdapi/v1/txt2img", body)
        for run in range(runs + 1):
            server.post("/sdapi/v1/options", {"live_previews_enable": True})
            now = {"ours": _timed(lambda: server.post("/sdapi/v1/txt2img", body))}
            now["bare"] = _timed(theirs.bare_calls)
            now["diffusers"] = _timed(theirs.paint)
            server.post("/sdapi/v1/options", {"live_previews_enable": False})
            now["no preview"] = _timed(lambda: server.post("/sdapi/v1/txt2img", no_preview))
            if run:  # the first round warms everything up
                for name, seconds in now.items():
                    times[name].append(seconds)
        answer = server.post("/sdapi/v1/txt2img", body)
    assert len(base64.b64decode(answer["images"][0])) > 100
    header(f"{file.stem}, {side}×{side}, {steps} steps", "seconds")
    row("our request over HTTP, preview on", spread(times["ours"]))
    row("our request over HTTP, preview off", spread(times["no preview"]))
    row("bare network calls (text, U-Net, VAE) of the same modules", spread(times["bare"]))
    row("plain diffusers pipeline", spread(times["diffusers"]))
    header("ratio, run by run", "median (min–max)")
    row("request / bare network calls", spread(_ratios(times["ours"], times["bare"])))
    row("request / diffusers", spread(_ratios(times["ours"], times["diffusers"])))
    row("preview on / off", spread(_ratios(times["ours"], times["no preview"])))


def measure_second_passes(runs: int) -> None:
    """Hires fix and inpainting with the starter and with full-size networks."""
    second_passes.measure(STARTER, side=128, steps=20, runs=runs)
    with tempfile.TemporaryDirectory(prefix="danqing-full-") as folder:
        file = Path(folder, "models/Stable-diffusion/random-sd15.safetensors")
        _write_full_size(file)
        second_passes.measure(file, side=256, steps=4, runs=runs)


def _timed(work: Callable[[], object]) -> float:
    began = time.perf_counter()
    work()
    return time.perf_counter() - began


def _ratios(ours: list[float], others: list[float]) -> list[float]:
    return [a / b for a, b in zip(ours, others, strict=True)]


def _clip_tokenizer() -> object:
    """transformers' CLIP tokenizer over the vocabulary the project ships."""
    from transformers import CLIPTokenizer

    from webui.prompts.tokenizer import VOCABULARY_FILE, ClipTokenizer, read_merges

    vocabulary = ClipTokenizer.load().backend.get_vocab()
    return CLIPTokenizer(vocab=vocabulary, merges=read_merges(VOCABULARY_FILE), model_max_length=77)


class Diffusers:
    """The same weights in a plain diffusers pipeline, and its networks called bare."""

    def __init__(self, file: Path, body: dict) -> None:
        from webui.torch_setup import prepare_torch

        prepare_torch()
        import torch
        from diffusers import DPMSolverMultistepScheduler, StableDiffusionPipeline

        from webui.checkpoints.load import load_checkpoint

        self._torch = torch
        self._body = body
        model = load_checkpoint(file, device="cpu", dtype=torch.float32)
        self._ours = model
        plain = load_checkpoint(file, device="cpu", dtype=torch.float32, for_painting=False)
        scheduler = DPMSolverMultistepScheduler(
            beta_start=0.00085,
            beta_end=0.012,
            beta_schedule="scaled_linear",
            use_karras_sigmas=True,
            algorithm_type="dpmsolver++",
        )
        self._pipe = StableDiffusionPipeline(
            vae=plain.vae,
            text_encoder=plain.text_encoder,
            tokenizer=_clip_tokenizer(),
            unet=plain.unet,
            scheduler=scheduler,
            safety_checker=None,
            feature_extractor=None,
            requires_safety_checker=False,
        )
        self._pipe.set_progress_bar_config(disable=True)

    def paint(self) -> None:
        """One picture as the diffusers manual paints it."""
        body = self._body
        self._pipe(
            body["prompt"],
            negative_prompt=body["negative_prompt"],
            num_inference_steps=body["steps"],
            guidance_scale=body["cfg_scale"],
            width=body["width"],
            height=body["height"],
            generator=self._torch.Generator().manual_seed(7),
        )

    def bare_calls(self) -> None:
        """Only what no program can leave out: U-Net calls and one VAE decoding (the text is
        unchanged between runs and therefore already encoded)."""
        torch, model, body = self._torch, self._ours, self._body
        cells = body["width"] // 8
        width = model.text_encoder.config.hidden_size
        with torch.inference_mode():
            latents = torch.randn(2, 4, cells, cells)
            context = torch.randn(2, 77, width)
            for _ in range(body["steps"]):
                model.unet(latents, torch.tensor([500.0, 500.0]), encoder_hidden_states=context)
            model.vae.decode(latents[:1])


MEASURES: dict[str, Callable[[int], None]] = {
    "startup": measure_startup,
    "starter": measure_starter,
    "full": measure_full,
    "second-passes": measure_second_passes,
    "many-files": measure_many_files,
    "tiled-vae": measure_tiled_vae,
    "sd-upscale": measure_sd_upscale,
}


if __name__ == "__main__":
    main()
