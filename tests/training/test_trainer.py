"""A whole training, small: what comes out, that it comes out again, and that it can be stopped."""

from __future__ import annotations

import dataclasses
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import safetensors.torch
import torch
from PIL import Image

from tests.training.small_training import FewPictures, Notes, options_of, train
from webui.checkpoints.headers import read_header
from webui.checkpoints.load import load_checkpoint
from webui.checkpoints.lora_file import read_lora
from webui.errors import ParamsError, TrainingError
from webui.model_process.train_samples import SamplePainter
from webui.networks.lora.applying import NetworkChange, set_changes
from webui.networks.lora.matching import match_layers, text_layers, unet_layers
from webui.training import lycoris_layers, optimizer_names, run_files, trainer, watching
from webui.training import state as states
from webui.training.adapters import NO_DROPOUT
from webui.training.base import Base
from webui.training.lora_file import cannot_write, write_pickle
from webui.training.network import UNET, LoraNetwork, Wanted
from webui.training.network_args import ALGOS
from webui.training.optimizers import Chosen
from webui.training.preparing import make_network
from webui.training.samples import SamplePrompt
from webui.training.updates import Updates
from webui.training.watching import History


def tensors_of(path: Path) -> dict[str, torch.Tensor]:
    return safetensors.torch.load_file(path)


def equal(one: dict[str, torch.Tensor], other: dict[str, torch.Tensor]) -> bool:
    return one.keys() == other.keys() and all(torch.equal(one[k], other[k]) for k in one)


def farthest(one: dict[str, torch.Tensor], other: dict[str, torch.Tensor]) -> float:
    assert one.keys() == other.keys()
    return max(float((one[k].float() - other[k].float()).abs().max()) for k in one)


