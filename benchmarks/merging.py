"""Merging checkpoints: peak memory by the size of one file, and time beside a copy and plain torch.

``python benchmarks/merging.py [--gigabytes 2] [--folder DIR]``: makes two files (three with
``--difference``) of random numbers in a folder of its own, merges them in a process of their own
each time, and removes everything. Plain torch reads whole files, as most mergers do.
"""

from __future__ import annotations

import argparse
import json
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from benchmarks.table import header, row

LAYERS = 64
REPEATS = 3
PROMISED = 1.2
"""Peak memory above the program's own, in sizes of one file."""


def main() -> None:
    """Make files, measure, print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--gigabytes", type=float, default=2.0)
    parser.add_argument("--folder", type=Path, default=None)
    parser.add_argument("--difference", action="store_true", help="A + (B − C)·M")
    parser.add_argument("--child", nargs=2, metavar=("WAY", "FOLDER"), help=argparse.SUPPRESS)
    wishes = parser.parse_args()
    if wishes.child:
        print(json.dumps(_measured(wishes.child[0], Path(wishes.child[1]))))
        return
    with tempfile.TemporaryDirectory(dir=wishes.folder, prefix="danqing-merging-") as name:
        folder = Path(name)
        size = _make(folder, wishes.gigabytes, "abc" if wishes.difference else "ab")
        ways = ("copy", "ours", "plain")
        runs: dict[str, list[dict[str, float]]] = {way: [] for way in ways}
        for _ in range(REPEATS):
            for way in ways:
                runs[way].append(_run(way, folder))
    _print(runs, size)


def _make(folder: Path, gigabytes: float, letters: str) -> int:
    import torch
    from safetensors.torch import save_file

    rows = max(1, int(gigabytes * 1e9 / 2 / LAYERS / 4096))
    for seed, letter in enumerate(letters):
        generator = torch.Generator().manual_seed(seed)
        block = torch.randn(rows, 4096, generator=generator).half()
        tensors = {f"model.layer.{n}.weight": block.roll(n, 0) for n in range(LAYERS)}
        save_file(tensors, folder / f"{letter}.safetensors")
        del tensors, block
    return (folder / "a.safetensors").stat().st_size


def _run(way: str, folder: Path) -> dict[str, float]:
    command = [sys.executable, __file__, "--child", way, str(folder)]
    done = subprocess.run(command, check=True, capture_output=True, text=True)
    return json.loads(done.stdout.strip().splitlines()[-1])


def _measured(way: str, folder: Path) -> dict[str, float]:
    """One run in this process: seconds, and peak memory above what the program takes itself."""
    import torch

    torch.set_num_threads(1)
    target = folder / f"{way}.safetensors"
    files = sorted(path for path in folder.glob("?.safetensors"))
    act = _acts(way, files, target)
    Path("/proc/self/clear_refs").write_text("5")  # the peak counts from here (Linux)
    before = _status("VmRSS")
    began = time.perf_counter()
    act()
    seconds = time.perf_counter() - began
    peak = _status("VmHWM") - before
    target.unlink()
    return {"seconds": seconds, "peak_bytes": peak}


def _status(name: str) -> int:
    """A line of this process's status, in bytes."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return int(next(line for line in lines if line.startswith(f"{name}:")).split()[1]) * 1024


def _acts(way: str, files: list[Path], target: Path) -> Callable[[], object]:
    from safetensors.torch import load_file, save_file

    from webui.merging.merge import merge_checkpoints
    from webui.merging.source import ModelFile
    from webui.params import MergeCheckpoints
    from webui.progress import Silent

    if way == "copy":
        return lambda: shutil.copyfile(files[0], target)
    has_difference = len(files) > 2
    if way == "ours":
        params = MergeCheckpoints(
            primary="a", secondary="b", tertiary="c", multiplier=0.3, custom_name=target.stem,
            interpolation="Add difference" if has_difference else "Weighted sum",
            add_merge_recipe=False,
        )  # fmt: skip
        models = [ModelFile(path, path.name, path.stem) for path in files]
        return lambda: merge_checkpoints(params, models, None, target.parent, Silent())

    def plain() -> None:
        a, b, *c = (load_file(path) for path in files)
        for name in a:
            difference = b[name] - c[0][name] if c else None
            a[name] = a[name] * 0.7 + b[name] * 0.3 if difference is None else (
                a[name] + 0.3 * difference
            )  # fmt: skip
        save_file(a, target)

    return plain


def _print(runs: dict[str, list[dict[str, float]]], size: int) -> None:
    print(f"One file: {size / 1e9:.2f} GB. Medians of {REPEATS} interleaved runs.\n")
    header("way", "seconds", "by a copy", "peak memory, MB", "in sizes of one file")
    copied = statistics.median(run["seconds"] for run in runs["copy"])
    for way, found in runs.items():
        seconds = statistics.median(run["seconds"] for run in found)
        peak = max(run["peak_bytes"] for run in found)
        row(way, f"{seconds:.2f}", f"{seconds / copied:.1f}", f"{peak / 1e6:.0f}",
            f"{peak / size:.3f}")  # fmt: skip
    worst = max(run["peak_bytes"] for run in runs["ours"]) / size
    print(f"\nPromised: ours below {PROMISED} — {'kept' if worst < PROMISED else 'BROKEN'}.")


if __name__ == "__main__":
    main()
