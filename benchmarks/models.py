"""What loading, switching and LoRAs cost at full SD 1.5 size, beside plain ways in the same run.

    .venv/bin/python benchmarks/models.py                 # everything, about 5 minutes, 8 GB of RAM
    .venv/bin/python benchmarks/models.py load lora       # some of it

Weights are random, made in a temporary folder. ``lora`` is compared with diffusers where ``peft``
is installed (it is no dependency of the program).
"""

from __future__ import annotations

import argparse
import gc
import os
import statistics
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

PROJECT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(PROJECT))

from webui import torch_setup  # noqa: E402

NEEDED_HERE = ("peft", "accelerate")
torch_setup.UNNEEDED_PACKAGES = tuple(  # type: ignore[misc]
    name for name in torch_setup.UNNEEDED_PACKAGES if name not in NEEDED_HERE
)
torch_setup.prepare_torch()

import torch  # noqa: E402
from safetensors import safe_open  # noqa: E402
from safetensors.torch import save_file  # noqa: E402
from torch import nn  # noqa: E402

from benchmarks.bench import _write_full_size  # noqa: E402
from benchmarks.table import header, row  # noqa: E402
from webui.checkpoints.load import LoadedModel, load_checkpoint  # noqa: E402
from webui.checkpoints.load_parts import empty_parts, part_files  # noqa: E402
from webui.checkpoints.lora_file import read_lora  # noqa: E402
from webui.model_process.loaded_models import LoadedModels, ModelPlan  # noqa: E402
from webui.networks.lora.applying import set_changes  # noqa: E402
from webui.networks.lora.changes import LowRank  # noqa: E402
from webui.networks.lora.holding import open_originals  # noqa: E402
from webui.networks.packing import write_weight  # noqa: E402
from webui.pipelines.loras import JobLoras  # noqa: E402
from webui.prompts.networks import NetworkMention  # noqa: E402
from webui.services.reading_ahead import ReadingAhead  # noqa: E402

RANK = 32
FLY_SIDE = 32
"""Latent cells on a side, for LoRAs calculated in each call."""
CPU = torch.device("cpu")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("what", nargs="*", metavar="WHAT", help=", ".join(MEASURES))
    parser.add_argument("--runs", type=int, default=3)
    parser.add_argument("--file", type=Path, help="an SD 1.x checkpoint in place of a random one")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="danqing-models-") as folder:
        file = Path(folder, "models", "one.safetensors")
        if options.file:
            file.parent.mkdir()
            file.symlink_to(options.file.resolve())
        else:
            _write_full_size(file)
        for what in options.what or MEASURES:
            MEASURES[what](file, options.runs)
            gc.collect()


def spread(values: list[float], digits: int = 2) -> str:
    low, middle, high = min(values), statistics.median(values), max(values)
    return f"{middle:.{digits}f} ({low:.{digits}f}–{high:.{digits}f})"


class Cost(NamedTuple):
    """Seconds on the clock, and of the processor: the second says more on a busy machine."""

    wall: float
    cpu: float


def cost_of(work: Callable[[], Any]) -> Cost:
    gc.collect()
    began = Cost(time.perf_counter(), time.process_time())
    kept = work()
    cost = Cost(time.perf_counter() - began.wall, time.process_time() - began.cpu)
    del kept
    return cost


def timed(work: Callable[[], Any]) -> float:
    return cost_of(work).wall


# Loading


def measure_load(file: Path, runs: int) -> None:
    """Ours beside reading every tensor and copying it into networks that are there."""
    plainly(file)  # the file comes into the cache
    ours, theirs = [], []
    for _ in range(runs):
        theirs.append(timed(lambda: plainly(file)))
        ours.append(timed(lambda: load_checkpoint(file)))
    size = file.stat().st_size / 1e9
    header(f"load {size:.1f} GB of float16 that is in the page cache, to float32", "seconds")
    row("read and copied into networks", spread(theirs))
    row("ours", spread(ours))
    ratios = [a / b for a, b in zip(ours, theirs, strict=True)]
    row("ours : plainly (wanted ≤ 1.3)", spread(ratios))


