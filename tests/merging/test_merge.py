"""A1111's checkpoint merger: results equal a plain calculation, memory stays small."""

from __future__ import annotations

import json
import os
import tracemalloc
import weakref
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors import safe_open
from safetensors.torch import load_file, save_file
from torch.utils._python_dispatch import TorchDispatchMode

from tests.checkpoints.model_files import write_raw
from tests.merging.conftest import model_file
from webui.checkpoints.headers import DTYPE_BITS, read_header
from webui.errors import CheckpointError, JobCancelled, ParamsError
from webui.merging.discarding import discarded
from webui.merging.merge import merge_checkpoints
from webui.params import MergeCheckpoints
from webui.progress import Silent

UNET, VAE, TEXT = "model.diffusion_model.", "first_stage_model.", "cond_stage_model.transformer."
FIRST = f"{UNET}input_blocks.0.0.weight"
POSITIONS = f"{TEXT}text_model.embeddings.position_ids"
Tensors = dict[str, torch.Tensor]


def some_model(seed: int, dtype: torch.dtype = torch.float32, channels: int = 4) -> Tensors:
    """A few tensors under the names of an SD 1.x file."""
    generator = torch.Generator().manual_seed(seed)

    def drawn(*shape: int) -> torch.Tensor:
        return torch.randn(shape, generator=generator).to(dtype)

    return {
        FIRST: drawn(8, channels, 3, 3),
        f"{UNET}out.2.weight": drawn(4, 8, 3, 3),
        f"{UNET}big.weight": drawn(700, 500),  # more than one piece
        f"{VAE}decoder.conv_in.weight": drawn(6, 4, 3, 3),
        f"{TEXT}text_model.encoder.layers.0.mlp.fc1.weight": drawn(16, 8),
        POSITIONS: torch.arange(77)[None],
        "betas": drawn(10),
    }


def saved(path: Path, tensors: Mapping[str, torch.Tensor], **metadata: str) -> Path:
    save_file({k: v.contiguous() for k, v in tensors.items()}, path, metadata or None)
    return path


def merged(
    folder: Path, *models: Path, vae: Path | None = None, **wishes: Any
) -> tuple[Path, Tensors, dict[str, str]]:
    names = dict(zip(("primary", "secondary", "tertiary"), (m.name for m in models), strict=False))
    if vae is not None:
        wishes["bake_in_vae"] = vae.name
    params = MergeCheckpoints(**{**names, **wishes})
    path = merge_checkpoints(
        params, [model_file(m) for m in models], model_file(vae) if vae else None,
        folder / "out", Silent(),
    )  # fmt: skip
    with safe_open(path, "pt") as file:
        return path, load_file(path), file.metadata() or {}


@pytest.mark.parametrize("m", [0.0, 0.3, 1.0])
def test_weighted_sum_equals_the_plain_formula(m: float, tmp_path: Path) -> None:
    a, b = some_model(1), some_model(2)
    path, found, _ = merged(
        tmp_path, saved(tmp_path / "a.safetensors", a), saved(tmp_path / "b.safetensors", b),
        multiplier=m,
    )  # fmt: skip
    assert path.name == f"{round(1 - m, 2)}(a) + {m}(b).safetensors"
    assert set(found) == set(a)
    for name, tensor in found.items():
        is_merged = "model" in name and name != POSITIONS
        wanted = a[name] * (1 - m) + b[name] * m if is_merged else a[name]
        assert torch.allclose(tensor, wanted, rtol=0, atol=1e-6), name
        assert tensor.dtype == wanted.dtype


def test_add_difference_equals_the_plain_formula(tmp_path: Path) -> None:
    a, b, c = some_model(1), some_model(2), some_model(3)
    del c[f"{UNET}out.2.weight"]  # no difference to what is not there
    paths = [saved(tmp_path / f"{n}.safetensors", t) for n, t in zip("abc", (a, b, c), strict=True)]
    path, found, _ = merged(tmp_path, *paths, interpolation="Add difference", multiplier=0.5)
    assert path.name == "a + 0.5(b - c).safetensors"
    for name in set(found) - {POSITIONS, "betas", f"{UNET}out.2.weight"}:
        assert torch.allclose(found[name], a[name] + 0.5 * (b[name] - c[name]), atol=1e-6), name
    assert torch.equal(found[f"{UNET}out.2.weight"], a[f"{UNET}out.2.weight"])
    assert torch.equal(found["betas"], a["betas"])


