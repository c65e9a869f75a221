"""The models of one device: loaded when a job asks for them, kept as long as memory allows."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, NamedTuple

import psutil
import torch

from webui.checkpoints.basic_support import BasicModel, estimate_elements
from webui.checkpoints.control_specs import GuideSpec, identify_controlnet
from webui.checkpoints.identify import identify_file
from webui.checkpoints.load import (
    LoadedModel,
    estimate_bytes,
    lay_out_for_speed,
    load_checkpoint,
    load_own_vae,
    load_vae,
)
from webui.checkpoints.load_controlnet import LoadedGuide, controlnet_bytes, load_controlnet
from webui.checkpoints.load_pipeline import LoadedPipeline, load_pipeline, pipeline_dtype
from webui.checkpoints.lora_file import read_lora
from webui.checkpoints.memory import Budget, Bytes, Kept, Key, Machine, ModelMemory, Part
from webui.errors import CheckpointError, ModelTooLargeError
from webui.networks.lora.applying import is_lost
from webui.networks.lora.files import LoraFile
from webui.networks.small_weights import SmallWeights
from webui.pipelines.memory_ladder import available_bytes, give_back, learn_into
from webui.pipelines.placement import (
    FilePart,
    NetworkPart,
    put_aside,
    put_network_aside,
    take_from_aside,
)
from webui.pipelines.preview import forget_previews
from webui.pipelines.taking_turns import take_turns

logger = logging.getLogger(__name__)
CHECKPOINT, VAE, LORA, CONTROLNET = "checkpoint", "vae", "lora", "controlnet"
TOO_LARGE: Final = "too_large"
"""Among a model's extras until a job was told that the device cannot hold it whole."""
BESIDE: Final = Key("beside", None)
Files = Mapping[str, Any]
"""``checkpoint`` and ``vae`` (or None) with their ``path``, as a job message names them; and
``basic``, a ``BasicModel``, where a pipeline of diffusers paints the checkpoint."""


class FileMark(NamedTuple):
    """A file, or folder of parts, in its present state: another one under the same name is
    another. Of a folder the numbers are sums over its parts' files."""

    path: str
    size: int
    changed_ns: int


def file_mark(path: Path) -> FileMark:
    """The mark of a file, or folder; zeros when there is none."""
    try:
        stats = [one.stat() for one in (path, *path.glob("*/*"))]
    except OSError:
        return FileMark(str(path), 0, 0)
    size, changed = sum(s.st_size for s in stats), sum(s.st_mtime_ns for s in stats)
    return FileMark(str(path), size, changed)


@dataclass(frozen=True)
class ModelPlan:
    """How models run on a device, from the start-up flags.

    Attributes:
        dtype: Of U-Net and text encoders. vae_dtype: Of VAEs.
        medvram_sdxl: ``medvram`` for models of SDXL's latents only.
        device_bytes, ram_bytes: Budgets; 0 = automatic.
    """

    device: torch.device
    dtype: torch.dtype
    vae_dtype: torch.dtype
    medvram: bool = False
    lowvram: bool = False
    medvram_sdxl: bool = False
    device_bytes: int = 0
    ram_bytes: int = 0

    def put_aside(self, model: LoadedModel) -> None:
        """Move those of its networks that wait for their turn to main memory."""
        is_large = model.family.latents == "sdxl"
        medvram = self.medvram or (self.medvram_sdxl and is_large)
        put_aside(model, medvram=medvram, lowvram=self.lowvram)


@dataclass(frozen=True)
class SmallRule:
    """Which checkpoints a job wants with small weights, see ``networks.small_weights``.

    Attributes:
        storage: A1111's option fp8_storage: ``Disable``, ``Enable for SDXL`` or ``Enable``.
        keeps_half: cache_fp16_weight.
    """

    storage: str = "Disable"
    keeps_half: bool = False

    def of(self, checkpoint: Path) -> SmallWeights | None:
        """How the U-Net of a checkpoint is stored small; None = in the usual way, and for files
        that cannot be read, which is told when they are loaded."""
        if self.storage == "Disable":
            return None
        if self.storage == "Enable for SDXL":
            try:
                is_meant = identify_file(checkpoint).family.startswith("sdxl")
            except CheckpointError:
                is_meant = False
            if not is_meant:
                return None
        return SmallWeights(self.keeps_half)


