"""A model process without a model, for looking at the page: paints soft gradients by seed.

A step takes 30 ms. Words in the prompt change that: ``stuck`` waits at the first step until it is
stopped, ``held`` in the middle of each batch until it is stopped, skipped or a file ``LET_ON``
comes into the folder of the first argument; ``fail`` ends the job as lack of memory does.
"""

from __future__ import annotations

import io
import json
import os
import queue
import shutil
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image, ImageFilter
from safetensors.numpy import save_file

from webui import wire
from webui.errors import DeviceMemoryError
from webui.model_process.plot_run import PlotRun
from webui.params import from_json
from webui.pictures import encode

HELD = "held-fetch"
"""As long as a file of this name lies in the models folder, nothing is fetched."""

LET_ON = "let-on"
"""A file of this name lets one held batch go on."""


class Asked:
    """What the person asked of the running job."""

    def __init__(self) -> None:
        self.interrupt = threading.Event()
        self.skip = threading.Event()

    @property
    def should_stop(self) -> bool:
        return self.interrupt.is_set() or self.skip.is_set()


def main() -> None:
    """Serve until stdin closes."""
    out, asked, work = wire.Sender(sys.stdout.buffer), Asked(), queue.Queue()
    threading.Thread(target=listen, args=(asked, work), daemon=True).start()
    out.send({"type": "ready", "device": "fake", "pid": os.getpid()})
    while (message := work.get()) is not None:
        paint(out, asked, message)


def listen(asked: Asked, work: queue.Queue[dict[str, Any] | None]) -> None:
    """Take messages; interrupts and skips act at once."""
    while (message := wire.receive(sys.stdin.buffer)) is not None:
        if message["type"] == "interrupt":
            asked.interrupt.set()
        elif message["type"] == "skip":
            asked.skip.set()
        elif message["type"] == "exit":
            work.put(None)
        elif message["type"] == "run":
            asked.interrupt.clear()
            work.put(message)
    os._exit(0)


def paint(out: wire.Sender, asked: Asked, message: dict[str, Any]) -> None:
    """One job, with every message a real worker sends."""
    job, params = message["job"], json.loads(message["params"])
    out.send({"type": "started", "job": job})
    if params["kind"] == "fetch-weights":
        fetch(out, job, message)
        return
    if params["kind"] == "plot":
        result = PlotRun(from_json(message["params"]), message, out).run()  # type: ignore[arg-type]
        out.send({"type": "done", "job": job, "result": result})
        return
    if "file_tool" in message:
        make_file(out, job, message["file_tool"])
        return
    if params["kind"] == "extras":
        restore(out, asked, job, params, message["inputs"])
        return
    if "fail" in params["prompt"]:
        error = DeviceMemoryError(
            "The picture needs about 8.0 GiB, the card has 2.1 GiB free.",
            "Make it smaller, lower the batch size, or close other programs.",
        )
        out.send({"type": "failed", "job": job, "error": error.to_json()})
        return
    for batch in range(params["batch_count"]):
        asked.skip.clear()
        sample(out, asked, job, params, batch)
        for place in range(params["batch_size"]):
            finish(out, job, params, batch, place, message["checkpoint"]["stem"])
        if asked.interrupt.is_set():
            break
    state = "cancelled" if asked.interrupt.is_set() else "done"
    out.send({"type": state, "job": job, "result": {}})


def fetch(out: wire.Sender, job: int, message: dict[str, Any]) -> None:
    """A file like R-ESRGAN 4x+ appears in the models folder; not while ``HELD`` is there."""
    facts = {"batch": 0, "batches": 1, "steps": 10, "stage": "fetching"}
    models = Path(message["fetch"]["models"])
    out.send({"type": "progress", "job": job, "step": 1, **facts})
    while (models / HELD).exists():
        time.sleep(0.05)
    folder = models / "RealESRGAN"
    folder.mkdir(parents=True, exist_ok=True)
    weights = {"conv_first.weight": np.zeros((1,), np.float32)}
    save_file(weights, folder / "RealESRGAN_x4plus.safetensors")
    out.send({"type": "done", "job": job, "result": {"files": []}})


def make_file(out: wire.Sender, job: int, tool: dict[str, Any]) -> None:
    """A weights file made of others: a copy of the first."""
    facts = {"batch": 0, "batches": 1, "steps": 5, "stage": "merging"}
    for step in range(1, 6):
        time.sleep(0.1)
        out.send({"type": "progress", "job": job, "step": step, **facts})
    made = Path(tool["folder"]) / "made of others.safetensors"
    made.parent.mkdir(parents=True, exist_ok=True)
    shutil.copyfile(tool["files"][0]["path"], made)
    out.send({"type": "done", "job": job, "result": {"files": [str(made)]}})


