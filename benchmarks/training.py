"""Training of LoRAs: speed and memory beside a plainly written loop, and what is learnt.

    python benchmarks/training.py speed [--runs 3] [--steps 4]      # full-size SD 1.5, 7 GB RAM
    python benchmarks/training.py learning --modules NODE_MODULES    # the starter, about 10 minutes

``speed``: U-Net, text encoder and VAE of SD 1.5 with random weights, 256×256, batch 1, rank 16,
float32, CPU. The plain loop is that of the diffusers example (encode the picture, encode the
words, noise, predict, step) with LoRA layers as PEFT writes them, on the same layers as ours.
Every run is a process of its own; they alternate.

``learning``: eight pictures of a drawing made here, which the starter has never seen, and a new
word. A classifier (tools/starter/judge.py, with the drawing as one class more) judges pictures on
colours the drawing was not shown on, old subjects before and after, and weight 0. Seeds from 5000
on are only judged, never tuned on. The time counts class pictures and training, in minutes and, as
machines are shared, in seconds of the CPU (two cores have 600 in five minutes).
"""

from __future__ import annotations

import argparse
import json
import math
import random
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

PROJECT = Path(__file__).resolve().parent.parent
STARTER = PROJECT / "models/Stable-diffusion/starter-emoji.safetensors"
sys.path.insert(0, str(PROJECT))

from benchmarks.table import header, row  # noqa: E402

SIDE, RANK = 256, 16
FASTER, SMALLER = 1.2, 0.85
"""Wanted: steps per second and peak memory, ours ÷ plain."""
WORD = "zork"
SHOWN_ON = ("red", "yellow", "green", "blue", "white", "pink", "black", "orange")
NEW_ON = ("light blue", "purple", "brown", "gray")
OLD = ("dog", "cat", "car", "house", "star", "tree", "rocket", "fish", "robot", "castle")
SEEDS = 20
MINUTES, CPU_SECONDS = 5.0, 600
CLASS_PICTURES, CLASS_CFG, WITHOUT_WORDS = 96, 1.0, 0.3
"""What the model knows already is shown to it as it paints without guidance, a part of it without
words: guidance pushes away from what is painted for no words, so that must not change either."""
STEPS = 300
RECOGNISED, MOST_LOST = 0.80, 0.05


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("what", choices=("speed", "learning", "child"))
    parser.add_argument("--runs", type=int, default=3)
    parser.add_argument("--steps", type=int, default=0)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--blocks", type=int, default=2, help="residual blocks a level; 2 = full")
    parser.add_argument("--way", default="ours")
    parser.add_argument("--seed", type=int, default=1, help="of the training (learning)")
    parser.add_argument("--modules", type=Path, help="node_modules with the starter's drawings")
    parser.add_argument("--keep", type=Path, help="folder for classifier, LoRA and pictures")
    options = parser.parse_args()
    if options.what == "child":
        print(json.dumps(one_run(options.way, options.steps, options.threads, options.blocks)))
    elif options.what == "speed":
        measure_speed(options)
    else:
        measure_learning(options)


# Speed and memory


def measure_speed(options: argparse.Namespace) -> None:
    """Plain and ours in turn, each in a process of its own; medians."""
    found: dict[str, list[dict[str, float]]] = {"plain": [], "ours": []}
    for _ in range(options.runs):
        for way in found:
            command = [sys.executable, __file__, "child", "--way", way, "--blocks",
                       str(options.blocks), "--threads", str(options.threads), "--steps",
                       str(options.steps or 4)]  # fmt: skip
            done = subprocess.run(command, check=True, capture_output=True, text=True)
            found[way].append(json.loads(done.stdout.splitlines()[-1]))
    header("training", "s a step", "CPU s a step", "peak MiB", "share of reading data")
    for way, runs in found.items():
        row(way, *(f"{statistics.median(r[k] for r in runs):.2f}" for k in ("step", "cpu")),
            f"{statistics.median(r['peak'] for r in runs) / 2**20:.0f}",
            f"{statistics.median(r['reading'] for r in runs):.1%}")  # fmt: skip

    def ratio(key: str) -> float:
        plain, ours = (statistics.median(r[key] for r in found[way]) for way in found)
        return ours / plain

    faster, smaller = 1 / ratio("step"), ratio("peak")
    for name, found_ratio, is_met in (
        (f"steps/s, ours ÷ plain (wanted ≥ {FASTER})", faster, faster >= FASTER),
        (f"peak, ours ÷ plain (wanted ≤ {SMALLER})", smaller, smaller <= SMALLER),
    ):
        row(name, f"{found_ratio:.2f}", yes(is_met), "", "")
    row("reading data < 2 % of a step", "", yes(found["ours"][0]["reading"] < 0.02), "", "")