def test_number_formats_follow_torchs_rules_and_save_as_half(tmp_path: Path) -> None:
    a, b = some_model(1, torch.float16), some_model(2)
    files = saved(tmp_path / "a.safetensors", a), saved(tmp_path / "b.safetensors", b)
    _, wide, _ = merged(tmp_path, *files, custom_name="wide")
    _, half, _ = merged(tmp_path, *files, custom_name="half", save_as_half=True)
    assert wide[FIRST].dtype == torch.float32 and half[FIRST].dtype == torch.float16
    assert torch.equal(half[FIRST], wide[FIRST].half())
    assert half[POSITIONS].dtype == torch.int64


F16, BF16, F32, F64 = torch.float16, torch.bfloat16, torch.float32, torch.float64
E4M3, E5M2 = torch.float8_e4m3fn, torch.float8_e5m2


@pytest.mark.parametrize(
    ("one", "other", "wanted"),
    [
        (F16, F16, F16), (BF16, BF16, BF16), (F16, BF16, F32), (F32, F16, F32), (BF16, F32, F32),
        (E4M3, E4M3, F16), (E4M3, E5M2, F16), (E4M3, F16, F16), (BF16, E5M2, BF16),
        (E5M2, F32, F32), (F64, F64, F64), (F16, F64, F64),
    ],
)  # fmt: skip
def test_sums_of_every_format_are_rounded_once(
    one: torch.dtype, other: torch.dtype, wanted: torch.dtype, tmp_path: Path
) -> None:
    models = [{FIRST: some_model(n, d)[FIRST]} for n, d in enumerate((one, other, one))]
    files = [saved(tmp_path / f"{n}.safetensors", m) for n, m in zip("abc", models, strict=True)]
    a, b, c = (m[FIRST].double() for m in models)
    for wish, plain, count in (
        ("Weighted sum", a * 0.7 + b * 0.3, 2), ("Add difference", a + 0.3 * (b - c), 3)
    ):  # fmt: skip
        _, found, _ = merged(tmp_path, *files[:count], interpolation=wish, custom_name=wish)
        assert found[FIRST].dtype == wanted
        tolerance = torch.finfo(wanted).eps * (a.abs() + b.abs() + c.abs())
        assert ((found[FIRST].double() - plain).abs() <= tolerance).all(), wish


def test_sum_too_large_for_float16_is_told(tmp_path: Path) -> None:
    files = [
        saved(tmp_path / f"{n}.safetensors", {FIRST: torch.full((4,), v)})
        for n, v in (("a", 6e4), ("b", 6e4), ("c", -6e4))
    ]
    with pytest.raises(CheckpointError, match=r"holds 180000, and F16 ends at 65504"):
        merged(tmp_path, *files, interpolation="Add difference", multiplier=1, save_as_half=True)
    assert list((tmp_path / "out").iterdir()) == []


def test_no_interpolation_with_half_and_discard(tmp_path: Path) -> None:
    a = some_model(1)
    path, found, _ = merged(
        tmp_path, saved(tmp_path / "a.safetensors", a), interpolation="No interpolation",
        save_as_half=True, discard_weights="^first_stage|betas",
    )  # fmt: skip
    assert path.name == "a.safetensors"
    assert set(found) == set(a) - {f"{VAE}decoder.conv_in.weight", "betas"}
    assert torch.equal(found[FIRST], a[FIRST].half())


@pytest.mark.parametrize(
    ("pattern", "told"),
    [(r"^(?:(\w|\w)+|\.)*(?<=[0-9])$", "repeats inside"), (r"(?P<a>a)(?P<a>", "cannot be read")],
)
def test_discard_when_it_would_take_for_ever_or_is_none_says_so(pattern: str, told: str) -> None:
    with pytest.raises(ParamsError, match=told) as caught:
        discarded(pattern, [f"model.{'a.' * 40}weight!"], seconds=0.2)
    assert caught.value.field == "discard_weights"