class LoadedModels:
    """Checkpoints, VAEs and LoRAs in memory.

    Args:
        plan: How they run.
        beside: Other networks on the same device; they count, and get fewer when memory is short.

    Attributes:
        memory: Owns all of them.
    """

    def __init__(self, plan: ModelPlan, beside: Part | None = None) -> None:
        self._plan = plan
        self._beside = beside
        self._learnt: dict[Path, dict[tuple[str, int], Any]] = {}
        """What each checkpoint needed when memory was short; outlives the model."""
        self.memory = ModelMemory(self._budget({}), _machine(plan.device))
        self._small_rule = SmallRule()
        self._dtype = plan.dtype
        self._small: dict[Path, SmallWeights | None] = {}
        self._marks: dict[Path, FileMark] = {}
        """Of the present job's files, as they were when it began."""
        self._controlnets: tuple[Path, ...] = ()
        """Of the present job: they work together with every checkpoint."""
        self._control_specs: dict[FileMark, GuideSpec] = {}

    def begin(
        self,
        files: Iterable[Files],
        limits: Mapping[str, Any],
        small: SmallRule = SmallRule(),
        controlnets: Iterable[Path] = (),
        *,
        no_half: bool = False,
    ) -> None:
        """A job begins that works with these; ``limits`` as for ``_budget``.

        Args:
            no_half: It wants all but the VAE in float32, whatever the plan says.
        """
        self.memory.budget = self._budget(limits)
        self._dtype = torch.float32 if no_half else self._plan.dtype
        self._small_rule, self._small, self._marks = small, {}, {}
        files = tuple(files)
        needed = [key(f) for f in files for key in (self.checkpoint_key, self.vae_key)]
        self._controlnets = tuple(controlnets)
        for one in files:
            needed += self._controlnet_keys(one)
        self._let_go_of_useless()
        if self._beside is not None:
            self.memory.put(BESIDE, Kept(None, (self._beside,), lambda: True))
        self.memory.needs([*needed, BESIDE])

    def small_weights(self, files: Files) -> SmallWeights | None:
        """How the present job wants the U-Net of a checkpoint stored; None = in the usual way."""
        path, _ = _paths(files)
        if path not in self._small:
            self._small[path] = None if "basic" in files else self._small_rule.of(path)
        return self._small[path]

    def checkpoint_key(self, files: Files) -> Key:
        """Tells a checkpoint's networks from others; its VAE has a key of its own."""
        mark, small = self._mark(_paths(files)[0]), self.small_weights(files)
        return Key(CHECKPOINT, (mark, self._dtype, small))

    def vae_key(self, files: Files) -> Key:
        """Tells the VAE from others: by its own file, or by the checkpoint it is inside."""
        path, chosen = _paths(files)
        return Key(VAE, self._mark(chosen or path))

    def controlnet_key(self, path: Path, base: Path) -> Key:
        """Tells a ControlNet from others; see ``controlnet`` for ``base``."""
        try:
            under = self._mark(base) if self.control_spec(path).over else None
        except CheckpointError:  # told when it is loaded
            under = None
        return Key(CONTROLNET, (self._mark(path), self._dtype, under))

    def _controlnet_keys(self, files: Files) -> list[Key]:
        """Of all that work together with a checkpoint."""
        return [self.controlnet_key(path, _paths(files)[0]) for path in self._controlnets]

    def control_spec(self, path: Path) -> GuideSpec:
        """What a ControlNet is, from its header alone.

        Raises:
            CheckpointError: It cannot be read, or is something else.
        """
        mark = self._mark(path)
        if mark not in self._control_specs:
            self._control_specs[mark] = identify_controlnet(path)
        return self._control_specs[mark]

    def _mark(self, path: Path) -> FileMark:
        if path not in self._marks:
            self._marks[path] = file_mark(path)
        return self._marks[path]

    def _let_go_of_useless(self) -> None:
        """Models whose files are others now, which should not be there twice; and those whose own
        weights could not be put back."""
        loaded = self.memory.keys()
        for key in loaded:
            known = _mark_in(key)
            if known is None or key not in self.memory:  # it went with another
                continue
            if self._marks.get(Path(known.path), known) != known:
                self.memory.unload(key)
                self._learnt.pop(Path(known.path), None)
            elif key.kind == CHECKPOINT and any(map(is_lost, self.memory.peek(key).parts.values())):
                self.memory.unload(key)

    def has(self, files: Files) -> bool:
        """Whether nothing of it needs to be read."""
        if self.checkpoint_key(files) not in self.memory:
            return False
        return "basic" in files or self.vae_key(files) in self.memory

    def get(self, files: Files) -> Any:
        """A checkpoint with the VAE that was chosen for it.

        Returns:
            ``LoadedModel``; for ``basic`` a ``LoadedPipeline``.
        Raises:
            CheckpointError, DeviceMemoryError: It cannot be loaded.
        """
        key = self.checkpoint_key(files)
        if "basic" in files:
            return self._pipeline(key, files["basic"], _paths(files)[0])
        self.memory.use(key, self.vae_key(files), *self._controlnet_keys(files))
        if key in self.memory:
            model: LoadedModel = self.memory.get(key)
        else:
            model = self._load(key, files)
        self._give_vae(model, files)
        return model

    def lora(self, path: Path) -> LoraFile:
        """The tensors of a LoRA file; read once, as long as there is room for them.

        Raises:
            CheckpointError: It cannot be read.
        """
        mark = file_mark(path)
        return self.memory.get(
            Key(LORA, mark),
            lambda: Kept(read_lora(path), (FilePart(mark.size),)),
            Bytes(0, mark.size),
        )

    def has_controlnet(self, path: Path, base: Path) -> bool:
        """Whether nothing of it needs to be read."""
        return self.controlnet_key(path, base) in self.memory

    def controlnet(self, path: Path, base: Path, *, waits: bool) -> LoadedGuide:
        """A ControlNet.

        Args:
            base: The checkpoint it guides.
            waits: It waits in main memory between its turns, as with ``--lowvram``.
        Raises:
            CheckpointError, DeviceMemoryError: It cannot be loaded.
        """
        plan, key, dtype = self._plan, self.controlnet_key(path, base), self._dtype
        is_aside = plan.device.type != "cpu" and (waits or plan.lowvram)

        def load() -> Kept:
            home = torch.device("cpu") if is_aside else plan.device
            loaded = load_controlnet(path, device=home, dtype=dtype, base=base)
            if is_aside:  # before it counts as one that belongs on the device
                put_network_aside(loaded.network)
            return Kept(loaded, (NetworkPart(loaded.network, plan.device),))

        size = 0 if key in self.memory else controlnet_bytes(path, dtype)
        expected = Bytes(ram=size) if is_aside else Bytes(device=size)
        loaded: LoadedGuide = self.memory.get(key, load, expected)
        if is_aside:
            put_network_aside(loaded.network)
        else:
            take_from_aside(loaded.network)
        return loaded

    def make_room(self, more: int) -> None:
        """The model at work is about to take more of main memory."""
        self.memory.make_room(Bytes(ram=more))

    def unload_all(self) -> None:
        """Let go of everything."""
        self.memory.unload_all()

    def _budget(self, limits: Mapping[str, Any]) -> Budget:
        """Budgets for a job.

        Args:
            limits: ``checkpoints`` and ``vaes``: how many may stay, 0 = as many as fit;
                ``idle_stay_on_device``.
        """
        most = [(kind, limits.get(f"{kind}s", 0)) for kind in (CHECKPOINT, VAE)]
        return Budget(
            device=self._plan.device_bytes or None,
            ram=self._plan.ram_bytes or None,
            at_most=tuple((kind, number) for kind, number in most if number),
            idle_stay_on_device=limits.get("idle_stay_on_device", False),
        )

    def _load(self, key: Key, files: Files) -> LoadedModel:
        path, vae = _paths(files)
        known, small = self.vae_key(files), self.small_weights(files)
        model: LoadedModel | None = None

        def load_at(home: torch.device | None) -> LoadedModel:
            return load_checkpoint(
                path,
                device=self._plan.device,
                home=home,
                dtype=self._dtype,
                vae_dtype=self._plan.vae_dtype,
                vae_path=vae,
                vae=self.memory.get(known) if known in self.memory else None,
                small_unet=small,
            )

        def load() -> Kept:
            nonlocal model
            model = self._in_turns(load_at) if self._plan.lowvram else None
            try:
                model = model or load_at(None)
            except ModelTooLargeError:
                if self._plan.device.type == "cpu":
                    raise
            if model is None:  # after the except block, whose error holds on to what was loaded
                give_back()
                model = self._in_turns(load_at)
                model.extras[TOO_LARGE] = True
            self._plan.put_aside(model)
            learn_into(model, self._learnt.setdefault(path, {}))
            networks = [n for name, n in model.parts.items() if name != VAE]
            return Kept(model, tuple(NetworkPart(n, self._plan.device) for n in networks))

        self.memory.get(key, load, self._expected(path, has_small_unet=small is not None))
        assert model is not None
        if known not in self.memory:
            self.memory.put(known, self._kept_vae(model.vae, files))
        return model

    def _in_turns(self, load_at: Callable[[torch.device | None], LoadedModel]) -> LoadedModel:
        """A model that never is on the device as a whole, as with ``--lowvram``."""
        logger.info("The networks wait in main memory for their turns.")
        model = load_at(torch.device("cpu"))
        put_aside(model, medvram=True, lowvram=True)
        return model

    def _pipeline(self, key: Key, model: BasicModel, path: Path) -> LoadedPipeline:
        device = self._plan.device

        def load() -> Kept:
            aside = self._is_aside
            home = torch.device("cpu") if aside else device
            loaded = load_pipeline(
                model,
                path,
                device=device,
                dtype=self._dtype,
                home=home,
                free_bytes=available_bytes(home),
            )
            if aside:
                take_turns(loaded, by_blocks=self._plan.lowvram)
            learn_into(loaded, self._learnt.setdefault(path, {}))
            return Kept(loaded, tuple(NetworkPart(n, device) for n in loaded.parts.values()))

        self.memory.use(key)
        width = pipeline_dtype(device, self._dtype).itemsize
        size = 0 if key in self.memory else width * sum(estimate_elements(model).values())
        return self.memory.get(key, load, Bytes(ram=size) if self._is_aside else Bytes(device=size))

    @property
    def _is_aside(self) -> bool:
        """Whether the networks of pipelines wait outside of the device."""
        return self._plan.device.type != "cpu" and (self._plan.medvram or self._plan.lowvram)

    def _expected(self, path: Path, *, has_small_unet: bool) -> Bytes:
        size = estimate_bytes(
            path, self._dtype, self._plan.vae_dtype, has_small_unet=has_small_unet
        )
        return Bytes(ram=size) if self._plan.lowvram else Bytes(device=size)

    def _give_vae(self, model: LoadedModel, files: Files) -> None:
        path, chosen = _paths(files)
        place = {"device": self._plan.device, "dtype": self._plan.vae_dtype}

        def load() -> Kept:
            vae = load_vae(chosen, **place) if chosen else load_own_vae(path, **place)
            return self._kept_vae(vae, files)

        vae = self.memory.get(self.vae_key(files), load)
        if model.vae is vae:
            return
        model.vae, model.vae_path = vae, chosen
        forget_previews(model)
        lay_out_for_speed(model)
        self._plan.put_aside(model)

    def _kept_vae(self, vae: Any, files: Files) -> Kept:
        def is_held() -> bool:
            models = self.memory.values(CHECKPOINT)
            return any(getattr(model, "vae", None) is vae for model in models)

        parts = (NetworkPart(vae, self._plan.device),)
        owner = None if files.get("vae") else self.checkpoint_key(files)
        return Kept(vae, parts, is_held, owner)


def _mark_in(key: Key) -> FileMark | None:
    """The file that a checkpoint, a VAE or a ControlNet was read from."""
    what: Any = key.what
    if key.kind in (CHECKPOINT, CONTROLNET):
        return what[0]
    return what if key.kind == VAE else None


def _paths(files: Files) -> tuple[Path, Path | None]:
    vae = files.get("vae")
    return Path(files["checkpoint"]["path"]), Path(vae["path"]) if vae else None


def _machine(device: torch.device) -> Machine:
    has_own = device.type not in ("cpu", "mps")
    return Machine(
        is_shared=not has_own,
        free_device=lambda: available_bytes(device) if device.type == "cuda" else None,
        free_ram=lambda: available_bytes(torch.device("cpu")),
        ram_bytes=psutil.virtual_memory().total,
    )