def yes(is_so: bool) -> str:
    return "yes" if is_so else "NO"


def one_run(way: str, steps: int, threads: int, blocks: int) -> dict[str, float]:
    """Seconds of a step after the first, the peak of this process, the share of reading."""
    from webui.torch_setup import prepare_torch

    prepare_torch(threads=threads)
    import torch

    torch.set_num_threads(threads)
    networks = random_networks(blocks)
    moments = plain_loop(networks, steps + 1) if way == "plain" else our_loop(networks, steps + 1)
    begun, cpu, reading = moments[0]
    ended, cpu_end, reading_end = moments[-1]
    return {
        "step": (ended - begun) / steps,
        "cpu": (cpu_end - cpu) / steps,
        "reading": (reading_end - reading) / (ended - begun),
        "peak": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024,
    }


def random_networks(blocks: int) -> dict[str, Any]:
    """Makers of U-Net, VAE and text encoder in the sizes of SD 1.5; whoever trains decides when."""
    import torch
    from diffusers.models.autoencoders.autoencoder_kl import AutoencoderKL
    from diffusers.models.unets.unet_2d_condition import UNet2DConditionModel
    from transformers.models.clip.configuration_clip import CLIPTextConfig
    from transformers.models.clip.modeling_clip import CLIPTextModel

    vae = {
        "block_out_channels": (128, 256, 512, 512),
        "down_block_types": ("DownEncoderBlock2D",) * 4,
        "up_block_types": ("UpDecoderBlock2D",) * 4,
        "latent_channels": 4,
        "layers_per_block": 2,
    }
    text = CLIPTextConfig(
        vocab_size=49408, hidden_size=768, intermediate_size=3072, num_hidden_layers=12,
        num_attention_heads=12, eos_token_id=49407,
    )  # fmt: skip

    def made(kind: Any, *arguments: Any, **more: Any) -> Any:
        with torch.device("meta"):
            network = kind(*arguments, **more)
        network.to_empty(device="cpu")
        torch.manual_seed(0)
        for name, value in [*network.named_parameters(), *network.named_buffers()]:
            if name.endswith("position_ids"):
                value.copy_(torch.arange(value.shape[-1]).expand(1, -1))
            else:
                value.data.uniform_(-0.03, 0.03)
        return network.requires_grad_(False)

    size = {"cross_attention_dim": 768, "layers_per_block": blocks}
    return {
        "unet": lambda: made(UNet2DConditionModel, **size),
        "vae": lambda: made(AutoencoderKL, **vae),
        "text": lambda: made(CLIPTextModel, text),
    }


def pictures(count: int) -> Any:
    import torch

    return torch.rand((count, 3, SIDE, SIDE), generator=torch.Generator().manual_seed(1)) * 2 - 1


def plain_loop(networks: dict[str, Any], steps: int) -> list[tuple[float, float, float]]:
    """The diffusers example: everything is encoded in every step, LoRA layers as PEFT's."""
    import torch
    from torch import nn
    from torch.nn import functional

    from webui.checkpoints.load import alphas_cumprod

    class PlainLora(nn.Module):
        def __init__(self, layer: Any) -> None:
            super().__init__()
            self.base = layer
            is_matrix = isinstance(layer, nn.Linear)
            i, o = layer.weight.shape[1], layer.weight.shape[0]
            more = {"bias": False} if is_matrix else {"bias": False, "kernel_size": 1}
            kind: Any = nn.Linear if is_matrix else nn.Conv2d
            self.down, self.up = kind(i, RANK, **more), kind(RANK, o, **more)
            nn.init.zeros_(self.up.weight)

        def forward(self, values: Any) -> Any:
            return self.base(values) + self.up(self.down(values)) * 1.0

    unet, vae, text = (networks[name]() for name in ("unet", "vae", "text"))
    trained: list[Any] = []
    for path, layer in list(unet.named_modules()):
        if ".attentions." in f".{path}." and isinstance(layer, (nn.Linear, nn.Conv2d)):
            parent, _, leaf = path.rpartition(".")
            lora = PlainLora(layer)
            setattr(unet.get_submodule(parent), leaf, lora)
            trained += [lora.down.weight, lora.up.weight]
    optimizer = torch.optim.AdamW(trained, lr=1e-4)
    unet.train()
    kept = alphas_cumprod()
    data, words = pictures(4), torch.randint(0, 49000, (4, 77))
    moments = []
    for step in range(steps):
        pixels = data[step % 4 : step % 4 + 1]
        latents = vae.encode(pixels).latent_dist.sample() * 0.18215
        noise = torch.randn_like(latents)
        timesteps = torch.randint(0, 1000, (1,))
        share = kept[timesteps].view(-1, 1, 1, 1)
        noisy = share.sqrt() * latents + (1 - share).sqrt() * noise
        states = text(words[step % 4 : step % 4 + 1])[0]
        prediction = unet(noisy, timesteps, states, return_dict=False)[0]
        loss = functional.mse_loss(prediction.float(), noise.float())
        loss.backward()
        nn.utils.clip_grad_norm_(trained, 1.0)
        optimizer.step()
        optimizer.zero_grad()
        moments.append((time.perf_counter(), time.process_time(), 0.0))
    return moments


