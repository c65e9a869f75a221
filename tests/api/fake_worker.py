"""A model process without a model: paints plain colours fast, and obeys words in the prompt.

``slow`` takes 20 ms a step, ``stuck`` waits for an interrupt, ``fail`` fails for lack of memory,
``defect`` fails as an unexpected problem does. Run as a program by the Studio under test.
"""

from __future__ import annotations

import io
import json
import os
import queue
import sys
import threading
import time
from typing import Any

from PIL import Image, PngImagePlugin

from webui import wire
from webui.errors import DeviceMemoryError, JobError, WebUIError
from webui.model_process.plot_run import PlotRun
from webui.params import from_json

messages: queue.SimpleQueue[dict[str, Any]] = queue.SimpleQueue()
interrupted = threading.Event()
skipped = threading.Event()


def main() -> None:
    out = wire.Sender(sys.stdout.buffer)
    threading.Thread(target=listen, args=(out,), daemon=True).start()
    out.send({"type": "ready", "device": "fake", "pid": os.getpid()})
    while True:
        run(out, messages.get())


def listen(out: wire.Sender) -> None:
    while (message := wire.receive(sys.stdin.buffer)) is not None:
        kind = message["type"]
        if kind == "interrupt":
            interrupted.set()
        elif kind == "skip":
            skipped.set()
        elif kind in ("memory", "unload", "load"):
            cuda = {"system": {"free": 3, "used": 4, "total": 7}}
            out.send({"type": "reply", "request": message["request"], "cuda": cuda})
        else:
            interrupted.clear()
            messages.put(message)
    os._exit(0)


def run(out: wire.Sender, message: dict[str, Any]) -> None:
    job, params = message["job"], json.loads(message["params"])
    skipped.clear()
    out.send({"type": "started", "job": job})
    if params["kind"] == "plot":
        lay_out(out, message)
        return
    if params["kind"] == "extras":
        work_over(out, job, params, message["inputs"])
        return
    if params["kind"] == "interrogate":
        shown = (
            message["describer"]["kind"]
            + " "
            + os.path.basename(message["inputs"][params["image"]])
        )
        out.send({"type": "done", "job": job, "result": {"caption": shown}})
        return
    if params["kind"] == "make-map":
        answer_map(out, job, 0, params["unit"], message)
        out.send({"type": "done", "job": job, "result": {}})
        return
    if "fail" in params["prompt"]:
        error = DeviceMemoryError("8 GiB were needed, 1 is free.", "Make smaller pictures.")
        out.send({"type": "failed", "job": job, "error": error.to_json()})
        return
    if "defect" in params["prompt"]:
        error = JobError(
            "The job stopped on an unexpected problem: ValueError: 7", "Look in the log."
        )
        out.send({"type": "failed", "job": job, "error": error.to_json()})
        return
    for number, unit in enumerate(params["control"] if message["wants_maps"] else ()):
        answer_map(out, job, number, unit, message)
    for batch in range(params["batch_count"]):
        sample(out, job, params, batch)
        finish_batch(out, job, params, batch, message["checkpoint"])
        if interrupted.is_set():
            break
        skipped.clear()
    result = {
        "sd_model_name": message["checkpoint"]["stem"],
        "sd_model_hash": (message["checkpoint"]["sha256"] or "")[:10] or None,
        "sd_vae_name": None,
        "sd_vae_hash": None,
        "extra_generation_params": {"Clip skip": params["clip_skip"]},
    }
    kind = "cancelled" if interrupted.is_set() else "done"
    out.send({"type": kind, "job": job, "result": result})


def answer_map(
    out: wire.Sender, job: int, number: int, unit: dict[str, Any], message: dict[str, Any]
) -> None:
    """Its own picture, upside down; names the network that would have made it."""
    if unit["image"] is None:
        return
    network = message["map_networks"].get(unit["module"], "")
    with Image.open(message["inputs"][unit["image"]]) as image:
        turned, data = image.rotate(180), io.BytesIO()
        chunks = PngImagePlugin.PngInfo()
        chunks.add_text("network", network)
        if unit["module"] == "openpose":
            people = [{"pose_keypoints_2d": [0.5, 0.25, 1.0]}]
            told = {"people": people, "canvas_width": 64, "canvas_height": 48}
            chunks.add_text("openpose", json.dumps(told))
        turned.save(data, "PNG", pnginfo=chunks)
    out.send({"type": "control-map", "job": job, "unit": number, "image": data.getvalue()})


