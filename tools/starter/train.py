"""Train text encoder and U-Net on prepared latents: ``python -m tools.starter.train RUN``.

Ends at a deadline (a clock time in RUN/deadline, which may be changed while it runs) or after a
number of steps, with the learning rate at zero. Stop it at any moment and start it again: it goes
on from its last checkpoint. Every random number follows from seed, step and place alone.
"""

from __future__ import annotations

import argparse
import copy
import json
import logging
import random
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

from webui.torch_setup import prepare_torch

prepare_torch()

import torch  # noqa: E402
from torch import Tensor  # noqa: E402

from tools.starter.concepts import NEGATIVE_WORDS, read_concepts  # noqa: E402
from tools.starter.muon import Muon  # noqa: E402
from tools.starter.networks import (  # noqa: E402
    PROFILES,
    VOCABULARY,
    Starter,
    Text,
    build_unet,
    from_checkpoint,
)
from tools.starter.objective import Objective  # noqa: E402
from tools.starter.pools import Pool, Shard, padded  # noqa: E402
from tools.starter.pretrain import pretrain  # noqa: E402
from webui.prompts.tokenizer import ClipTokenizer  # noqa: E402

logger = logging.getLogger(__name__)

EMPTY_SHARE, NEGATIVE_SHARE = 0.06, 0.04
"""Of captions: left empty (for guidance), or words a person writes as negative prompt."""

LONG_SHARE, SKIP_SHARE, NOISE_SHARE = 0.25, 0.10, 0.10
"""Of small batches: 77 tokens long; clip skip 2. Of captions: with unknown words between."""


@dataclass(frozen=True)
class Plan:
    """What one training does.

    Attributes:
        small_batch: Pictures that one thread computes at once. parts: Small batches of a step.
        workers: Threads that share the parts of a step; 1 makes a run exactly repeatable.
        steps: Length of the training; None = until the deadline.
        warm_steps: Over which the learning rate rises. flat: Share of the training before it falls.
        text_rate: Learning rate of the text encoder as a share of ``rate``.
        ema: Highest decay of the averaged weights, which are the ones that are kept.
    """

    small_batch: int = 4
    parts: int = 4
    workers: int = 2
    steps: int | None = None
    rate: float = 1.5e-3
    text_rate: float = 0.3
    warm_steps: int = 100
    flat: float = 0.6
    ema: float = 0.99
    seed: int = 1
    save_seconds: float = 300.0


@dataclass
class Progress:
    """How far a training is; saved with it."""

    step: int = 0
    seen: int = 0
    seconds: float = 0.0
    history: list[dict[str, float]] = field(default_factory=list)


class Average:
    """Exponential moving average of networks."""

    def __init__(self, networks: Starter, decay: float) -> None:
        self.live = networks
        self.networks = Starter(copy.deepcopy(networks.unet), copy.deepcopy(networks.text))
        for module in (self.networks.unet, self.networks.text):
            module.eval().requires_grad_(False)
        self.decay = decay

    @torch.no_grad()
    def update(self, step: int) -> None:
        """Move towards the live weights; faster in the first steps."""
        weight = 1 - min(self.decay, (1 + step) / (10 + step))
        for mean, live in (
            (self.networks.unet, self.live.unet),
            (self.networks.text, self.live.text),
        ):
            torch._foreach_lerp_(list(mean.parameters()), list(live.parameters()), weight)


