"""Memory and exactness of large pictures: the VAE in tiles, SD upscale. Run through bench.py.

Every figure comes from a process of its own, whose peak is what the system counted: resident
memory at its highest, less what it was with networks loaded and warm.
"""

from __future__ import annotations

import json
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

PROJECT = Path(__file__).resolve().parent.parent
STARTER = PROJECT / "models/Stable-diffusion/starter-emoji.safetensors"
sys.path.insert(0, str(PROJECT))

from benchmarks.table import header, row  # noqa: E402

BUDGET_BYTES_PER_PIXEL = 896
"""The budget for decoding or encoding in tiles in float32, beside the weights: 3.5 GiB for
2048x2048, of which one map of 128 channels at full size is 512 bytes a pixel."""
LARGEST_ERROR = 0.5
"""Mean difference of a pixel from the whole's, in 255ths."""


def measure_tiled_vae(runs: int, side: int = 2048) -> None:
    """Full-size VAE of random weights: whole, in tiles, and diffusers' own tiling."""
    budget = BUDGET_BYTES_PER_PIXEL * side * side
    header(f"VAE, {side}x{side}, float32", "peak MiB", "seconds", "mean error /255", "largest")
    with tempfile.TemporaryDirectory(prefix="danqing-vae-") as folder:
        for deed in ("decode", "encode"):
            for way in ("whole", "tiles", "diffusers-tiles"):
                found = _alone("vae", deed, way, str(side), folder)
                row(
                    f"{deed} {way}", f"{found['peak'] / 2**20:.0f}", f"{found['seconds']:.0f}",
                    f"{found['mean']:.4f}", f"{found['largest']:.4f}",
                )  # fmt: skip
                if way == "tiles":
                    row(
                        f"{deed} in tiles within its budget of {budget / 2**20:.0f} MiB",
                        "yes" if found["peak"] <= budget else "NO",
                        "", "yes" if found["mean"] <= LARGEST_ERROR else "NO", "",
                    )  # fmt: skip


def measure_sd_upscale(runs: int) -> None:
    """Peak of SD upscale with the starter, tiles of 128, by the size that comes out."""
    header("SD upscale, tiles of 128x128", "peak MiB beside the networks", "seconds")
    for side in (512, 1024, 2048):
        found = _alone("upscale", str(side))
        row(f"{side}x{side}", f"{found['peak'] / 2**20:.0f}", f"{found['seconds']:.0f}")


def _alone(*task: str) -> dict[str, float]:
    """Run a task in a process of its own and read what it found."""
    done = subprocess.run(
        [sys.executable, "-m", "benchmarks.big_pictures", *task],
        cwd=PROJECT,
        stdout=subprocess.PIPE,
        check=True,
    )
    return json.loads(done.stdout.splitlines()[-1])


def _peak_bytes() -> int:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024


def _resident_bytes() -> int:
    import psutil

    return psutil.Process().memory_info().rss


def _measured(work: Callable[[], Any]) -> tuple[Any, dict[str, float]]:
    before, began = _resident_bytes(), time.perf_counter()
    result = work()
    return result, {"peak": _peak_bytes() - before, "seconds": time.perf_counter() - began}


# What runs in a process of its own


def _full_size_vae() -> Any:
    import torch

    from webui.checkpoints.load_parts import build_vae
    from webui.checkpoints.specs import VaeSpec
    from webui.networks.packing import pack_weights

    vae = build_vae(VaeSpec(channels=(128, 256, 512, 512), res_blocks=2, groups=32))
    vae = vae.to_empty(device="cpu").eval().requires_grad_(False)
    generator = torch.Generator().manual_seed(0)
    for layer in vae.modules():
        weight = getattr(layer, "weight", None)
        if weight is None:
            continue
        if weight.ndim > 1:  # keeps the spread of what passes through
            weight.normal_(0, (1 / weight[0].numel()) ** 0.5, generator=generator)
        else:
            weight.normal_(1, 0.2, generator=generator)
        if layer.bias is not None:
            layer.bias.normal_(0, 0.1, generator=generator)
    pack_weights(vae)
    return vae