def lay_out(out: wire.Sender, message: dict[str, Any]) -> None:
    """The real layout of sheets, which needs no model."""
    try:
        result = PlotRun(from_json(message["params"]), message, out).run()  # type: ignore[arg-type]
    except WebUIError as err:
        out.send({"type": "failed", "job": message["job"], "error": err.to_json()})
        return
    out.send({"type": "done", "job": message["job"], "result": result})


def work_over(out: wire.Sender, job: int, params: dict[str, Any], inputs: dict[str, str]) -> None:
    """Hand every input back as it is; one named ``stuck`` waits for an interrupt."""
    for index, key in enumerate(params["images"]):
        if params["names"] and "stuck" in params["names"][index]:
            interrupted.wait()
        if interrupted.is_set():
            break
        with open(inputs[key], "rb") as file:
            data = file.read()
        width, height = Image.open(io.BytesIO(data)).size
        out.send(
            {
                "type": "image", "job": job, "index": index, "batch": index, "image": data,
                "format": "png", "infotext": "", "width": width, "height": height, "facts": {},
            }
        )  # fmt: skip
    pairs = {"Postprocess upscaler": params["upscaler_1"], "Seen": "a < b"}
    kind = "cancelled" if interrupted.is_set() else "done"
    out.send({"type": kind, "job": job, "result": {"extra_generation_params": pairs}})


def sample(out: wire.Sender, job: int, params: dict[str, Any], batch: int) -> None:
    steps = params["steps"]
    for step in range(steps):
        if interrupted.is_set() or skipped.is_set():
            return
        facts = {"batch": batch, "batches": params["batch_count"], "stage": "sampling"}
        out.send({"type": "progress", "job": job, "step": step + 1, "steps": steps, **facts})
        if "slow" in params["prompt"]:
            time.sleep(0.02)
        if "stuck" in params["prompt"] and step == 0:
            preview = picture(64, 64, 0, "", "jpeg")
            out.send({"type": "preview", "job": job, "image": preview, "format": "jpeg"})
            while not interrupted.is_set() and not skipped.is_set():
                time.sleep(0.01)


def finish_batch(
    out: wire.Sender, job: int, params: dict[str, Any], batch: int, checkpoint: dict[str, Any]
) -> None:
    for place in range(params["batch_size"]):
        index = batch * params["batch_size"] + place
        seed = params["seed"] + (0 if params["subseed_strength"] else index)
        infotext = (
            f"{params['prompt']}\nNegative prompt: {params['negative_prompt']}\n"
            f"Steps: {params['steps']}, Sampler: {params['sampler']}, CFG scale: "
            f"{params['cfg_scale']}, Seed: {seed}, Size: {params['width']}x{params['height']}"
        )
        output = params["output"]
        image = picture(
            params["width"], params["height"], seed,
            infotext if output["embed_infotext"] else "", output["format"],
        )  # fmt: skip
        facts = {"model_name": checkpoint["stem"]}
        out.send(
            {
                "type": "image", "job": job, "index": index, "batch": batch, "image": image,
                "format": output["format"], "infotext": infotext, "seed": seed,
                "subseed": params["subseed"] + index, "width": params["width"],
                "height": params["height"], "facts": facts,
            }
        )  # fmt: skip


def picture(width: int, height: int, seed: int, infotext: str, image_format: str) -> bytes:
    """A picture file in a colour that its seed decides."""
    image = Image.new("RGB", (width, height), (seed % 256, seed // 256 % 256, 99))
    data = io.BytesIO()
    if image_format == "png":
        chunks = PngImagePlugin.PngInfo()
        if infotext:
            chunks.add_text("parameters", infotext)
        image.save(data, "PNG", pnginfo=chunks)
    else:
        image.save(data, {"jpg": "JPEG", "jpeg": "JPEG"}.get(image_format, image_format.upper()))
    return data.getvalue()


if __name__ == "__main__":
    main()