class Trainer:
    """One training: networks, pictures, optimiser, and where all of it is kept."""

    def __init__(
        self, folder: Path, networks: Starter, pool: Pool, held: Shard, plan: Plan,
        unknown: list[int], negatives: list[list[int]], device: str = "cpu",
    ) -> None:  # fmt: skip
        self.folder, self.networks, self.pool, self.held = folder, networks, pool, held
        self.plan, self.unknown, self.negatives = plan, unknown, negatives
        self.progress, self.device = Progress(), torch.device(device)
        networks.unet.to(self.device)
        networks.text.to(self.device)
        self.objective = Objective(self.device)
        networks.unet.train().to(memory_format=torch.channels_last).requires_grad_(True)
        networks.text.train().requires_grad_(True)
        self.params = [*networks.unet.parameters(), *networks.text.parameters()]
        self.optimizer = Muon(self._groups(), plan.rate)
        self.average = Average(networks, plan.ema)
        self._executor = ThreadPoolExecutor(plan.workers)

    def _groups(self) -> list[dict[str, Any]]:
        def split(module: torch.nn.Module, multiplier: float) -> list[dict[str, Any]]:
            named = list(module.named_parameters())
            plain = [p for n, p in named if p.ndim < 2 or ("embedding" in n and "time" not in n)]
            wide = [p for _, p in named if all(p is not q for q in plain)]
            return [
                {"params": wide, "multiplier": multiplier},
                {"params": plain, "multiplier": multiplier, "muon": False},
            ]

        return split(self.networks.unet, 1.0) + split(self.networks.text, self.plan.text_rate)

    def fraction(self) -> float:
        """How much of the training is over, 0 to 1."""
        if self.plan.steps is not None:
            return self.progress.step / self.plan.steps
        left = read_deadline(self.folder / "deadline") - time.time()
        return self.progress.seconds / max(self.progress.seconds + left, 1e-9) if left > 0 else 1.0

    def run(self) -> None:
        """Train to the end, or go on where a former run stopped."""
        self.resume()
        started = saved = logged = time.time()
        before, losses = self.progress.seconds, []
        while (fraction := self.fraction()) < 1:
            losses.append(self.step(fraction))
            now = time.time()
            self.progress.seconds = before + now - started
            if now - logged > 30:
                logged = now
                self._log(losses, fraction)
                self.pool.refresh()
            if now - saved > self.plan.save_seconds:
                saved = now
                self.measure()
                self.save()
        self.measure()
        self.save()

    def _log(self, losses: list[float], fraction: float) -> None:
        last, p = losses[-40:], self.progress
        logger.info(
            "%.1f min, %.0f %%, step %d, %d pictures, %.1f/s, pool %d, loss %.4f",
            p.seconds / 60, 100 * fraction, p.step, p.seen, p.seen / max(p.seconds, 1e-9),
            len(self.pool), sum(last) / len(last),
        )  # fmt: skip

    def rate(self, fraction: float) -> float:
        """The learning rate now: rises, stays, falls to zero in a line."""
        rise = min(1.0, (self.progress.step + 1) / self.plan.warm_steps)
        return self.plan.rate * rise * min(1.0, (1 - fraction) / (1 - self.plan.flat))

    def step(self, fraction: float) -> float:
        """Change the weights once; the mean loss."""
        for group in self.optimizer.param_groups:
            group["lr"] = self.rate(fraction)
        parts = range(self.plan.parts)
        results = list(self._executor.map(lambda part: self._part(part, fraction), parts))
        for index, param in enumerate(self.params):
            total = results[0][1][index]
            for _, gradients in results[1:]:
                total.add_(gradients[index])
            param.grad = total.div_(self.plan.parts)
        torch.nn.utils.clip_grad_norm_(self.params, 1.0)
        self.optimizer.step(executor=self._executor)
        self.average.update(self.progress.step)
        self.progress.step += 1
        self.progress.seen += self.plan.parts * self.plan.small_batch
        return sum(loss for loss, _ in results) / len(results)

    def _part(self, part: int, fraction: float) -> tuple[float, list[Tensor]]:
        seed = (self.plan.seed * 1_000_003 + self.progress.step) * 1009 + part
        rng = random.Random(seed)
        latents, captions = self.pool.draw(self.plan.small_batch, fraction, rng)
        captions = [self._worded(caption, rng) for caption in captions]
        tokens = padded(captions, 77 if rng.random() < LONG_SHARE else None)
        with self._precision():
            context = self.networks.text(
                tokens.to(self.device), 2 if rng.random() < SKIP_SHARE else 1
            )
            generator = torch.Generator().manual_seed(seed)
            loss = self.objective(self.networks.unet, latents, context, generator)
        return loss.item(), list(torch.autograd.grad(loss, self.params, materialize_grads=True))

    def _precision(self) -> torch.autocast:
        """bfloat16 on GPUs; on the CPU it was measured to gain nothing."""
        return torch.autocast(self.device.type, torch.bfloat16, enabled=self.device.type != "cpu")

    def _worded(self, caption: list[int], rng: random.Random) -> list[int]:
        chance = rng.random()
        if chance < EMPTY_SHARE:
            return []
        if chance < EMPTY_SHARE + NEGATIVE_SHARE and self.negatives:
            some = rng.sample(self.negatives, min(len(self.negatives), rng.randint(1, 4)))
            return [token for words in some for token in words]
        if self.unknown and rng.random() < NOISE_SHARE:
            caption = list(caption)
            for _ in range(rng.randint(1, 4)):
                caption.insert(rng.randint(0, len(caption)), rng.choice(self.unknown))
        return caption

    @torch.no_grad()
    def measure(self) -> float:
        """Mean squared noise error of the averaged weights on held-out pictures."""
        networks, errors = self.average.networks, []
        generator = torch.Generator().manual_seed(7)
        latents = torch.from_numpy(self.held.latents[:256]).float().to(self.device)
        for start in range(0, len(latents), 16):
            clean = latents[start : start + 16]
            timesteps = torch.linspace(2, 997, len(clean)).long().to(self.device)
            noise = torch.randn(clean.shape, generator=generator).to(self.device)
            noisy = self.objective.noised(clean, noise, timesteps)
            rows = self.held.tokens[start : start + 16, 0]
            tokens = padded([row[row >= 0].tolist() for row in rows], 77)
            context = networks.text(tokens.to(self.device))
            predicted = networks.unet(noisy, timesteps, context).sample
            errors.append((predicted - noise).square().mean().item())
        error = sum(errors) / len(errors)
        p = self.progress
        p.history.append({"seconds": p.seconds, "seen": p.seen, "held_error": error})
        logger.info("held-out error %.4f after %d pictures", error, p.seen)
        return error

    def save(self) -> None:
        """Write the checkpoint in one piece."""
        state = {
            "live": self.networks.state(),
            "average": self.average.networks.state(),
            "optimizer": self.optimizer.state_dict(),
            "progress": vars(self.progress),
        }
        file = self.folder / "state.pt"
        torch.save(state, file.with_suffix(".unfinished"))
        file.with_suffix(".unfinished").replace(file)
        (self.folder / "history.json").write_text(json.dumps(self.progress.history, indent=1))

    def resume(self) -> None:
        """Take up the folder's checkpoint, if there is one."""
        file = self.folder / "state.pt"
        if not file.exists():
            return
        state = torch.load(file, weights_only=True, map_location=self.device)
        for networks, name in ((self.networks, "live"), (self.average.networks, "average")):
            networks.unet.load_state_dict(state[name]["unet"])
            networks.text.clip.load_state_dict(state[name]["text"])
        self.optimizer.load_state_dict(state["optimizer"])
        self.progress = Progress(**state["progress"])
        logger.info("going on at step %d", self.progress.step)