def restore(
    out: wire.Sender, asked: Asked, job: int, params: dict[str, Any], inputs: dict[str, str]
) -> None:
    """Photographs twice as large, each with two faces in it."""
    count = len(params["images"])
    for index, key in enumerate(params["images"]):
        facts = {"batch": index, "batches": count, "steps": 4, "stage": "upscaling"}
        for step in range(1, 5):
            time.sleep(0.05)
            out.send({"type": "progress", "job": job, "step": step, **facts})
        if asked.interrupt.is_set():
            out.send({"type": "cancelled", "job": job, "result": {}})
            return
        with Image.open(inputs[key]) as image:
            large = image.convert("RGB").resize((image.width * 2, image.height * 2))
        refused = [r["face"] for r in params["refused_faces"] if r["image"] == index]
        crop = io.BytesIO()
        large.resize((64, 64)).save(crop, "jpeg")
        faces = [
            {
                "number": number, "box": [0, 0, 9, 9], "score": 0.9, "distance": 0.2 + number / 2,
                "is_pasted": number not in refused, "before": crop.getvalue(),
                "after": crop.getvalue() + b"\0",
            }
            for number in (0, 1)
        ]  # fmt: skip
        out.send({"type": "faces", "job": job, "index": index, "faces": faces})
        infotext = f"Postprocess upscaler: {params['upscaler_1']}"
        out.send(
            {
                "type": "image", "job": job, "index": index, "batch": index,
                "image": encode(large, format="png", infotext=infotext), "format": "png",
                "infotext": infotext, "width": large.width, "height": large.height, "facts": {},
            }
        )  # fmt: skip
    out.send({"type": "done", "job": job, "result": {}})


def sample(out: wire.Sender, asked: Asked, job: int, params: dict[str, Any], batch: int) -> None:
    """Steps with previews that grow sharper."""
    steps = params["steps"]
    clean = gradient(96, 96 * params["height"] // params["width"], params["seed"] + batch)
    for step in range(1, steps + 1):
        time.sleep(0.03)
        if "held" in params["prompt"] and step == steps // 2 + 1:
            hold(lambda: asked.should_stop or may_go_on())
        if "stuck" in params["prompt"]:
            hold(lambda: asked.should_stop)
        if asked.should_stop:
            return
        facts = {"batch": batch, "batches": params["batch_count"], "stage": "sampling"}
        out.send({"type": "progress", "job": job, "step": step, "steps": steps, **facts})
        if step % 4 == 0:
            data = io.BytesIO()
            clean.filter(ImageFilter.GaussianBlur(24 * (1 - step / steps))).save(data, "jpeg")
            out.send({"type": "preview", "job": job, "image": data.getvalue(), "format": "jpeg"})


def hold(is_over: Callable[[], bool]) -> None:
    """Wait."""
    while not is_over():
        time.sleep(0.02)


def may_go_on() -> bool:
    """Whether the file that lets one batch go on has come; it is used up."""
    try:
        Path(sys.argv[1], LET_ON).unlink()
    except (IndexError, FileNotFoundError):
        return False
    return True


def finish(
    out: wire.Sender, job: int, params: dict[str, Any], batch: int, place: int, model: str
) -> None:
    """One picture with its recipe."""
    index = batch * params["batch_size"] + place
    seed = params["seed"] + index
    negative = (
        f"\nNegative prompt: {params['negative_prompt']}" if params["negative_prompt"] else ""
    )
    infotext = (
        f"{params['prompt']}{negative}\nSteps: {params['steps']}, Sampler: {params['sampler']}, "
        f"Schedule type: {params['schedule']}, CFG scale: {params['cfg_scale']}, Seed: {seed}, "
        f"Size: {params['width']}x{params['height']}, Model: {model}, RNG: NV, Version: danqing"
    )
    image = gradient(params["width"], params["height"], seed)
    data = encode(image, format=params["output"]["format"], infotext=infotext)
    out.send(
        {
            "type": "image", "job": job, "index": index, "batch": batch, "image": data,
            "format": params["output"]["format"], "infotext": infotext, "seed": seed,
            "subseed": params["subseed"], "width": image.width, "height": image.height,
            "facts": {"model_name": model},
        }
    )  # fmt: skip


def gradient(width: int, height: int, seed: int) -> Image.Image:
    """Four corners in colours that the seed gives, blended."""
    values = [(seed * 7919 + k * 104729) % 200 + 40 for k in range(12)]
    corners = Image.new("RGB", (2, 2))
    corners.putdata([tuple(values[k * 3 : k * 3 + 3]) for k in range(4)])
    return corners.resize((max(8, width), max(8, height)), Image.Resampling.BICUBIC)


if __name__ == "__main__":
    main()