def test_positions_that_a_merger_turned_into_fractions_are_mended(tmp_path: Path) -> None:
    a = {**some_model(1), POSITIONS: (torch.arange(77) * 0.999)[None]}
    _, found, _ = merged(
        tmp_path, saved(tmp_path / "a.safetensors", a), interpolation="No interpolation"
    )
    assert torch.equal(found[POSITIONS], torch.arange(77)[None])
    b = {**some_model(2), POSITIONS: torch.zeros(1, 77)}
    files = saved(tmp_path / "a.safetensors", a), saved(tmp_path / "b.safetensors", b)
    _, found, _ = merged(tmp_path, *files, multiplier=1.0)
    assert torch.equal(found[POSITIONS], torch.arange(77)[None]), "positions are not merged"


def test_old_names_of_the_text_encoder_meet_the_new_ones(tmp_path: Path) -> None:
    a, b = some_model(1), some_model(2)
    old = {name.replace("text_model.", ""): tensor for name, tensor in a.items()}
    path = tmp_path / "a.ckpt"
    torch.save({"state_dict": old, "optimizer": torch.ones(9)}, path)
    _, found, _ = merged(tmp_path, path, saved(tmp_path / "b.safetensors", b), multiplier=0.5)
    name = f"{TEXT}text_model.encoder.layers.0.mlp.fc1.weight"
    assert set(found) == set(a)
    assert torch.allclose(found[name], (a[name] + b[name]) / 2, atol=1e-6)


@pytest.mark.parametrize(("channels", "ending"), [(9, "inpainting"), (8, "instruct-pix2pix")])
def test_special_models_merge_where_both_see_latents(
    channels: int, ending: str, tmp_path: Path
) -> None:
    a, b = some_model(1, channels=channels), some_model(2)
    files = saved(tmp_path / "a.safetensors", a), saved(tmp_path / "b.safetensors", b)
    path, found, _ = merged(tmp_path, *files, multiplier=0.25)
    assert path.name == f"0.75(a) + 0.25(b).{ending}.safetensors"
    assert torch.allclose(found[FIRST][:, :4], a[FIRST][:, :4] * 0.75 + b[FIRST] * 0.25, atol=1e-6)
    assert torch.equal(found[FIRST][:, 4:], a[FIRST][:, 4:])
    with pytest.raises(CheckpointError, match=f"A must be the {ending} model"):
        merged(tmp_path, *reversed(files), custom_name="other")


def test_models_of_other_shapes_are_refused_with_the_first_differences(tmp_path: Path) -> None:
    a, b = some_model(1), some_model(2)
    for name in list(b)[1:4]:
        b[name] = torch.zeros(2, 2)
    b[f"{TEXT}text_model.encoder.layers.0.mlp.fc1.weight"] = torch.zeros(3)
    files = saved(tmp_path / "a.safetensors", a), saved(tmp_path / "b.safetensors", b)
    with pytest.raises(CheckpointError, match=r"\[700, 500\] in A and \[2, 2\] in B") as caught:
        merged(tmp_path, *files)
    assert "and 1 more" in caught.value.message
    with pytest.raises(CheckpointError, match="no tensor in common"):
        merged(tmp_path, files[0], saved(tmp_path / "c.safetensors", {"x": torch.ones(1)}))
    assert not list((tmp_path / "out").glob("*"))


@pytest.mark.parametrize("strange", ["F8_E8M0", "F8_E4M3FNUZ", "F6_E2M3", "F4"])
def test_numbers_that_torch_does_not_know_are_told(strange: str, tmp_path: Path) -> None:
    bits = DTYPE_BITS[strange]
    entry = {"dtype": strange, "shape": [8], "data_offsets": [0, bits]}
    odd = write_raw(tmp_path / "odd.safetensors", {f"{UNET}x": entry}, bytes(bits))
    plain = saved(tmp_path / "plain.safetensors", {f"{UNET}x": torch.ones(8)})
    for models in ((odd, plain), (plain, odd)):
        with pytest.raises(CheckpointError, match=f"odd.safetensors holds .* {strange}"):
            merged(tmp_path, *models)