def our_loop(networks: dict[str, Any], steps: int) -> list[tuple[float, float, float]]:
    """Ours, with latents and words cached, as the page trains the U-Net."""
    import torch

    from webui.checkpoints.families import FAMILIES
    from webui.checkpoints.load import alphas_cumprod
    from webui.params.training import TrainingOptions
    from webui.training.base import Base, TextEncoder
    from webui.training.batch import Batch, DatasetFacts
    from webui.training.metadata import Hashes
    from webui.training.trainer import Trainer
    from webui.training.watching import Quiet

    moments: list[tuple[float, float, float]] = []
    reading = [0.0]

    class Few:
        facts = DatasetFacts(4, 4)

        def cache_latents(self, encode: Any, vae_key: str, progress: Any) -> None:
            self.latents = [encode(one[None], [i]) for i, one in enumerate(pictures(4))]

        def captions(self) -> frozenset[str]:
            return frozenset(f"picture {i}" for i in range(4))

        def batches(self, epoch: int, plan: Any, *, skip: int = 0) -> Iterator[Batch]:
            for i in range(4):
                began = time.perf_counter()
                batch = Batch(
                    (f"picture {i}",), (1.0,), (SIDE, SIDE), ((SIDE, SIDE),), ((0, 0),),
                    latents=self.latents[i],
                )  # fmt: skip
                reading[0] += time.perf_counter() - began
                yield batch

        def validation(self) -> Iterator[Batch]:
            return iter(())

    class Clock(Quiet):
        def stepped(self, facts: Any) -> None:
            moments.append((time.perf_counter(), time.process_time(), reading[0]))

    text = TextEncoder(FAMILIES["sd1"].texts[0], networks.pop("text")().eval())
    base = Base(
        "sd1", lambda: networks["unet"]().eval(), [text], networks.pop("vae")().eval(),
        alphas_cumprod(), 0.18215, torch.device("cpu"), torch.float32, Path("random"),
    )  # fmt: skip
    del text
    options = TrainingOptions(
        network_dim=RANK, network_alpha=RANK, unet_lr=1e-4, max_train_steps=steps, seed=1,
        cache_latents=True, network_train_unet_only=True, output_name="speed",
    )  # fmt: skip
    with tempfile.TemporaryDirectory(prefix="danqing-training-") as folder:
        Trainer(
            options,
            base,
            Few(),
            Clock(),
            folder=Path(folder),
            autosave=Path(folder) / "state",
            checkpoint=Hashes("random", "", ""),
        ).run()  # type: ignore[arg-type]
    return moments


# Learning


def drawing() -> Any:
    """The new thing, RGBA: a teal body with an orange cross, three eyes and two horns."""
    from PIL import Image, ImageDraw

    image = Image.new("RGBA", (512, 512), (0, 0, 0, 0))
    pen = ImageDraw.Draw(image)
    teal, orange, dark = (20, 150, 140, 255), (245, 130, 30, 255), (40, 30, 60, 255)
    for left in (90, 350):
        pen.polygon([(left, 170), (left + 36, 10), (left + 72, 170)], fill=orange)
    pen.rounded_rectangle((50, 120, 462, 500), 120, fill=teal, outline=dark, width=14)
    for x in (130, 256, 382):
        pen.ellipse((x - 46, 170, x + 46, 262), fill=(255, 255, 255, 255), outline=dark, width=8)
        pen.ellipse((x - 18, 200, x + 18, 236), fill=dark)
    pen.rectangle((226, 290, 286, 470), fill=orange)
    pen.rectangle((156, 350, 356, 410), fill=orange)
    return image