def _uneven(channels: int, height: int, width: int) -> Any:
    """Noise over slow waves, weak above and strong below: each tile has statistics of its own."""
    import torch

    noise = torch.randn(1, channels, height, width, generator=torch.Generator().manual_seed(1))
    rise = torch.linspace(0.2, 1.2, height)[None, None, :, None]
    wave = torch.sin(torch.linspace(0, 9, width))[None, None, None, :]
    return noise * 0.5 * rise + wave * rise


def _run_vae(deed: str, way: str, side: int, folder: Path) -> dict[str, float]:
    import torch

    from webui.pipelines.tiled_vae import decode_in_tiles, encode_in_tiles

    vae = _full_size_vae()
    values = _uneven(4, side // 8, side // 8) if deed == "decode" else _uneven(3, side, side) / 2
    if way == "diffusers-tiles":
        vae.enable_tiling()

    def run(given: Any) -> Any:
        if way == "tiles":
            return decode_in_tiles(vae, given) if deed == "decode" else encode_in_tiles(vae, given)
        if deed == "decode":
            return vae.decode(given, return_dict=False)[0]
        return vae.encode(given, return_dict=False)[0].mean

    with torch.inference_mode():
        small = 16 if deed == "decode" else 128
        run(values[:, :, :small, :small])  # packs the weights
        result, found = _measured(lambda: run(values))
    whole = folder / f"{deed}.pt"
    if way == "whole":
        torch.save(result, whole)
    # pixels go from -1 to 1; latents of spread 1 are told in the same unit
    apart = (result.clamp(-1, 1) - torch.load(whole).clamp(-1, 1)).abs() * 127.5
    return {**found, "mean": float(apart.mean()), "largest": float(apart.max())}


class Supplies:
    """One loaded model and one picture; see ``pipelines.painting.Supplies``."""

    def __init__(self, model: Any, encoder: Any, image: Any) -> None:
        from webui.pipelines.networks import JobNetworks

        self._model, self._encoder, self._image = model, encoder, image
        self.networks = JobNetworks((), print)  # its prompts name none

    def model(self, checkpoint: str) -> Any:
        return self._model

    def encoder(self, model: Any) -> Any:
        return self._encoder

    def input(self, key: str) -> Any:
        return self._image

    def upscaler(self, name: str) -> Any:
        from webui.pipelines.upscaling import PLAIN

        return PLAIN[name]


class Silent:
    """Counts pictures; see ``pipelines.painting.Listener``."""

    def __init__(self) -> None:
        self.sizes: list[tuple[int, int]] = []

    def progress(self, *told: Any) -> None:
        return None

    def preview(self, latents: Any) -> None:
        return None

    def finished(self, picture: Any) -> None:
        self.sizes.append(picture.image.size)

    def warn(self, message: str) -> None:
        print(message, file=sys.stderr)

    def should_stop(self) -> bool:
        return False

    def takes_next_batch(self) -> bool:
        return True


def _run_upscale(side: int) -> dict[str, float]:
    from PIL import Image

    from webui.checkpoints.load import load_checkpoint
    from webui.params import build
    from webui.pipelines.conditioning import PromptEncoder
    from webui.pipelines.runs import run_class
    from webui.prompts.tokenizer import ClipTokenizer

    small = max(128, side // 8)  # the factor is at most 8
    image = Image.linear_gradient("L").resize((small, small)).convert("RGB")
    model = load_checkpoint(STARTER)
    supplies = Supplies(model, PromptEncoder(model, ClipTokenizer.load()), image)

    def paint(scale: float) -> None:
        values = {"prompt": "a red apple", "width": 128, "height": 128, "steps": 2}
        wish = {"upscaler": "Lanczos", "scale": scale, "overlap": 32}
        picture = {"init_images": ["0" * 64], "denoising_strength": 0.5, "sd_upscale": wish}
        params, told = build("img2img", {**values, **picture}), Silent()
        run_class(params)(params, supplies, told).paint()
        assert told.sizes == [(int(small * scale),) * 2]

    paint(1)  # one tile: everything is warm
    return _measured(lambda: paint(side / small))[1]


def main(task: str, *details: str) -> None:
    from webui.torch_setup import prepare_torch

    prepare_torch()
    if task == "vae":
        deed, way, side, folder = details
        found = _run_vae(deed, way, int(side), Path(folder))
    else:
        found = _run_upscale(int(details[0]))
    print(json.dumps(found))


if __name__ == "__main__":
    main(*sys.argv[1:])