def plainly(file: Path) -> list[nn.Module]:
    """Read each tensor and copy it to its place."""
    from webui.checkpoints.identify import identify_file

    spec = identify_file(file)
    modules = empty_parts(spec)
    files = part_files(file, spec)
    with safe_open(str(file), framework="pt") as opened, torch.no_grad():
        for part, module in modules.items():
            module.to_empty(device=CPU)
            places = dict(module.state_dict())
            for name, source in files[part][1].items():
                for known in (name, f"text_model.{name}"):
                    if known in places:
                        stored = opened.get_tensor(source.name)
                        places[known].copy_(stored.reshape(places[known].shape))
    return list(modules.values())


def measure_switch(file: Path, runs: int) -> None:
    """Back to a checkpoint that stayed in memory; bfloat16, so that two fit beside each other."""
    other = file.with_name("other.safetensors")
    other.symlink_to(file.resolve())
    models = LoadedModels(ModelPlan(CPU, torch.bfloat16, torch.bfloat16, device_bytes=1 << 36))
    wishes = [{"checkpoint": {"path": str(path)}, "vae": None} for path in (file, other)]

    def switch(wish: dict[str, Any]) -> None:
        models.begin([wish], {})
        models.get(wish)

    first = [timed(lambda w=wish: switch(w)) for wish in wishes]
    back = [timed(lambda w=wish: switch(w)) for _ in range(runs) for wish in wishes]
    header("switch between two checkpoints, bfloat16", "seconds")
    row("first time, loaded", spread(first))
    row("back to one that is in memory (wanted ≤ 0.3)", spread(back, 4))
    models.unload_all()


def measure_ahead(file: Path, runs: int) -> None:
    """Loading from a disk whose cache is empty, and after the file was read ahead."""
    if not hasattr(os, "posix_fadvise"):
        print("The page cache cannot be emptied here; reading ahead is not measured.")
        return
    cold, ahead, reading = [], [], []
    for _ in range(runs):
        forget(file)
        cold.append(timed(lambda: load_checkpoint(file, dtype=torch.bfloat16)))
        forget(file)
        reading.append(timed(lambda: read_ahead(file)))
        ahead.append(timed(lambda: load_checkpoint(file, dtype=torch.bfloat16)))
    header("load, bfloat16", "seconds")
    row("cache empty", spread(cold))
    row("after reading ahead", spread(ahead))
    row("reading ahead itself", spread(reading))
    with busy_network() as calls:
        alone = calls(4)
        forget(file)
        reader = threading.Thread(target=read_ahead, args=(file,))
        reader.start()
        beside = calls(4)
        reader.join()
        loader = threading.Thread(target=load_checkpoint, args=(file,))
        loader.start()
        loading = calls(4)
        loader.join()
    header("a network at work", "seconds for 4 calls")
    row("alone", f"{alone:.2f}")
    row("while the next file is read ahead", f"{beside:.2f}")
    row("while the next model is loaded in a thread", f"{loading:.2f}")


def forget(file: Path) -> None:
    """Take a file out of the page cache."""
    with open(file, "rb") as opened:
        os.fsync(opened.fileno())
        os.posix_fadvise(opened.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)


def read_ahead(file: Path) -> None:
    ReadingAhead(lambda: [file]).read(file)


@contextmanager
def busy_network() -> Iterator[Callable[[int], float]]:
    """Calls of the starter's U-Net at 256×256."""
    starter = PROJECT / "models/Stable-diffusion/starter-emoji.safetensors"
    model = load_checkpoint(starter)
    call = caller(model, 32)
    call()
    yield lambda count: timed(lambda: [call() for _ in range(count)])


def caller(model: LoadedModel, side: int) -> Callable[[], None]:
    latents = torch.randn(2, 4, side, side)
    text = torch.randn(2, 77, model.unet.config["cross_attention_dim"])

    def call() -> None:
        with torch.inference_mode():
            model.unet(latents, torch.tensor([500.0]), text, return_dict=False)

    return call