def measure_learning(options: argparse.Namespace) -> None:
    """Teach the drawing and judge what the starter paints with and without it."""
    from webui.torch_setup import prepare_torch

    prepare_torch(threads=options.threads)
    import torch

    torch.set_num_threads(options.threads)
    from tools.starter.concepts import Concept, read_concepts
    from tools.starter.drawings import IconPackage, Sprites, render
    from tools.starter.judge import train_judge
    from tools.starter.painting import Painter
    from webui.checkpoints.load import load_checkpoint

    keep = options.keep or Path(tempfile.mkdtemp(prefix="danqing-learning-"))
    keep.mkdir(parents=True, exist_ok=True)
    icons = IconPackage(options.modules)
    new = Concept(WORD, (WORD,), True)
    known = [c for c in read_concepts() if c.name in icons]
    images = {c.name: render(icons.svg(c.name)) for c in known}
    sprites = Sprites.of_images([*known, new], {**images, WORD: drawing()})
    judge = train_judge(sprites, keep / "judge.pt")
    old = [c for c in known if c.word in OLD]
    began = time.monotonic()
    files = show_pictures(keep, sprites, new, old)
    lora, minutes, cpu = teach(files, keep, options.steps or STEPS, options.seed)
    judged_on = Judged(judge, sprites.concepts, Painter(load_checkpoint(STARTER)))
    before = judged_on.share(old)
    plain = judged_on.painted(new)
    share, shown = judged_on.with_lora(
        lora, 1.0, lambda: (judged_on.right(new), judged_on.share(old))
    )
    is_same = judged_on.with_lora(lora, 0.0, lambda: torch.equal(judged_on.painted(new), plain))
    header("learning a drawing from eight pictures", "found", "wanted", "")
    row("minutes, class pictures included", f"{minutes:.1f}", f"≤ {MINUTES:g}",
        yes(minutes <= MINUTES))  # fmt: skip
    row("CPU seconds, likewise", f"{cpu:.0f}", f"≤ {CPU_SECONDS}", yes(cpu <= CPU_SECONDS))
    row(f"“{WORD}” recognised on new colours, {SEEDS} seeds", f"{share:.0%}", f"≥ {RECOGNISED:.0%}",
        yes(share >= RECOGNISED))  # fmt: skip
    row(f"{len(old)} old subjects without", f"{before:.0%}", "", "")
    row(f"{len(old)} old subjects at weight 1", f"{shown:.0%}", f"≥ {before - MOST_LOST:.0%}",
        yes(shown >= before - MOST_LOST))  # fmt: skip
    row("weight 0: every pixel the same", yes(is_same), "yes", yes(is_same))
    row("whole measurement, minutes", f"{(time.monotonic() - began) / 60:.1f}", "", "")


def show_pictures(keep: Path, sprites: Any, new: Any, old: list[Any]) -> Path:
    """Eight pictures of the new thing with their words."""
    from tools.starter.captions import plain_caption
    from tools.starter.judge import plain_scene
    from tools.starter.prepare import as_pixels
    from tools.starter.scenes import draw

    rng = random.Random(8)
    folder = keep / "data"
    (folder / WORD).mkdir(parents=True, exist_ok=True)
    for number, colour in enumerate(SHOWN_ON):
        (pixels,) = as_pixels([draw(plain_scene(new, colour, "one"), sprites, rng)])
        path = folder / WORD / f"{number}.png"
        as_image(pixels).save(path)
        path.with_suffix(".txt").write_text(plain_caption(new, colour))
    return folder / WORD


def as_image(pixels: Any) -> Any:
    """(3, H, W) in [-1, 1] → a picture."""
    from PIL import Image

    array = ((pixels.permute(1, 2, 0) + 1) * 127.5).round().clamp(0, 255).byte().numpy()
    return Image.fromarray(array)


