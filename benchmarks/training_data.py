"""What handing out training batches costs: CPU milliseconds for each, cached and not.

``python benchmarks/training_data.py`` makes 30 photographs of a megapixel and trains nothing.
"""

from __future__ import annotations

import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from torch import Tensor

PROJECT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(PROJECT))

from benchmarks.table import header, row  # noqa: E402
from webui.params import TrainingOptions  # noqa: E402
from webui.progress import Silent  # noqa: E402
from webui.training.batch import Plan  # noqa: E402
from webui.training.dataset import open_dataset  # noqa: E402

SIZES = ((1024, 768), (768, 1024), (900, 900))
PICTURES, REPEATS = 30, 10


def main() -> None:
    """Print the table."""
    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory() as folder:
        make_pictures(Path(folder) / f"{REPEATS}_me")
        header("latents", "captions", "opening, ms", "each batch, CPU ms")
        for is_cached in (True, False):
            for shuffles in (False, True):
                opening, each = measure(Path(folder), is_cached=is_cached, shuffles=shuffles)
                kept = "kept" if is_cached else "pictures are read"
                words = "shuffled" if shuffles else "as they are"
                row(kept, words, f"{opening * 1e3:.0f}", f"{each * 1e3:.3f}")


def make_pictures(folder: Path) -> None:
    """Photographs of noise, which are the slowest to read, with twenty tags each."""
    folder.mkdir()
    draw = np.random.default_rng(0)
    for number in range(PICTURES):
        width, height = SIZES[number % len(SIZES)]
        pixels = draw.integers(0, 255, (height, width, 3), dtype=np.uint8)
        Image.fromarray(pixels).save(folder / f"{number}.jpg")
        tags = ", ".join(f"tag {n}" for n in range(20))
        (folder / f"{number}.txt").write_text(f"me, {tags}", encoding="utf-8")


def measure(folder: Path, *, is_cached: bool, shuffles: bool) -> tuple[float, float]:
    """Seconds to open the pictures, and CPU seconds of a batch of one."""
    options = TrainingOptions(
        train_data_dir=str(folder), enable_bucket=True, caption_extension=".txt", keep_tokens=1,
        shuffle_caption=shuffles, cache_latents=is_cached, flip_aug=True,
        max_data_loader_n_workers=0,
    )  # fmt: skip
    began = time.perf_counter()
    data = open_dataset(options, (), 1)
    opening = time.perf_counter() - began
    if is_cached:
        data.cache_latents(encode_nothing, "none", Silent())
    began = time.process_time()
    count = sum(1 for _ in data.batches(1, Plan(300, 300)))
    return opening, (time.process_time() - began) / count


def encode_nothing(images: Tensor, seeds: list[int]) -> Tensor:
    """Latents of the right shape: the VAE is not what is measured."""
    return torch.zeros(len(seeds), 4, images.shape[2] // 8, images.shape[3] // 8)


if __name__ == "__main__":
    main()
