"""What the loop is handed: batches, their order, latents that were kept."""

from __future__ import annotations

import hashlib
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor

from tests.training.pictures import BLUE, GREEN, RED, options, picture
from webui.errors import JobCancelled
from webui.progress import Silent
from webui.training.batch import Batch, Plan
from webui.training.dataset import PictureDataset, open_dataset

PLAN = Plan(steps_per_epoch=4, total_steps=8)


class _Vae:
    """Averages of eight by eight pixels, and a number from the seed; counts its calls."""

    def __init__(self) -> None:
        self.calls = 0

    def __call__(self, images: Tensor, seeds: list[int]) -> Tensor:
        self.calls += 1
        small = torch.nn.functional.avg_pool2d(images, 8)
        noise = torch.tensor([seed % 97 for seed in seeds], dtype=torch.float32)
        return torch.cat([small, noise[:, None, None, None].expand(-1, 1, *small.shape[2:])], 1)


def _folder(tmp_path: Path) -> Path:
    parent = tmp_path / "我的 照片"
    for at, colour in enumerate((RED, GREEN, BLUE)):
        picture(parent / "3_mychar" / f"{at}.png", colour=colour, caption=f"mychar, a{at}, b, c")
    picture(parent / "3_mychar" / "宽 wide.png", (128, 32), caption="wide")
    return parent


def _open(tmp_path: Path, seed: int = 1, **changes: object) -> PictureDataset:
    chosen = {
        "enable_bucket": True, "resolution": 128, "max_bucket_reso": 256, "train_batch_size": 2,
        "max_data_loader_n_workers": 0,
    }  # fmt: skip
    return open_dataset(options(_folder(tmp_path), **{**chosen, **changes}), (), seed)


def _told(batch: Batch) -> tuple[object, ...]:
    pixels = batch.images if batch.images is not None else batch.latents
    assert pixels is not None
    return batch.captions, batch.size, hashlib.sha256(pixels.numpy().tobytes()).hexdigest()


def test_batches_when_buckets_differ_then_none_mixes_them_and_nothing_is_dropped(
    tmp_path: Path,
) -> None:
    data = _open(tmp_path)
    batches = list(data.batches(1, PLAN))
    assert data.facts.batches_per_epoch == len(batches) == 7  # 9 squares, 3 wide ones
    assert sorted(len(b) for b in batches) == [1, 1, 2, 2, 2, 2, 2]
    for batch in batches:
        assert batch.images is not None
        assert batch.images.shape[2:] == (batch.size[1], batch.size[0])
    words = [caption for batch in batches for caption in batch.captions]
    assert words.count("wide") == 3 and len(words) == 12


def test_pixels_when_read_then_are_the_picture_from_minus_one_to_one(tmp_path: Path) -> None:
    picture(tmp_path / "1_x" / "a.png", (64, 64), RED, "x")
    (batch,) = open_dataset(options(tmp_path), (), 0).batches(1, PLAN)
    assert batch.images is not None and batch.images.dtype == torch.float32
    expected = torch.tensor(RED) / 127.5 - 1
    assert torch.allclose(batch.images[0, :, 10, 10], expected)
    assert torch.all(batch.images[0, :, 10, 50] == -1)


def test_order_when_the_seed_or_epoch_changes_then_it_does_and_else_never(tmp_path: Path) -> None:
    rules = {"shuffle_caption": True, "keep_tokens": 1, "flip_aug": True}
    told = {
        (seed, epoch): [_told(b) for b in _open(tmp_path, seed, **rules).batches(epoch, PLAN)]
        for seed in (1, 2)
        for epoch in (1, 2)
    }
    assert len({str(value) for value in told.values()}) == 4
    again = [_told(b) for b in _open(tmp_path, 1, **rules).batches(1, PLAN)]
    threads = _open(tmp_path, 1, **rules, max_data_loader_n_workers=3)
    assert again == told[1, 1] == [_told(b) for b in threads.batches(1, PLAN)]
    assert [_told(b) for b in threads.batches(1, PLAN, skip=3)] == again[3:]


def test_order_when_nothing_varies_then_still_differs_from_epoch_to_epoch(tmp_path: Path) -> None:
    data = _open(tmp_path)
    orders = [[b.captions for b in data.batches(epoch, PLAN)] for epoch in (1, 2, 3)]
    assert len({str(order) for order in orders}) == 3
    assert len({str(sorted(sum(order, ()))) for order in orders}) == 1


def test_mirror_when_on_then_about_half_of_the_uses_are_mirrored(tmp_path: Path) -> None:
    picture(tmp_path / "20_x" / "a.png", colour=RED, caption="x")
    data = open_dataset(options(tmp_path, flip_aug=True), (), 0)
    black_left = [bool((b.images[0, :, 5, 5] == -1).all()) for b in data.batches(1, PLAN)]  # type: ignore[index]
    assert 4 <= sum(black_left) <= 16