def test_vae_is_baked_in_whichever_prefix_it_has(tmp_path: Path) -> None:
    a, vae = some_model(1), {"decoder.conv_in.weight": torch.ones(6, 4, 3, 3)}
    file = saved(tmp_path / "a.safetensors", a)
    wishes = {"interpolation": "No interpolation"}
    bare = saved(tmp_path / "bare.safetensors", vae)
    full = saved(tmp_path / "full.safetensors", {VAE + k: v * 2 for k, v in vae.items()})
    for number, path in enumerate((bare, full), 1):
        _, found, _ = merged(tmp_path, file, vae=path, custom_name=f"v{number}", **wishes)
        assert torch.equal(found[f"{VAE}decoder.conv_in.weight"], torch.full((6, 4, 3, 3), number))
    other = saved(tmp_path / "other.safetensors", {"decoder.conv_in.weight": torch.ones(6, 16)})
    with pytest.raises(CheckpointError, match="cannot be baked into"):
        merged(tmp_path, file, vae=other, custom_name="v3", **wishes)


def test_metadata_tells_the_recipe_as_a1111_does(tmp_path: Path) -> None:
    a = saved(tmp_path / "a.safetensors", some_model(1), author="one", kept="a")
    earlier = json.dumps({"77": {"name": "grandparent"}})
    b = saved(
        tmp_path / "b.safetensors", some_model(2), author="two", sd_merge_models=earlier,
        sd_merge_recipe='{"type": "webui"}',
    )  # fmt: skip
    _, _, said = merged(tmp_path, a, b, metadata_json='{"note": {"x": 1}}')
    assert (said["author"], said["kept"], said["format"]) == ("two", "a", "pt")
    assert json.loads(said["note"]) == {"x": 1}
    recipe, models = json.loads(said["sd_merge_recipe"]), json.loads(said["sd_merge_models"])
    assert recipe["interp_method"] == "Weighted sum" and recipe["multiplier"] == 0.3
    assert recipe["tertiary_model_hash"] is None and recipe["config_source"] == 0
    assert models[recipe["primary_model_hash"]]["name"] == "a.safetensors"
    assert models[recipe["secondary_model_hash"]]["sd_merge_recipe"] == {"type": "webui"}
    assert models["77"] == {"name": "grandparent"}
    _, _, none = merged(tmp_path, a, b, save_metadata=False, custom_name="silent")
    assert none == {}


def test_what_a_model_says_of_its_past_is_no_json_and_is_left_out(tmp_path: Path) -> None:
    deep = "[" * 100_000
    a = saved(tmp_path / "a.safetensors", some_model(1), sd_merge_models=deep, sd_merge_recipe=deep)
    _, _, said = merged(tmp_path, a, a)
    (model,) = json.loads(said["sd_merge_models"]).values()
    assert model["sd_merge_recipe"] is None


@pytest.mark.parametrize(
    ("source", "wanted"), [("A, B or C", "of b"), ("B", "of b"), ("C", None), ("Don't", None)]
)
def test_configuration_is_copied_from_where_it_was_asked(
    source: str, wanted: str | None, tmp_path: Path
) -> None:
    files = [saved(tmp_path / f"{n}.safetensors", some_model(1)) for n in "ab"]
    (tmp_path / "b.yaml").write_text("of b")
    path, _, _ = merged(tmp_path, *files, config_source=source)
    config = path.with_suffix(".yaml")
    assert (config.read_text() if config.exists() else None) == wanted


def test_configuration_of_another_model_is_not_written_over(tmp_path: Path) -> None:
    files = [saved(tmp_path / f"{n}.safetensors", some_model(1)) for n in "ab"]
    (tmp_path / "b.yaml").write_text("of b")
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "mine.yaml").write_text("mine")
    with pytest.raises(CheckpointError, match=r"mine\.yaml exists already"):
        merged(tmp_path, *files, custom_name="mine")
    assert [path.read_text() for path in (tmp_path / "out").iterdir()] == ["mine"]


def test_what_exists_is_not_written_over(tmp_path: Path) -> None:
    files = [saved(tmp_path / f"{n}.safetensors", some_model(1)) for n in "ab"]
    path, _, _ = merged(tmp_path, *files, custom_name="mine")
    before = path.read_bytes()
    with pytest.raises(CheckpointError, match="exists already"):
        merged(tmp_path, *files, custom_name="mine")
    assert path.read_bytes() == before