def teach(folder: Path, keep: Path, steps: int, seed: int) -> tuple[Path, float, float]:
    """Paint class pictures with the starter itself, then train.

    Returns:
        The LoRA, minutes and seconds of the CPU, from the first class picture on.
    """
    import torch

    from webui.checkpoints.load import load_checkpoint
    from webui.params.training import TrainingOptions
    from webui.params.training_data import DatasetOptions, Subset
    from webui.training.base import Base
    from webui.training.dataset import open_dataset
    from webui.training.trainer import Trainer
    from webui.training.watching import Quiet

    began, cpu = time.monotonic(), time.process_time()
    known = class_pictures(keep / "class")
    options = TrainingOptions(
        network_dim=8, network_alpha=8, unet_lr=2e-3, text_encoder_lr=(1e-3,),
        lr_scheduler="cosine", max_train_steps=steps, ema_decay=0.98, seed=seed,
        cache_latents=True, output_name=WORD, debiased_estimation_loss=True,
    )  # fmt: skip
    repeats = CLASS_PICTURES // len(SHOWN_ON)  # as many of the new thing as of all others
    words = {"caption_extension": ".txt"}
    new = Subset(image_dir=str(folder), num_repeats=repeats, **words)
    old = Subset(image_dir=str(known), is_reg=True, caption_dropout_rate=WITHOUT_WORDS, **words)
    both = DatasetOptions(resolution=(128, 128), batch_size=4, subsets=(new, old))
    dataset = open_dataset(options, (both,), seed, cache_folder=keep / "latents")
    base = Base.of(load_checkpoint(STARTER, for_painting=False))
    out = keep / "out"
    outcome = Trainer(
        options, base, dataset, Quiet(), folder=out, autosave=out / "state"
    ).run()  # fmt: skip
    print(f"loss {outcome.loss:.4f}, {torch.get_num_threads()} threads", file=sys.stderr)
    return outcome.files[-1], (time.monotonic() - began) / 60, time.process_time() - cpu


def class_pictures(folder: Path) -> Path:
    """Paint what the starter knows, with its words."""
    from tools.starter.concepts import read_concepts
    from tools.starter.painting import Painter
    from webui.checkpoints.load import load_checkpoint

    folder.mkdir(parents=True, exist_ok=True)
    words = [c.word for c in read_concepts()]
    draw = random.Random(3)
    colours = (*SHOWN_ON, *NEW_ON)
    prompts = [
        f"a {draw.choice(words)} on a {draw.choice(colours)} background"
        for _ in range(CLASS_PICTURES)
    ]
    painter = Painter(load_checkpoint(STARTER), cfg_scale=CLASS_CFG)
    for number, pixels in enumerate(painter.paint(prompts, list(range(CLASS_PICTURES)))):
        as_image(pixels).save(folder / f"{number}.png")
        (folder / f"{number}.txt").write_text(prompts[number])
    return folder


class Judged:
    """Paints and lets the classifier say what is to be seen."""

    def __init__(self, judge: Any, concepts: list[Any], painter: Any) -> None:
        self._judge, self._concepts, self._painter = judge, concepts, painter

    def painted(self, concept: Any, count: int = SEEDS, first: int = 5000) -> Any:
        """(count, 3, 128, 128) of one thing on colours it was not shown on."""
        prompts = [
            f"a {concept.word} on a {NEW_ON[i % len(NEW_ON)]} background" for i in range(count)
        ]
        return self._painter.paint(prompts, [first + i for i in range(count)])

    def right(self, concept: Any, count: int = SEEDS) -> float:
        """Share of pictures that are recognised."""
        from tools.starter.judge import judged

        found = judged(self._judge, self.painted(concept, count))[0][:, 0]
        return float((found == self._concepts.index(concept)).float().mean())

    def share(self, concepts: list[Any]) -> float:
        """Mean over subjects, a few pictures of each."""
        each = math.ceil(SEEDS / 4)
        return statistics.mean(self.right(concept, each) for concept in concepts)

    def with_lora(self, file: Path, weight: float, deed: Any) -> Any:
        """Do something while a LoRA is on, then take it off."""
        from webui.checkpoints.lora_file import read_lora
        from webui.networks.lora.applying import NetworkChange, set_changes
        from webui.networks.lora.matching import match_layers, text_layers, unet_layers

        model = self._painter.model
        tables = {"unet": unet_layers(model.unet), "text": text_layers(model.text_encoder)}
        networks = {"unet": model.unet, "text": model.text_encoder}
        match = match_layers(read_lora(file), tables)
        for name, network in networks.items():
            set_changes(network, [NetworkChange(file, match.layers[name], weight)])
        try:
            return deed()
        finally:
            for network in networks.values():
                set_changes(network, ())


if __name__ == "__main__":
    main()