def test_processes_when_two_then_share_the_epoch_and_have_as_many_batches(tmp_path: Path) -> None:
    data = _open(tmp_path)
    whole = [_told(b) for b in data.batches(1, PLAN)]
    assert len(whole) % 2 == 1
    parts = [
        [_told(b) for b in data.batches(1, Plan(4, 8, process=one, processes=2))] for one in (0, 1)
    ]
    assert parts[0] == whole[0::2] and parts[1] == [*whole[1::2], whole[0]]


def test_latents_when_kept_then_batches_carry_them_mirrored_ones_too(tmp_path: Path) -> None:
    data = _open(tmp_path, flip_aug=True, cache_latents=True, vae_batch_size=2)
    vae = _Vae()
    data.cache_latents(vae, "vae", Silent())
    assert vae.calls == 6  # four pictures by twos, each size for itself, and mirrored
    seen = [latents for b in data.batches(1, PLAN) if b.size == (128, 128) for latents in _of(b)]
    is_mirrored = [bool(latents[:3, 0, 0].max() < latents[:3, 0, 15].max()) for latents in seen]
    assert True in is_mirrored and False in is_mirrored


def _of(batch: Batch) -> list[Tensor]:
    assert batch.images is None and batch.latents is not None
    return list(batch.latents)


def test_disk_when_nothing_changed_then_the_vae_is_not_asked_again(tmp_path: Path) -> None:
    chosen = {"cache_latents": True, "cache_latents_to_disk": True}
    first, vae = _open(tmp_path, **chosen), _Vae()
    first.cache_latents(vae, "vae", Silent())
    files = sorted(path.name for path in (tmp_path / "我的 照片" / "out" / "latents").iterdir())
    assert len(files) == 4 and files[0].startswith("0_0064x0064_") and files[0].endswith("_sd.npz")
    again = _open_again(tmp_path, chosen)
    calls = vae.calls
    again.cache_latents(vae, "vae", Silent())
    assert vae.calls == calls
    assert [_told(b) for b in again.batches(1, PLAN)] == [_told(b) for b in first.batches(1, PLAN)]
    again = _open_again(tmp_path, chosen)
    again.cache_latents(vae, "another vae", Silent())
    assert vae.calls == 2 * calls
    picture(tmp_path / "我的 照片" / "3_mychar" / "0.png", (70, 64))
    again = _open_again(tmp_path, chosen)
    again.cache_latents(vae, "vae", Silent())
    assert vae.calls == 2 * calls + 1


def _open_again(tmp_path: Path, changes: dict[str, object]) -> PictureDataset:
    sizes = {"enable_bucket": True, "resolution": 128, "max_bucket_reso": 256}
    chosen = {**sizes, "train_batch_size": 2, **changes}
    return open_dataset(options(tmp_path / "我的 照片", **chosen), (), 1)


def test_disk_when_kohya_left_latents_then_they_are_read_where_they_fit(tmp_path: Path) -> None:
    path = picture(tmp_path / "1_x" / "a.png", caption="x")
    fitting = path.with_name("a_0064x0064_sd.npz")
    np.savez(fitting, latents=np.full((4, 8, 8), 0.5, np.float32))
    chosen = options(tmp_path, cache_latents_to_disk=True, cache_latents=True)
    data, vae = open_dataset(chosen, (), 0), _Vae()
    data.cache_latents(vae, "vae", Silent())
    assert vae.calls == 0
    assert any("another program" in text for text in data.facts.warnings)
    np.savez(fitting, latents=np.full((4, 8, 9), 0.5, np.float32))
    open_dataset(chosen, (), 0).cache_latents(vae, "vae", Silent())
    assert vae.calls == 1


def test_caching_when_interrupted_then_stops(tmp_path: Path) -> None:
    class Interrupted(Silent):
        def is_interrupted(self) -> bool:
            return True

    with pytest.raises(JobCancelled):
        _open(tmp_path, cache_latents=True).cache_latents(_Vae(), "vae", Interrupted())


def test_masks_when_asked_for_then_opacity_counts_and_whole_pictures_count_fully(
    tmp_path: Path,
) -> None:
    picture(tmp_path / "1_x" / "a.png", colour=(9, 9, 9, 51), caption="a")
    picture(tmp_path / "1_x" / "b.png", caption="b")
    for keeps in (False, True):
        data = open_dataset(options(tmp_path, alpha_mask=True, train_batch_size=2), (), 0)
        if keeps:
            data.cache_latents(_Vae(), "vae", Silent())
        (batch,) = data.batches(1, PLAN)
        assert batch.masks is not None and batch.masks.shape == (2, 1, 64, 64)
        at = batch.captions.index("a")
        assert torch.allclose(batch.masks[at, 0, 5, 5], torch.tensor(0.2))
        assert batch.masks[1 - at].min() == 1


