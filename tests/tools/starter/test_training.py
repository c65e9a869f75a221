"""Training: it learns, it goes on exactly where it stopped, it ends on time."""

from __future__ import annotations

import random
import shutil
import time
from pathlib import Path

import pytest
import torch

from tools.starter.companions.fit import fit
from tools.starter.muon import Muon, orthogonal
from tools.starter.networks import Starter, Text, known_rows
from tools.starter.objective import Objective
from tools.starter.pools import MOST_TOKENS, Pool, Shard, padded
from tools.starter.pretrain import pretrain
from tools.starter.train import Plan, Trainer
from tools.starter.train_vae import fold, psnr
from webui.prompts.tokenizer import ClipTokenizer


@pytest.fixture
def run(prepared: Path, tmp_path: Path) -> Path:
    """A copy of the prepared folder that a test may write to."""
    return Path(shutil.copytree(prepared, tmp_path / "run"))


def trainer_of(run: Path, networks: Starter, **values: object) -> Trainer:
    plan = Plan(**{"small_batch": 4, "parts": 2, "workers": 1, "warm_steps": 2, **values})  # type: ignore[arg-type]
    held = Shard.load(run / "held.npz")
    return Trainer(run, networks, Pool(run / "pool"), held, plan, [5000], [[1237, 267]])


def test_training_when_it_runs_then_held_out_error_falls(run: Path, networks: Starter) -> None:
    trainer = trainer_of(run, networks, steps=16, ema=0.5)
    before = trainer.measure()
    trainer.run()
    assert trainer.measure() < before - 0.05
    assert trainer.progress.seen == 16 * 8


def test_training_when_stopped_and_resumed_then_ends_with_the_same_weights(
    run: Path, networks: Starter, tmp_path: Path
) -> None:
    state = {name: tensor.clone() for name, tensor in networks.unet.state_dict().items()}
    words = {name: tensor.clone() for name, tensor in networks.text.state_dict().items()}
    whole = trainer_of(run, networks, steps=6)
    whole.run()
    wanted = {name: tensor.clone() for name, tensor in networks.unet.state_dict().items()}

    (run / "state.pt").unlink()
    networks.unet.load_state_dict(state)
    networks.text.load_state_dict(words)
    first = trainer_of(run, networks, steps=6)
    for _ in range(3):
        first.step(first.fraction())
    first.save()
    torch.nn.init.zeros_(networks.unet.conv_in.weight)  # what is in memory must not matter
    second = trainer_of(run, networks, steps=6)
    second.run()
    assert second.progress.step == 6
    assert all(torch.equal(wanted[n], t) for n, t in networks.unet.state_dict().items())


def test_training_with_a_deadline_when_it_is_over_then_does_nothing_more(
    run: Path, networks: Starter
) -> None:
    (run / "deadline").write_text("2001-01-01 00:00\n")
    trainer = trainer_of(run, networks)
    trainer.run()
    assert trainer.progress.step == 0
    assert (run / "state.pt").exists()


def test_deadline_when_half_the_time_is_over_then_fraction_is_half(
    run: Path, networks: Starter
) -> None:
    trainer = trainer_of(run, networks)
    soon = time.gmtime(time.time() + 7200)
    (run / "deadline").write_text(time.strftime("%Y-%m-%d %H:%M:%S", soon))
    trainer.progress.seconds = 7200
    assert trainer.fraction() == pytest.approx(0.5, abs=0.01)


def test_rate_rises_stays_and_falls_to_zero(run: Path, networks: Starter) -> None:
    trainer = trainer_of(run, networks, rate=1.0, warm_steps=10, flat=0.5)
    assert trainer.rate(0.0) == pytest.approx(0.1)
    trainer.progress.step = 50
    assert trainer.rate(0.4) == 1.0
    assert trainer.rate(0.75) == pytest.approx(0.5)
    assert trainer.rate(1.0) == 0.0


def test_pool_when_a_shard_is_added_then_refresh_finds_it(run: Path) -> None:
    late = run / "pool" / "shard_001.npz"
    aside = late.rename(run / "aside.npz")
    pool = Pool(run / "pool")
    assert len(pool) == 16
    aside.rename(late)
    pool.refresh()
    pool.refresh()
    assert len(pool) == 32
    latents, captions = pool.draw(5, 0.5, random.Random(1))
    assert latents.shape == (5, 4, 16, 16) and latents.dtype == torch.float32
    assert all(0 < len(caption) <= MOST_TOKENS for caption in captions)


def test_padded_has_clips_marks() -> None:
    assert padded([[5, 6], [7]]).tolist() == [
        [49406, 5, 6, 49407, 49407, 49407, 49407, 49407],
        [49406, 7, 49407, 49407, 49407, 49407, 49407, 49407],
    ]
    assert padded([[1] * 100]).shape == (1, 77)
    assert padded([[1] * 100])[0, -1] == 49407


def test_objective_when_noise_is_predicted_exactly_then_zero() -> None:
    class Knows:
        def __call__(self, noisy: torch.Tensor, timesteps: torch.Tensor, context: object) -> object:
            alphas = Objective().alphas[timesteps][:, None, None, None]
            noise = (noisy - alphas.sqrt() * clean) / (1 - alphas).sqrt()
            return type("Out", (), {"sample": noise})

    clean = torch.randn(6, 4, 8, 8)
    loss = Objective()(Knows(), clean, torch.empty(0), torch.Generator().manual_seed(1))
    assert loss < 1e-8