def read_deadline(file: Path) -> float:
    """Seconds since 1970 of a UTC time written as ``2026-01-31 07:40``."""
    when = datetime.fromisoformat(file.read_text().strip())
    return when.replace(tzinfo=timezone.utc).timestamp()


def negative_captions(tokenizer: ClipTokenizer) -> list[list[int]]:
    """Words of negative prompts, each with its comma, as token numbers."""
    return [tokenizer.encode(word + ",") for word in NEGATIVE_WORDS]


def unknown_tokens(known: list[int]) -> list[int]:
    """Token numbers of common words that training does not know."""
    return sorted(set(range(1000, VOCABULARY - 2)) - set(known))


def main() -> None:
    """The command."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("run", type=Path, help="folder that prepare filled")
    parser.add_argument("--first", type=Path, help="checkpoint to go on from; else from nothing")
    parser.add_argument("--profile", choices=sorted(PROFILES), default="cpu")
    parser.add_argument("--steps", type=int, help="else until the time in RUN/deadline (UTC)")
    parser.add_argument("--text-steps", type=int, default=600, help="of the text encoder alone")
    parser.add_argument("--small-batch", type=int, default=Plan.small_batch)
    parser.add_argument("--workers", type=int, default=Plan.workers)
    parser.add_argument("--seed", type=int, default=Plan.seed)
    parser.add_argument("--device", default="cpu")
    arguments = parser.parse_args()
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(message)s")
    torch.set_num_threads(1)
    torch.manual_seed(arguments.seed)
    pool, tokenizer = Pool(arguments.run / "pool"), ClipTokenizer.load()
    negatives = negative_captions(tokenizer)
    state = arguments.run / "state.pt"
    known = [*pool.tokens(), *(token for words in negatives for token in words)]
    if state.exists():
        known = torch.load(state, weights_only=True)["live"]["known"]
    if arguments.first:
        networks = from_checkpoint(arguments.first, known)
    else:
        profile = PROFILES[arguments.profile]
        networks = Starter(build_unet(profile), Text.fresh(profile, known))
        if not state.exists():
            pretrain(networks.text, read_concepts(), tokenizer, steps=arguments.text_steps)
    trainer = Trainer(
        arguments.run, networks, pool, Shard.load(arguments.run / "held.npz"),
        Plan(
            steps=arguments.steps, small_batch=arguments.small_batch, workers=arguments.workers,
            seed=arguments.seed,
        ),
        unknown_tokens(networks.text.rows.known), negatives, device=arguments.device,
    )  # fmt: skip
    trainer.run()


if __name__ == "__main__":
    main()