def test_names_as_long_as_a_disk_takes_them_are_possible(tmp_path: Path) -> None:
    a = saved(tmp_path / "a.safetensors", some_model(1))
    wish = {"interpolation": "No interpolation"}
    for name in ("模型" * 40, "😀" * 60):
        path, _, _ = merged(tmp_path, a, custom_name=name, **wish)
        assert path.stem == name and [path] == list(path.parent.glob(f"{name[0]}*"))
    with pytest.raises(CheckpointError, match="is 312 bytes long; 255 are possible"):
        merged(tmp_path, a, custom_name="模型" * 50, **wish)
    long = saved(tmp_path / f"{'型' * 80}.safetensors", some_model(2))
    with pytest.raises(CheckpointError, match="Give the result a shorter name"):
        merged(tmp_path, long, long)
    assert not list((tmp_path / "out").glob(".*")), "nothing half-made is left"


class _Stops(Silent):
    def __init__(self) -> None:
        self.asked = 0

    def is_interrupted(self) -> bool:
        self.asked += 1
        return self.asked > 3


def test_interrupted_merge_leaves_nothing_behind(tmp_path: Path) -> None:
    files = [saved(tmp_path / f"{n}.safetensors", some_model(1)) for n in "ab"]
    params = MergeCheckpoints(primary="a", secondary="b", add_merge_recipe=False)
    with pytest.raises(JobCancelled):
        merge_checkpoints(params, [model_file(f) for f in files], None, tmp_path / "o", _Stops())
    assert list((tmp_path / "o").iterdir()) == []


def test_what_a_killed_process_left_is_removed_once_it_is_old(tmp_path: Path) -> None:
    a, out = saved(tmp_path / "a.safetensors", some_model(1)), tmp_path / "out"
    old, young, folder = (out / f".danqing-part-{name}" for name in ("old", "young", "folder"))
    (folder / "unet").mkdir(parents=True)
    (out / ".mine.part").touch()
    for part in (old, young):
        part.touch()
    for part in (old, folder, out / ".mine.part"):
        os.utime(part, (0, 0))
    path, _, _ = merged(tmp_path, a, interpolation="No interpolation")
    assert {found.name for found in out.iterdir()} == {path.name, young.name, ".mine.part"}


def test_full_disk_is_told_before_anything_is_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    files = [saved(tmp_path / f"{n}.safetensors", some_model(1)) for n in "ab"]
    usage = type("Usage", (), {"free": 1000})
    monkeypatch.setattr("webui.checkpoints.write.shutil.disk_usage", lambda _path: usage)
    with pytest.raises(CheckpointError, match=r"needs 0\.0 GB; the disk has"):
        merged(tmp_path, *files)


class _Allocations(TorchDispatchMode):
    """Follows every tensor that torch makes, and how many bytes of them live at once."""

    def __init__(self) -> None:
        super().__init__()
        self.alive: dict[int, int] = {}
        self.peak = 0

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        made = func(*args, **(kwargs or {}))
        if isinstance(made, torch.Tensor):
            self._see(made.untyped_storage())
        return made

    def _see(self, storage: Any) -> None:
        key = storage._cdata
        if storage.data_ptr() and key not in self.alive:
            self.alive[key] = storage.nbytes()
            weakref.finalize(storage, self.alive.pop, key, None)
            self.peak = max(self.peak, sum(self.alive.values()))


def test_peak_memory_stays_below_the_size_of_one_file(tmp_path: Path) -> None:
    size = 24
    tensors = {f"{UNET}layer.{n}.weight": torch.randn(1024, 1024) for n in range(size // 4 - 1)}
    tensors[f"{UNET}large.weight"] = torch.randn(2048, 512)
    files = [saved(tmp_path / f"{n}.safetensors", tensors) for n in "abc"]
    file_bytes = files[0].stat().st_size
    del tensors
    params = MergeCheckpoints(
        primary="a", secondary="b", tertiary="c", interpolation="Add difference"
    )
    tracemalloc.start()
    with _Allocations() as torchs:
        path = merge_checkpoints(
            params, [model_file(f) for f in files], None, tmp_path / "o", Silent()
        )
    pythons = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert torchs.peak > 1_000_000, "the meter works"
    assert torchs.peak + pythons < 0.75 * file_bytes  # the promise is 1.2
    assert read_header(path).tensors == read_header(files[0]).tensors
