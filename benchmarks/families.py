"""Full-size models of each family: made of random numbers, loaded, and painted one step with.

    .venv/bin/python benchmarks/families.py sd1 sd2 sdxl [--dtype bfloat16] [--side 256]

A file of the family's real names and shapes, in float16, is written to a temporary folder (2, 2.6
and 6.9 GB). In a process of its own it is read plainly (every tensor converted and kept), then
loaded, and a picture of one step is painted. Needs as much memory as the weights take in the
number format, and half as much again.
"""

from __future__ import annotations

import argparse
import gzip
import json
import math
import struct
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

PROJECT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(PROJECT))

from benchmarks.table import header, row  # noqa: E402

NAMES = {"sd1": "SD 1.5", "sd2": "SD 2.1", "sdxl": "SDXL", "sdxl-refiner": "SDXL refiner"}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("families", nargs="+", choices=list(NAMES))
    parser.add_argument("--dtype", default="bfloat16", choices=["float32", "bfloat16"])
    parser.add_argument("--side", type=int, default=256)
    parser.add_argument("--threads", type=int, default=0)
    parser.add_argument("--file", type=Path, help=argparse.SUPPRESS)  # of the inner process
    options = parser.parse_args()
    if options.file is not None:
        print(json.dumps(_run(options.file, options.dtype, options.side, options.threads)))
        return
    header(
        f"{options.dtype}, {options.side}x{options.side}, 1 step", "file GB", "in memory GB",
        "plain reading s", "loading s", "loading ÷ reading", "picture s", "peak GB",
    )  # fmt: skip
    for family in options.families:
        with tempfile.TemporaryDirectory(prefix="danqing-families-") as folder:
            file = Path(folder) / f"{family}.safetensors"
            write_random(family, file)
            found = _alone(family, file, options)
            row(
                NAMES[family], *(f"{found[k] / 1e9:.2f}" for k in ("file", "memory")),
                f"{found['read']:.1f}", f"{found['load']:.1f}",
                f"{found['load'] / found['read']:.2f}", f"{found['picture']:.1f}",
                f"{found['peak'] / 1e9:.2f}",
            )  # fmt: skip


def _alone(family: str, file: Path, options: argparse.Namespace) -> dict[str, float]:
    command = [
        sys.executable, __file__, family, "--file", str(file), "--dtype", options.dtype,
        "--side", str(options.side), "--threads", str(options.threads),
    ]  # fmt: skip
    done = subprocess.run(command, cwd=PROJECT, stdout=subprocess.PIPE, check=True)
    return json.loads(done.stdout.splitlines()[-1])


def write_random(family: str, file: Path) -> None:
    """Write a file of a family's names and shapes; one tensor at a time is in memory."""
    import numpy as np

    stripped = PROJECT / "tests" / "data" / "stripped" / f"{family}.json.gz"
    shapes = {
        name: tuple(shape)
        for name, (dtype, shape) in json.loads(gzip.decompress(stripped.read_bytes())).items()
        if dtype == "F16"
    }
    noise = np.random.default_rng(0).standard_normal(1 << 20, dtype=np.float32)
    head: dict[str, Any] = {}
    end = 0
    for name, shape in shapes.items():
        size = 2 * math.prod(shape)
        head[name] = {"dtype": "F16", "shape": shape, "data_offsets": [end, end + size]}
        end += size
    text = json.dumps(head).encode()
    with file.open("wb") as out:
        out.write(struct.pack("<Q", len(text)) + text)
        for name, shape in shapes.items():
            out.writelines(_values(name, shape, noise))


def _values(name: str, shape: tuple[int, ...], noise: Any) -> Iterator[bytes]:
    """Numbers that keep the spread of what passes through, in pieces."""
    import numpy as np

    count = math.prod(shape)
    if len(shape) < 2:
        is_scale = name.endswith("weight")
        yield np.full(count, float(is_scale), dtype=np.float16).tobytes()
        return
    spread = 0.02 if "embedding" in name else math.prod(shape[1:]) ** -0.5
    scaled = (noise * spread).astype(np.float16)
    for start in range(0, count, len(scaled)):
        yield scaled[: count - start].tobytes()


def _run(file: Path, dtype_name: str, side: int, threads: int) -> dict[str, float]:
    """The inner process: read, load, paint."""
    from webui.torch_setup import prepare_torch

    prepare_torch()
    import torch
    from safetensors import safe_open

    from benchmarks.big_pictures import Silent, Supplies
    from webui.checkpoints.load import load_checkpoint
    from webui.params import build
    from webui.pipelines.conditioning import PromptEncoder
    from webui.pipelines.runs import run_class
    from webui.prompts.tokenizer import ClipTokenizer

    if threads:
        torch.set_num_threads(threads)
    dtype = getattr(torch, dtype_name)
    began = time.perf_counter()
    with safe_open(str(file), framework="pt") as opened:
        names = opened.keys()
        tensors = {name: opened.get_tensor(name).to(dtype, copy=True) for name in names}
    read = time.perf_counter() - began
    del tensors
    params: Any = build(
        "txt2img",
        {"prompt": "a red apple", "negative_prompt": "blurry", "width": side, "height": side,
         "steps": 1, "sampler": "Euler", "seed": 1},
    )  # fmt: skip
    with _Peak() as peak:
        began = time.perf_counter()
        model = load_checkpoint(file, dtype=dtype)
        load = time.perf_counter() - began
        supplies: Any = Supplies(model, PromptEncoder(model, ClipTokenizer.load()), None)
        ear: Any = Silent()
        began = time.perf_counter()
        run_class(params)(params, supplies, ear).paint()
        picture = time.perf_counter() - began
    return {
        "file": file.stat().st_size, "memory": model.nbytes, "read": read, "load": load,
        "picture": picture, "peak": peak.bytes,
    }  # fmt: skip


class _Peak:
    """Watches how much memory of its own the process has; pages of the mapped file do not count."""

    def __init__(self) -> None:
        self.bytes = 0
        self._is_over = threading.Event()
        self._thread = threading.Thread(target=self._watch)

    def __enter__(self) -> _Peak:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._is_over.set()
        self._thread.join()

    def _watch(self) -> None:
        while not self._is_over.wait(0.02):
            lines = Path("/proc/self/status").read_text().splitlines()
            own = next(int(x.split()[1]) for x in lines if x.startswith("RssAnon"))
            self.bytes = max(self.bytes, own * 1024)


if __name__ == "__main__":
    main()