@pytest.fixture(scope="module")
def trained(starter_checkpoint: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A LoRA of six steps over U-Net and text encoder, on latents and words that vary."""
    folder = tmp_path_factory.mktemp("trained")
    options = whole_options()
    outcome = train(starter_checkpoint, folder, options, FewPictures(count=3))
    assert outcome.step == 6
    return outcome.files[-1]


def whole_options(**changed: object):
    return options_of(
        network_train_unet_only=False, text_encoder_lr=1e-3, network_args=("conv_dim=1",),
        network_dropout=0.1, noise_offset=0.05, min_snr_gamma=5, no_times=True, **changed,
    )  # fmt: skip


def test_training_when_done_then_the_file_fits_and_changes_the_network(
    starter_checkpoint: Path, trained: Path
) -> None:
    file = read_lora(trained)
    model = load_checkpoint(starter_checkpoint, for_painting=False)
    match = match_layers(
        file, {"unet": unet_layers(model.unet), "text": text_layers(model.text_encoders[0])}
    )
    assert not match.strangers and not match.unfit and not file.unknown
    assert match.applied == len(tensors_of(trained)) // 3
    latents, words = torch.ones(1, 4, 8, 8), torch.ones(1, 77, model.spec.unet.context_dim)
    with torch.no_grad():
        before = model.unet(latents, 500, words).sample
        set_changes(model.unet, [NetworkChange("k", match.layers["unet"], 1.0)])
        after = model.unet(latents, 500, words).sample
        set_changes(model.unet, [])
        again = model.unet(latents, 500, words).sample
    assert (before - after).abs().max() > 1e-3
    assert torch.equal(before, again)


def test_training_when_saved_then_the_file_equals_the_network_while_it_was_trained(
    starter_checkpoint: Path, trained: Path
) -> None:
    base = Base.of(load_checkpoint(starter_checkpoint, for_painting=False))
    network, _, _ = make_network(whole_options(), base, 1)
    network.load_tensors(tensors_of(trained))
    network.eval().put_on()
    latents, words = torch.ones(1, 4, 8, 8), torch.ones(1, 77, 768)[..., : _width(base)]
    with torch.no_grad():
        live = base.unet(latents, 500, words).sample
        network.take_off()
        match = match_layers(read_lora(trained), {"unet": unet_layers(base.unet)})
        set_changes(base.unet, [NetworkChange("k", match.layers["unet"], 1.0)])
        merged = base.unet(latents, 500, words).sample
    assert (live - merged).abs().max() < 1e-5


def _width(base: Base) -> int:
    return base.unet.config.cross_attention_dim


def test_training_when_repeated_with_the_seed_then_the_file_is_the_same(
    starter_checkpoint: Path, trained: Path, tmp_path: Path
) -> None:
    again = train(starter_checkpoint, tmp_path, whole_options(), FewPictures(count=3)).files[-1]
    assert again.read_bytes() == trained.read_bytes()


@pytest.mark.parametrize("is_pause", [True, False])
def test_training_when_paused_or_stopped_then_it_goes_on_as_if_it_never_was(
    starter_checkpoint: Path, trained: Path, tmp_path: Path, is_pause: bool
) -> None:
    stop = Notes(pause_after=2) if is_pause else Notes(stop_after=2)
    outcome = train(starter_checkpoint, tmp_path, whole_options(), FewPictures(count=3), stop)
    assert (outcome.is_paused, outcome.is_stopped, outcome.step) == (is_pause, not is_pause, 2)
    assert outcome.state is not None
    rest = Notes()
    ended = train(starter_checkpoint, tmp_path, whole_options(), FewPictures(count=3), rest)
    assert [facts.step for facts in rest.steps] == [3, 4, 5, 6]
    assert equal(tensors_of(ended.files[-1]), tensors_of(trained))
    assert states.state_in(outcome.state) is None, "nobody needs it any more"


KILLED = """
import sys, time
from pathlib import Path
from webui.torch_setup import prepare_torch
prepare_torch()
from tests.training.small_training import FewPictures, Notes, train
from tests.training.test_trainer import whole_options
class Slow(Notes):
    def stepped(self, facts):
        print(facts.step, flush=True)
        time.sleep(60 if facts.step == 5 else 0)
train(Path(sys.argv[1]), Path(sys.argv[2]), whole_options(), FewPictures(count=3), Slow(),
      autosave_seconds=0)
"""


def test_training_when_killed_in_mid_epoch_then_a_new_start_ends_with_the_same_file(
    starter_checkpoint: Path, trained: Path, tmp_path: Path, project: Path
) -> None:
    child = subprocess.Popen(
        [sys.executable, "-c", KILLED, str(starter_checkpoint), str(tmp_path)],
        cwd=project, env={**os.environ, "PYTHONPATH": str(project)}, stdout=subprocess.PIPE,
        text=True,
    )  # fmt: skip
    assert child.stdout is not None
    assert any(line.strip() == "5" for line in child.stdout)
    time.sleep(0.2)
    os.kill(child.pid, getattr(signal, "SIGKILL", signal.SIGTERM))
    child.wait()
    rest = Notes()
    ended = train(starter_checkpoint, tmp_path, whole_options(), FewPictures(count=3), rest)
    assert rest.steps[0].step == 5, "step 5 was never kept"
    assert farthest(tensors_of(ended.files[-1]), tensors_of(trained)) <= 1e-5


def test_training_when_every_epoch_is_saved_then_only_the_last_ones_stay(
    starter_checkpoint: Path, tmp_path: Path
) -> None:
    options = options_of(
        max_train_epochs=4, save_every_n_epochs=1, save_last_n_epochs=2, save_state=True,
        save_last_n_epochs_state=1, save_precision="fp16",
    )  # fmt: skip
    notes = Notes()
    outcome = train(starter_checkpoint, tmp_path, options, FewPictures(count=1), notes)
    assert notes.stages[:2] == ["caching texts", "loading"], "reading the U-Net is not told"
    assert [name for name, *_ in notes.files] == [
        "zork-000001.safetensors", "zork-000002.safetensors", "zork-000003.safetensors",
        "zork.safetensors",
    ]  # fmt: skip
    assert sorted(p.name for p in tmp_path.glob("*.safetensors")) == [
        "zork-000002.safetensors", "zork-000003.safetensors", "zork.safetensors",
    ]  # fmt: skip
    assert sorted(p.name for p in tmp_path.glob("*-state")) == ["zork-000003-state", "zork-state"]
    assert {t.dtype for t in tensors_of(outcome.files[-1]).values()} == {torch.float16}
    told = read_header(tmp_path / "zork-000003.safetensors").metadata
    assert (told["ss_epoch"], told["ss_steps"], told["ss_max_train_steps"]) == ("3", "3", "4")


def test_resume_when_asked_with_another_rank_then_refused_in_words(
    starter_checkpoint: Path, tmp_path: Path
) -> None:
    options = options_of(max_train_epochs=1, save_state=True)
    train(starter_checkpoint, tmp_path, options, FewPictures(count=1))
    other = options_of(network_dim=3, resume=str(tmp_path / "zork-state"), output_name="b")
    with pytest.raises(ParamsError, match="is a state of dim 2; this job has dim 3"):
        train(starter_checkpoint, tmp_path, other, FewPictures(count=1))


def test_resume_when_given_more_epochs_then_steps_go_on_counting(
    starter_checkpoint: Path, tmp_path: Path
) -> None:
    train(starter_checkpoint, tmp_path, options_of(save_state=True), FewPictures(count=1))
    more = options_of(max_train_epochs=4, resume=str(tmp_path / "zork-state"), output_name="b")
    notes = Notes()
    train(starter_checkpoint, tmp_path, more, FewPictures(count=1), notes)
    assert [(f.epoch, f.step) for f in notes.steps] == [(3, 3), (4, 4)]


def test_resume_when_a_running_mean_is_new_then_it_begins_with_what_was_learnt() -> None:
    layer = Wanted("one", UNET, "one", torch.nn.Linear(2, 3), rank=1, alpha=1.0)
    network = LoraNetwork([layer], NO_DROPOUT)
    optimizer = torch.optim.SGD([{"params": list(network.parameters()), "name": UNET}], 1.0)
    chosen = Chosen(optimizer, "SGD", "SGD", sees_schedule=True, finds_rate=False)
    updates = Updates(
        options_of(ema_decay=0.9), network, chosen, lambda step: 1.0, torch.device("cpu")
    )
    learnt = {name: torch.full_like(value, 7) for name, value in network.tensors().items()}
    network.load_tensors(learnt)
    updates.take_up(optimizer.state_dict(), None)
    with updates.as_saved():
        assert float(network.tensors()["one.lora_up.weight"].mean()) == 7


def test_loss_when_no_number_three_times_then_the_training_ends_and_tells_why(
    starter_checkpoint: Path, tmp_path: Path
) -> None:
    pictures = FewPictures(count=1, loss_weight=float("nan"))
    with pytest.raises(TrainingError, match="no number in 3 steps") as found:
        train(starter_checkpoint, tmp_path, options_of(max_train_epochs=9), pictures)
    assert "rate" in found.value.hint
    state = tmp_path / "zork-autosave"
    assert states.read_place(state).step == 3
    kept = states.read_tensors(state).network
    assert all(torch.isfinite(value).all() for value in kept.values()), "one can go on from it"


def test_prior_loss_when_its_weight_is_zero_then_nothing_is_learnt(
    starter_checkpoint: Path, tmp_path: Path
) -> None:
    pictures = FewPictures(count=1, loss_weight=0.0)
    options = options_of(max_train_epochs=1, optimizer_type="SGDNesterov", unet_lr=1.0)
    outcome = train(starter_checkpoint, tmp_path, options, pictures)
    ups = [t for n, t in tensors_of(outcome.files[-1]).items() if "lora_up" in n]
    assert all(not t.any() for t in ups)


def test_save_when_the_disk_is_full_then_a_plain_sentence_and_the_older_state_stay(
    starter_checkpoint: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from webui.training import lora_file

    def full(path: Path) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(lora_file, "_flush", full)
    with pytest.raises(TrainingError, match="the disk is full") as found:
        train(
            starter_checkpoint, tmp_path, options_of(max_train_epochs=3), FewPictures(count=1),
            autosave_seconds=0,
        )  # fmt: skip
    assert "Make room" in found.value.hint
    assert not list(tmp_path.glob("*.part"))
    monkeypatch.undo()
    notes = Notes()
    train(starter_checkpoint, tmp_path, options_of(max_train_epochs=3), FewPictures(1), notes)
    assert (tmp_path / "zork.safetensors").is_file() and not notes.steps


def test_state_when_a_training_is_young_then_the_first_is_soon_there_and_the_next_later(
    starter_checkpoint: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    written: list[int] = []
    real = states.write_state

    def write(folder: Path, place: states.Place, *rest: object) -> None:
        written.append(place.step)
        real(folder, place, *rest)  # type: ignore[arg-type]

    monkeypatch.setattr(states, "write_state", write)
    monkeypatch.setattr(run_files, "FIRST_AUTOSAVE_SECONDS", 0.0)
    train(starter_checkpoint, tmp_path, options_of(max_train_epochs=3), FewPictures(count=1))
    assert written == [1]


def test_card_when_its_memory_is_almost_full_then_said_once(
    starter_checkpoint: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(trainer, "card_memory", lambda _: (int(7.8 * 2**30), 8 * 2**30))
    monkeypatch.setattr(trainer, "RECENT_STEPS", 2)
    notes = Notes()
    train(starter_checkpoint, tmp_path, options_of(max_train_epochs=4), FewPictures(1), notes)
    (said,) = notes.warnings
    assert "almost full (7.8 of 8.0 GB)" in said and "gradient_checkpointing" in said


def test_history_when_the_disk_is_full_at_a_resume_then_nothing_of_it_is_lost(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "history.jsonl"
    lines = [f'{{"step": {step}}}\n' for step in range(1, 5)]
    path.write_text("".join(lines))

    def full(part: Path, *_: object, **__: object) -> int:
        part.touch()
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(Path, "write_text", full)
        History(path, 2)
    assert path.read_text() == "".join(lines) and len(list(tmp_path.iterdir())) == 1
    History(path, 2)
    assert path.read_text() == "".join(lines[:2])


def test_history_when_steps_are_slow_then_each_is_there_at_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    now = [100.0]
    monkeypatch.setattr(watching.time, "monotonic", lambda: now[0])
    history = History(tmp_path / "history.jsonl", 0)
    seen: list[int] = []
    for step in range(1, 7):
        history.add({"step": step})
        seen.append(len((tmp_path / "history.jsonl").read_text().splitlines()))
        now[0] += 20 if step < 4 else 0.1
    assert seen == [1, 2, 3, 4, 4, 4], "and quick ones are written together"
    history.flush()
    assert len((tmp_path / "history.jsonl").read_text().splitlines()) == 6


def test_sample_when_its_disk_is_full_then_said_and_the_training_goes_on(tmp_path: Path) -> None:
    (tmp_path / "full").touch()
    notes = Notes()
    painter = SamplePainter.__new__(SamplePainter)
    painter._folder, painter._watcher = tmp_path / "full" / "sample", notes
    painter._options = options_of()
    painter._keep(Image.new("RGB", (8, 8)), SamplePrompt("a zork", seed=1), 0, 1, 1)
    (said,) = notes.warnings
    assert said.startswith("A sample picture could not be kept: ")


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="a disk that is always full")
def test_state_when_the_disk_is_full_under_torch_then_said_as_plainly(tmp_path: Path) -> None:
    with pytest.raises((RuntimeError, OSError)) as found:
        write_pickle({"a": torch.zeros(100_000)}, Path("/dev/full"))
    assert "the disk is full" in str(cannot_write(tmp_path / "a-state", found.value))


def test_memory_when_it_runs_out_then_the_state_is_kept(
    starter_checkpoint: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from webui.errors import DeviceMemoryError
    from webui.training.learning import Learner

    real, calls = Learner.loss, []

    def hungry(self: Learner, batch: object, seed: int) -> torch.Tensor:
        calls.append(seed)
        if len(calls) == 2:
            raise torch.OutOfMemoryError("CUDA out of memory")
        return real(self, batch, seed)  # type: ignore[arg-type]

    monkeypatch.setattr(Learner, "loss", hungry)
    with pytest.raises(DeviceMemoryError, match="at step 2"):
        train(starter_checkpoint, tmp_path, options_of(), FewPictures(count=2))
    assert states.read_place(tmp_path / "zork-autosave").step == 1


def test_samples_when_asked_for_in_between_then_painted_once_and_nothing_else_is_changed(
    starter_checkpoint: Path, trained: Path, tmp_path: Path
) -> None:
    painted: list[tuple[int, int]] = []

    def paint(epoch: int, step: int, set_weight: object) -> None:
        painted.append((epoch, step))
        torch.rand(5)

    ended = train(
        starter_checkpoint, tmp_path, whole_options(), FewPictures(count=3), Notes(sample_after=4),
        paint=paint,
    )  # fmt: skip
    assert painted == [(0, 4)]
    assert equal(tensors_of(ended.files[-1]), tensors_of(trained))


@pytest.mark.parametrize(
    "changed",
    [
        {"optimizer_type": "Lion", "unet_lr": 1e-4},
        {"optimizer_type": "Adafactor"},
        {"gradient_checkpointing": True},
        {"gradient_accumulation_steps": 2},
        {"ema_decay": 0.9},
        {"v_parameterization": True, "scale_v_pred_loss_like_noise_pred": True},
        {"loss_type": "huber", "multires_noise_iterations": 6, "ip_noise_gamma": 0.1},
        {"scale_weight_norms": 0.5, "max_grad_norm": 0},
        {"mixed_precision": "bf16"},
        {"mixed_precision": "bf16", "full_bf16": True, "ema_decay": 0.9},
        {"cache_latents": False},
        {"max_token_length": 225, "weighted_captions": True},
        {"network_args": ("rank_dropout=0.3", "module_dropout=0.3", "loraplus_lr_ratio=4")},
        {"network_args": ("down_lr_weight=cosine", "up_lr_weight=zeros")},
    ],
    ids=lambda changed: "-".join(changed),
)
def test_option_when_used_then_two_steps_are_learnt(
    starter_checkpoint: Path, tmp_path: Path, changed: dict[str, object]
) -> None:
    notes = Notes()
    options = options_of(max_train_epochs=1, **changed)
    outcome = train(starter_checkpoint, tmp_path, options, FewPictures(count=2), notes)
    assert all(0 < facts.loss < 10 for facts in notes.steps)
    ups = [t for n, t in tensors_of(outcome.files[-1]).items() if "lora_up" in n]
    assert any(t.any() for t in ups) and all(torch.isfinite(t).all() for t in ups)
    assert dataclasses.asdict(notes.steps[-1])["step"] == outcome.step


class FindsRate(torch.optim.SGD):
    """As Prodigy and D-Adaptation do: one rate for all groups."""

    @torch.no_grad()
    def step(self, closure: None = None) -> None:  # type: ignore[override]
        if len({group["lr"] for group in self.param_groups}) > 1:
            raise RuntimeError("Setting different lr values in different parameter groups")
        super().step()


class ScheduleFree(torch.optim.SGD):
    """As the package schedulefree: steps only after ``train``; ``eval`` shows other weights."""

    is_training = False

    def train(self) -> None:
        self._move(0.0 if self.is_training else -1.0)
        self.is_training = True

    def eval(self) -> None:
        self._move(1.0 if self.is_training else 0.0)
        self.is_training = False

    @torch.no_grad()
    def _move(self, by: float) -> None:
        for group in self.param_groups:
            for parameter in group["params"]:
                parameter.add_(by)

    @torch.no_grad()
    def step(self, closure: None = None) -> None:  # type: ignore[override]
        if not self.is_training:
            raise RuntimeError("Optimizer was not in train mode when step is called.")
        super().step()


def own_optimizer(
    monkeypatch: pytest.MonkeyPatch, name: str, made: type[torch.optim.Optimizer]
) -> None:
    kind = dataclasses.replace(optimizer_names.KINDS[name], module=__name__, name=made.__name__)
    monkeypatch.setitem(optimizer_names.KINDS, name, kind)


def test_optimizer_when_it_finds_the_rate_then_the_first_counts_for_all_parts(
    starter_checkpoint: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    own_optimizer(monkeypatch, "Prodigy", FindsRate)
    options = options_of(
        optimizer_type="Prodigy", max_train_epochs=1, network_train_unet_only=False,
        text_encoder_lr=0.5, unet_lr=1.0,
    )  # fmt: skip
    notes = Notes()
    train(starter_checkpoint, tmp_path, options, FewPictures(count=1), notes)
    assert notes.steps[0].rates == {"text": 0.5, "unet": 0.5}


def test_optimizer_when_schedule_free_then_files_hold_the_weights_for_use(
    starter_checkpoint: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    own_optimizer(monkeypatch, "SGDScheduleFree", ScheduleFree)
    options = options_of(
        optimizer_type="SGDScheduleFree", unet_lr=1e-9, save_every_n_epochs=1, save_state=True
    )
    outcome = train(starter_checkpoint, tmp_path, options, FewPictures(count=1))
    ups = [t for f in outcome.files for n, t in tensors_of(f).items() if "lora_up" in n]
    assert all(torch.allclose(up, torch.zeros(()), atol=1e-5) for up in ups)
    kept = safetensors.torch.load_file(tmp_path / "zork-000001-state" / states.NETWORK)
    assert all(t.mean() < -0.9 for n, t in kept.items() if "lora_up" in n)


def train_nothing(checkpoint: Path, folder: Path, pictures: FewPictures) -> float:
    """The validation loss of the untouched base."""
    notes = Notes()
    train(checkpoint, folder, options_of(max_train_epochs=1, unet_lr=1e-12), pictures, notes)
    return notes.validations[0][1]


def test_overfitting_when_two_pictures_are_learnt_then_the_loss_on_them_falls(
    starter_checkpoint: Path, tmp_path: Path
) -> None:
    notes = Notes()
    pictures = FewPictures(count=2, batch_size=2, held_out=2)
    options = options_of(
        max_train_epochs=40, unet_lr=1e-2, network_dim=8, validate_every_n_epochs=39
    )
    train(starter_checkpoint, tmp_path, options, pictures, notes)
    before = train_nothing(starter_checkpoint, tmp_path / "nothing", pictures)
    assert notes.validations[-1][1] < 0.8 * before


def test_file_when_diffusers_reads_it_then_every_layer_is_understood(
    starter_checkpoint: Path, tmp_path: Path
) -> None:
    from diffusers.loaders.lora_pipeline import StableDiffusionLoraLoaderMixin

    options = options_of(max_train_epochs=1, network_train_unet_only=False, text_encoder_lr=1e-3)
    path = train(starter_checkpoint, tmp_path, options, FewPictures(count=1)).files[-1]
    layers = len(tensors_of(path)) // 3
    found, alphas = StableDiffusionLoraLoaderMixin.lora_state_dict(str(path))  # raises on leftovers
    ups = [name for name in found if name.endswith((".up.weight", ".lora_B.weight"))]
    assert len(ups) == layers and len(alphas) == layers
    assert {name.partition(".")[0] for name in ups} == {"unet", "text_encoder"}


def test_lycoris_when_its_package_is_missing_then_said_plainly(
    starter_checkpoint: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "lycoris", None)
    monkeypatch.setitem(sys.modules, "lycoris.wrapper", None)
    options = options_of(network_module="lycoris.kohya", network_args=("algo=loha",))
    with pytest.raises(TrainingError, match="needs the package lycoris-lora"):
        train(starter_checkpoint, tmp_path, options, FewPictures(count=1))


def test_lycoris_when_it_lacks_something_itself_then_that_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "lycoris").mkdir()
    (tmp_path / "lycoris/__init__.py").touch()
    (tmp_path / "lycoris/wrapper.py").write_text("import no_such_thing")
    monkeypatch.syspath_prepend(tmp_path)
    for name in ("lycoris", "lycoris.wrapper"):
        monkeypatch.setitem(sys.modules, name, None)  # so that what is imported now goes again
        del sys.modules[name]
    with pytest.raises(TrainingError, match="cannot be loaded: No module named 'no_such_thing'"):
        lycoris_layers.lycoris_kinds()


def test_lycoris_when_it_refuses_a_layer_then_said_which_and_why(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def refuses(*arguments: object, **more: object) -> None:
        assert more["block_size"] == 4
        raise AssertionError("lora_dim must be a multiple of block_size")

    monkeypatch.setattr(lycoris_layers, "lycoris_kinds", lambda: {"dylora": refuses})
    with pytest.raises(ParamsError, match=r"made for te_q \(3, 2\) with rank 2: lora_dim must"):
        lycoris_layers.LycorisAdapter(
            "te_q", torch.nn.Linear(2, 3), "dylora", 2, 1.0, {"block_size": 4}
        )


@pytest.mark.parametrize("algo", ALGOS)
def test_lycoris_when_installed_then_a_file_of_its_kind_that_fits(
    starter_checkpoint: Path, tmp_path: Path, algo: str
) -> None:
    pytest.importorskip("lycoris")
    options = options_of(
        network_module="lycoris.kohya", max_train_epochs=1, network_dim=16,
        network_args=(f"algo={algo}", "conv_dim=16", "factor=4", "block_size=4"),
    )  # fmt: skip
    path = train(starter_checkpoint, tmp_path, options, FewPictures(count=2)).files[-1]
    model = load_checkpoint(starter_checkpoint, for_painting=False)
    file = read_lora(path)
    match = match_layers(file, {"unet": unet_layers(model.unet)})
    assert not match.strangers and not match.unfit and not file.unknown and match.applied > 100
    deltas = [c.weight.delta(torch.ones(match_shape(model, p))) for p, c in
              match.layers["unet"].items() if c.weight is not None]  # fmt: skip
    assert any(float(delta.abs().max()) > 0 for delta in deltas)


def match_shape(model: object, path: str) -> tuple[int, ...]:
    return tuple(model.unet.get_submodule(path).weight.shape)  # type: ignore[attr-defined]