# LoRAs


def measure_lora(file: Path, runs: int) -> None:
    """A LoRA of rank 32 over U-Net and text encoder: from the file to the weights."""
    lora = file.with_name("lora.safetensors")
    model = load_checkpoint(file, for_painting=False)
    write_lora(model, lora)
    fused = diffusers_way(model, lora)
    ours: list[Cost] = []
    theirs: list[Cost] = []
    off: list[Cost] = []
    for _ in range(runs):
        if fused is not None:
            theirs.append(fused())
        put_on, take_off = our_way(model, lora)
        ours.append(cost_of(put_on))
        off.append(cost_of(take_off))
    header(f"LoRA of rank {RANK}, SD 1.5, float32, with reading the file", "seconds", "CPU s")
    if theirs:
        row("diffusers: load_lora_weights and fuse_lora", *spreads(theirs))
    row("ours, on ordinary weights", *spreads(ours))
    row("off again, bit for bit", *spreads(off, 4))
    if theirs:
        pairs = zip(ours, theirs, strict=True)
        ratios = [Cost(a.wall / b.wall, a.cpu / b.cpu) for a, b in pairs]
        row("ours : diffusers (wanted ≤ 0.5)", *spreads(ratios))
    measure_packed(model, lora, runs)


def spreads(costs: list[Cost], digits: int = 2) -> tuple[str, str]:
    return spread([c.wall for c in costs], digits), spread([c.cpu for c in costs], digits)


def measure_packed(model: LoadedModel, lora: Path, runs: int) -> None:
    """The same on weights in the CPU's own layout, with the call that brings them into it."""
    from webui.checkpoints.load import lay_out_for_speed

    lay_out_for_speed(model)
    call = caller(model, 16)
    call()
    times: dict[str, list[float]] = {}

    def note(name: str, work: Callable[[], Any]) -> None:
        times.setdefault(name, []).append(timed(work))

    for _ in range(runs):
        put_on, take_off = our_way(model, lora)
        note("put on", put_on)
        note("first call with it", call)
        note("second call with it", call)
        note("put on again, by the next job", our_way(model, lora)[0])
        note("off again", take_off)
        note("call without", call)
    header("the same on packed weights", "seconds")
    for name, seconds in times.items():
        row(name, spread(seconds, 3))


def measure_on_the_fly(file: Path, runs: int) -> None:
    """A LoRA's share calculated in each call, against merging it once: when is which cheaper?"""
    lora = file.with_name("lora.safetensors")
    model = load_checkpoint(file)
    if not lora.exists():
        write_lora(model, lora)
    changes = matched(model, lora)
    header(f"a LoRA that acts in some steps, {FLY_SIDE * 8}×{FLY_SIDE * 8}", "seconds")
    call = caller(model, FLY_SIDE)
    call()
    plain = [timed(call) for _ in range(runs)]
    hooks = [
        model.unet.get_submodule(path).register_forward_hook(beside(change))
        for path, change in changes.items()
    ]
    call()
    extra = [timed(call) for _ in range(runs)]
    for hook in hooks:
        hook.remove()
    row("a call, plain", spread(plain))
    row("with the LoRA calculated beside each layer", spread(extra))
    more = statistics.median(extra) - statistics.median(plain)
    put_on, take_off = our_way(model, lora)
    merging = timed(put_on) + timed(call) - statistics.median(plain) + timed(take_off)
    row("merging, with the first call's packing and taking off", f"{merging:.2f}")
    row("calls from which merging is cheaper", f"{merging / max(more, 1e-9):.1f}")


def beside(change: LowRank) -> Callable[[nn.Module, Any, torch.Tensor], torch.Tensor]:
    up, down = change.up.float().flatten(1) * change.factor, change.down.float().flatten(1)

    def added(layer: nn.Module, inputs: Any, output: torch.Tensor) -> torch.Tensor:
        if isinstance(layer, nn.Linear):
            return output + (inputs[0] @ down.T) @ up.T
        maps = torch.einsum("b i h w, r i -> b r h w", inputs[0], down)
        return output + torch.einsum("b r h w, o r -> b o h w", maps, up)

    return added