def test_reg_pictures_when_given_then_join_with_their_own_weight(tmp_path: Path) -> None:
    folder = _folder(tmp_path)
    picture(tmp_path / "reg" / "1_person" / "r.png", colour=GREEN)
    picture(tmp_path / "reg" / "1_person" / "s.png", colour=GREEN)
    chosen = options(folder, reg_data_dir=str(tmp_path / "reg"), prior_loss_weight=0.25)
    data = open_dataset(chosen, (), 0)
    assert (data.facts.train_images, data.facts.reg_images) == (12, 12)
    weights = {(b.captions[0], b.loss_weights[0]) for b in data.batches(1, PLAN)}
    assert ("person", 0.25) in weights and ("wide", 1.0) in weights


def test_reg_pictures_when_their_words_are_dropped_then_only_theirs(tmp_path: Path) -> None:
    folder = _folder(tmp_path)
    picture(tmp_path / "reg" / "1_person" / "r.png", colour=GREEN)

    def told(**changes: object) -> set[str]:
        chosen = options(folder, reg_data_dir=str(tmp_path / "reg"), **changes)
        return {c for b in open_dataset(chosen, (), 0).batches(1, PLAN) for c in b.captions}

    assert told(reg_caption_dropout_rate=1.0) >= {"", "wide"}
    assert "person" not in told(reg_caption_dropout_rate=1.0)
    assert told(caption_dropout_rate=1.0, reg_caption_dropout_rate=0.0) == {"", "person"}


def test_folder_when_its_repeats_were_given_then_nobody_is_told_of_them(tmp_path: Path) -> None:
    picture(tmp_path / "3_me" / "a.png", caption="me")
    folder = tmp_path / "3_me"

    def told(**changes: object) -> tuple[str, ...]:
        return open_dataset(options(folder, **changes), (), 0).facts.warnings

    assert told(repeats=2) == ()
    assert ["with 3 repeats" in sentence for sentence in told()] == [True]


def test_captions_when_nothing_varies_then_are_all_that_can_come(tmp_path: Path) -> None:
    assert _open(tmp_path).captions() == {"wide", *(f"mychar, a{i}, b, c" for i in range(3))}
    assert "" in (_open(tmp_path, caption_dropout_rate=0.1).captions() or {})
    assert _open(tmp_path, shuffle_caption=True).captions() is None


def test_validation_when_split_then_is_apart_and_always_the_same(tmp_path: Path) -> None:
    data = _open(tmp_path, validation_split=0.5, shuffle_caption=True)
    kept_back = [caption for batch in data.validation() for caption in batch.captions]
    assert kept_back == [c for batch in data.validation() for c in batch.captions]
    trained = {c for b in data.batches(1, PLAN) for c in b.captions}
    assert len(kept_back) == 2 == data.facts.validation_images
    assert not {_tags(c) for c in kept_back} & {_tags(c) for c in trained}


def _tags(caption: str) -> frozenset[str]:
    return frozenset(caption.split(", "))


def test_random_crop_when_on_then_cuts_differ_and_without_it_the_middle_is_cut(
    tmp_path: Path,
) -> None:
    picture(tmp_path / "8_x" / "a.png", (256, 64), caption="x")

    def edges(**changes: object) -> set[int]:
        batches = open_dataset(options(tmp_path, **changes), (), 0).batches(1, PLAN)
        return {int((b.images[0, 0, 0] > 0).sum()) for b in batches if b.images is not None}

    assert edges() == {32}
    assert len(edges(random_crop=True)) > 3


def test_face_crop_when_the_name_tells_the_face_then_it_is_in_the_picture(tmp_path: Path) -> None:
    path = picture(tmp_path / "9_x" / "a_200_100_40_40.png", (256, 200), "black", caption="x")
    from PIL import Image

    with Image.open(path) as image:
        image.paste((255, 255, 255), (180, 80, 220, 120))
        image.save(path)
    data = open_dataset(options(tmp_path, face_crop_aug_range=(1.5, 3.0)), (), 0)
    shares = [float((b.images > 0).float().mean()) for b in data.batches(1, PLAN)]  # type: ignore[operator]
    assert all(0.05 < share < 0.5 for share in shares) and max(shares) > 1.2 * min(shares)


def test_colour_aug_when_on_then_some_uses_differ_a_little(tmp_path: Path) -> None:
    picture(tmp_path / "40_x" / "a.png", caption="x")
    data = open_dataset(options(tmp_path, color_aug=True), (), 0)
    colours = [b.images[0, :, 5, 5] for b in data.batches(1, PLAN) if b.images is not None]
    plain = torch.tensor(RED) / 127.5 - 1
    changed = [c for c in colours if not torch.allclose(c, plain)]
    assert 0.1 < len(changed) / 40 < 0.6
    assert all((c - plain).abs().max() < 0.6 for c in changed)