def test_objective_weighs_noisy_timesteps_by_the_clean_picture() -> None:
    objective = Objective()
    snr = objective.alphas / (1 - objective.alphas)
    on_clean = objective.weights * snr
    assert on_clean[999] == pytest.approx(0.3047, abs=1e-3)
    assert on_clean[0] == pytest.approx(5.3, abs=1e-3)


def test_orthogonal_brings_singular_values_near_one() -> None:
    matrix = torch.randn(24, 60, generator=torch.Generator().manual_seed(0))
    values = torch.linalg.svdvals(orthogonal(matrix))
    assert values.min() > 0.6 and values.max() < 1.3
    assert orthogonal(matrix.T).shape == (60, 24)


def test_muon_when_a_group_says_no_then_adam_is_used() -> None:
    weight = torch.nn.Parameter(torch.ones(32, 32))
    weight.grad = torch.full((32, 32), 3.0)
    Muon([{"params": [weight], "muon": False}], lr=0.01).step()
    assert torch.allclose(weight, torch.full((32, 32), 0.99), atol=1e-4)


def test_text_when_a_word_is_unknown_then_it_shares_the_last_row(networks: Starter) -> None:
    with torch.no_grad():
        one, other, known = networks.text(
            torch.tensor([[49406, 9000], [49406, 9001], [49406, 300]])
        )
    assert torch.equal(one, other)
    assert not torch.allclose(one, known)


def test_text_when_written_whole_and_read_again_then_knows_the_same_rows(
    networks: Starter,
) -> None:
    table = networks.text.whole_state()["embeddings.token_embedding.weight"]
    assert table.shape == (49408, 64)
    assert known_rows(table) == networks.text.rows.known


def test_pretrain_when_it_runs_then_names_what_captions_say(sprites: object) -> None:
    torch.manual_seed(0)
    from tools.starter.networks import PROFILES

    concepts = sprites.concepts  # type: ignore[attr-defined]
    text = Text.fresh(PROFILES["tiny"], list(range(200, 12000)))
    tokenizer = ClipTokenizer.load()
    little = pretrain(text, concepts, tokenizer, steps=1, batch=32)
    assert pretrain(text, concepts, tokenizer, steps=60, batch=32) > little + 0.15


def test_fold_when_done_then_latents_are_white_and_pictures_the_same(networks: Starter) -> None:
    vae = networks.vae
    assert vae is not None
    torch.manual_seed(1)
    pixels = torch.rand(12, 3, 64, 64) * 2 - 1
    with torch.no_grad():
        before = vae.decode(vae.encode(pixels).latent_dist.mode()).sample
        fold(vae, pixels)
        latents = vae.encode(pixels).latent_dist.mode() * 0.18215
        after = vae.decode(latents / 0.18215).sample
    values = latents.permute(1, 0, 2, 3).flatten(1)
    assert torch.allclose(values.mean(1), torch.zeros(4), atol=1e-3)
    assert torch.allclose(torch.cov(values), torch.eye(4), atol=0.02)
    assert torch.allclose(before, after, atol=1e-3)


def test_psnr_of_a_known_error() -> None:
    wanted = torch.zeros(2, 3, 8, 8)
    assert psnr(wanted + 0.2, wanted) == pytest.approx(20.0, abs=1e-3)


class Rates(torch.optim.SGD):
    """Plain descent that writes down what it was asked to do."""

    def __init__(self, params: list[dict[str, object]]) -> None:
        super().__init__(params, lr=1.0)
        self.seen: list[tuple[list[float], float]] = []

    def step(self, closure: object = None) -> None:  # type: ignore[override]
        gradients = [p.grad.flatten() for group in self.param_groups for p in group["params"]]
        rates = [round(group["lr"], 6) for group in self.param_groups]
        self.seen.append((rates, float(torch.cat(gradients).norm())))
        super().step()


def test_fit_brings_every_rate_up_and_down_to_zero_and_gradients_to_the_norm() -> None:
    one, other = torch.nn.Parameter(torch.ones(3)), torch.nn.Parameter(torch.ones(1))
    optimizer = Rates([{"params": [one]}, {"params": [other], "lr": 0.5}])
    fit(
        optimizer, lambda: 300 * one.sum() + 400 * other.sum(), steps=4, warm_steps=2,
        most_norm=2.0,
    )  # fmt: skip
    assert [rates for rates, _ in optimizer.seen] == [
        [0.5, 0.25], [0.75, 0.375], [0.5, 0.25], [0.25, 0.125],
    ]  # fmt: skip
    assert [norm for _, norm in optimizer.seen] == pytest.approx([2.0] * 4, abs=1e-4)


def test_fit_when_no_norm_is_asked_for_then_gradients_stay_and_it_finds_the_least() -> None:
    place = torch.nn.Parameter(torch.tensor([4.0, -3.0]))
    optimizer = Rates([{"params": [place], "lr": 0.3}])
    fit(optimizer, lambda: (place - 1).square().sum(), steps=30)
    assert optimizer.seen[0][1] == pytest.approx(10.0)
    assert torch.allclose(place, torch.ones(2), atol=1e-3)
