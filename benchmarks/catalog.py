"""How long the catalog takes over a folder of 5,000 LoRAs: the first look and the second.

The files are those a trainer writes for SD 1.x: 264 modules, 792 tensors of the real shapes (their
numbers are a hole in the file, so a file takes its header's room on the disk), kohya's metadata.

    python benchmarks/catalog.py [--files 5000] [--folder DIR]
"""

from __future__ import annotations

import argparse
import json
import random
import resource
import struct
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

PROJECT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(PROJECT))

from benchmarks.table import header, row  # noqa: E402
from webui.checkpoints.catalog import Catalog  # noqa: E402

RANK = 4
TAGS = [f"{colour} {thing}" for colour in ("red", "blue", "long", "white", "dark", "open", "short")
        for thing in ("hair", "eyes", "dress", "sky", "mouth", "ribbon", "shirt", "gloves", "hat",
                      "boots", "flower", "wings")]  # fmt: skip


@dataclass(frozen=True)
class OneFolder:
    """Model folders with LoRAs only."""

    models: tuple[Path, ...]
    checkpoints: tuple[Path, ...] = ()
    vaes: tuple[Path, ...] = ()
    loras: tuple[Path, ...] = ()
    embeddings: tuple[Path, ...] = ()
    hypernetworks: tuple[Path, ...] = ()
    upscalers: tuple[Path, ...] = ()


def main() -> None:
    """Make the files, look twice, print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--files", type=int, default=5000)
    parser.add_argument("--folder", type=Path, default=None, help="kept for another run")
    given = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="danqing-catalog-") as temporary:
        folder = given.folder or Path(temporary)
        if not (folder / "Lora").is_dir():
            write_loras(folder / "Lora", given.files)
        measure(folder, Path(temporary) / "facts.sqlite3", given.files)


def measure(models: Path, database: Path, count: int) -> None:
    """Print seconds and memory of the first and the second look at a models folder."""
    header(f"{count} LoRAs", "until listed s", "until every file was read s", "peak memory MB")
    for name in ("first look", "second look", "third look"):
        began = time.perf_counter()
        catalog = Catalog(OneFolder((models,)), database)
        listed = time.perf_counter() - began
        assert len(catalog.loras()) == count
        while catalog.is_busy():
            time.sleep(0.005)
        read = time.perf_counter() - began
        missing = sum(not record.is_labelled for record in catalog.loras())
        assert not missing, f"{missing} were not read"
        catalog.close()
        row(name, f"{listed:.3f}", f"{read:.3f}", f"{_peak_megabytes():.0f}")


def _peak_megabytes() -> float:
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak / 1024 if sys.platform != "darwin" else peak / 2**20


def write_loras(folder: Path, count: int) -> None:
    """Write so many LoRA files, in folders of a hundred."""
    shapes = dict(kohya_shapes())
    entries, end = {}, 0
    for name, shape in shapes.items():
        size = 2
        for length in shape:
            size *= length
        entries[name] = {"dtype": "F16", "shape": shape, "data_offsets": [end, end + size]}
        end += size
    tensors = json.dumps(entries, separators=(",", ":"))[1:]
    for number in range(count):
        path = folder / f"set {number // 100:02d}" / f"style_{number:04d}.safetensors"
        path.parent.mkdir(parents=True, exist_ok=True)
        metadata = json.dumps(kohya_metadata(number))
        text = f'{{"__metadata__":{metadata},{tensors}'.encode()
        text += b" " * (-len(text) % 8)
        with open(path, "wb") as file:
            file.write(struct.pack("<Q", len(text)) + text)
            file.truncate(8 + len(text) + end)


def kohya_metadata(number: int) -> dict[str, str]:
    """What kohya's trainer writes about a run."""
    chance = random.Random(number)
    words = chance.sample(TAGS, 60)
    frequency = {f"10_style{number}": {f"style{number}": 60} | {w: 60 - i
                 for i, w in enumerate(words)}}  # fmt: skip
    version = ("sdxl_base_v1-0", "sd_v1", "sd_v1", "sd_v1")[number % 4]
    return {
        "ss_output_name": f"style_{number:04d}_out", "ss_base_model_version": version,
        "ss_sd_model_name": "v1-5-pruned.safetensors", "ss_v2": "False", "ss_network_dim": "4",
        "ss_network_alpha": "4", "ss_network_module": "networks.lora", "ss_epoch": "10",
        "ss_num_epochs": "10", "ss_steps": "1200", "ss_learning_rate": "0.0001",
        "ss_resolution": "(512, 512)", "ss_num_train_images": "60", "ss_clip_skip": "2",
        "ss_tag_frequency": json.dumps(frequency),
        "ss_bucket_info": json.dumps({"buckets": {str(i): {"resolution": [512, 64 * i],
                                      "count": i} for i in range(12)}}),
        "sshs_model_hash": f"{number:064x}", "sshs_legacy_hash": f"{number:08x}",
    }  # fmt: skip


def kohya_shapes() -> Iterator[tuple[str, list[int]]]:
    """Names and shapes of an SD 1.x LoRA of rank 4 with both text encoder and U-Net."""
    for layer in range(12):
        for part, take, give in (
            ("mlp_fc1", 768, 3072), ("mlp_fc2", 3072, 768), ("self_attn_k_proj", 768, 768),
            ("self_attn_out_proj", 768, 768), ("self_attn_q_proj", 768, 768),
            ("self_attn_v_proj", 768, 768),
        ):  # fmt: skip
            yield from _module(f"lora_te_text_model_encoder_layers_{layer}_{part}", take, give)
    levels = [(f"down_blocks_{b}_attentions_{a}", 320 << b) for b in range(3) for a in range(2)]
    levels += [("mid_block_attentions_0", 1280)]
    levels += [
        (f"up_blocks_{b}_attentions_{a}", 1280 >> (b - 1)) for b in (1, 2, 3) for a in range(3)
    ]
    for level, width in levels:
        block = f"lora_unet_{level}_transformer_blocks_0"
        yield from _module(f"lora_unet_{level}_proj_in", width, width)
        yield from _module(f"lora_unet_{level}_proj_out", width, width)
        for attention in ("attn1", "attn2"):
            context = width if attention == "attn1" else 768
            for part, take in (("k", context), ("v", context), ("q", width), ("out_0", width)):
                yield from _module(f"{block}_{attention}_to_{part}", take, width)
        yield from _module(f"{block}_ff_net_0_proj", width, width * 8)
        yield from _module(f"{block}_ff_net_2", width * 4, width)


def _module(name: str, take: int, give: int) -> Iterator[tuple[str, list[int]]]:
    yield f"{name}.alpha", []
    yield f"{name}.lora_down.weight", [RANK, take]
    yield f"{name}.lora_up.weight", [give, RANK]


if __name__ == "__main__":
    main()