def matched(model: LoadedModel, lora: Path) -> dict[str, LowRank]:
    """The U-Net's layers of a file."""
    from webui.networks.lora.matching import match_layers, unet_layers

    layers = match_layers(read_lora(lora), {"unet": unet_layers(model.unet)}).layers["unet"]
    return {path: change.weight for path, change in layers.items()}  # type: ignore[misc]


def write_lora(model: LoadedModel, file: Path) -> None:
    """kohya's names; attention and its projections, as trainers choose by default."""
    tensors: dict[str, torch.Tensor] = {}
    generator = torch.Generator().manual_seed(1)

    def add(name: str, layer: nn.Module) -> None:
        weight: Any = layer.weight
        kernel = [1, 1] if weight.ndim == 4 else []
        outputs, inputs = weight.shape[:2]
        shapes = {"lora_up": [outputs, RANK, *kernel], "lora_down": [RANK, inputs, *kernel]}
        for place, shape in shapes.items():
            value = torch.randn(shape, generator=generator) * 0.01
            tensors[f"{name}.{place}.weight"] = value.half()
        tensors[f"{name}.alpha"] = torch.tensor(RANK / 2)

    for path, layer in model.unet.named_modules():
        is_meant = "attentions" in path and isinstance(layer, (nn.Linear, nn.Conv2d))
        if is_meant:
            add("lora_unet_" + path.replace(".", "_"), layer)
    for path, layer in model.text_encoder.named_modules():
        if isinstance(layer, nn.Linear):
            path = path.removeprefix("text_model.")
            add("lora_te_text_model_" + path.replace(".", "_"), layer)
    save_file(tensors, file)


def our_way(model: LoadedModel, lora: Path) -> tuple[Callable[[], None], Callable[[], None]]:
    """Putting on as the first job with this LoRA does, and taking off."""
    told: list[str] = []
    loras = JobLoras(lambda name: read_lora(lora), told.append)

    def put_on() -> None:
        loras.want([NetworkMention("lora", ("lora", "1"), {})])
        loras.put_on(model)
        assert not told, told

    def take_off() -> None:
        for network in (model.unet, model.text_encoder):
            set_changes(network, ())

    return put_on, take_off


def diffusers_way(model: LoadedModel, lora: Path) -> Callable[[], Cost] | None:
    """Cost of load_lora_weights and fuse_lora; the networks are as loaded afterwards."""
    from diffusers.utils import USE_PEFT_BACKEND

    if not USE_PEFT_BACKEND:
        print("peft is not installed: diffusers' way is not measured.")
        return None
    from diffusers import DDIMScheduler, StableDiffusionPipeline

    pipeline: Any = StableDiffusionPipeline(
        vae=model.vae, text_encoder=model.text_encoder, tokenizer=None, unet=model.unet,
        scheduler=DDIMScheduler(), safety_checker=None, feature_extractor=None,
        requires_safety_checker=False,
    )  # fmt: skip

    def load_and_fuse() -> Cost:
        def work() -> None:
            pipeline.load_lora_weights(str(lora.parent), weight_name=lora.name)
            pipeline.fuse_lora()

        cost = cost_of(work)
        pipeline.unfuse_lora()
        pipeline.unload_lora_weights()
        for network in (model.unet, model.text_encoder):
            as_loaded(network)
        return cost

    return load_and_fuse


def as_loaded(network: nn.Module) -> None:
    """The weights of the file again; diffusers only subtracts what it added."""
    originals = open_originals(network)
    assert originals is not None
    for path, layer in network.named_modules():
        if "weight" in layer._parameters:
            write_weight(layer, originals.read(f"{path}.weight"))


MEASURES: dict[str, Callable[[Path, int], None]] = {
    "load": measure_load,
    "switch": measure_switch,
    "ahead": measure_ahead,
    "lora": measure_lora,
    "on-the-fly": measure_on_the_fly,
}

if __name__ == "__main__":
    main()
