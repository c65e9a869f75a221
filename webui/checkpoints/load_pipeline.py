"""Load a model with basic support: diffusers' own networks and pipeline, from local files alone.

diffusers' networks are made empty and filled from their files tensor by tensor, as in load.py,
so that nothing is ever in memory twice; what belongs to transformers and what has no weights is
left to the libraries. No code of a folder is run and no network connection made.
"""

from __future__ import annotations

import inspect
import logging
import time
from collections.abc import Callable, Generator, Iterable
from contextlib import contextmanager
from dataclasses import dataclass, field
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Final

import diffusers
import torch
import transformers
from diffusers.models.modeling_utils import ModelMixin
from torch import Tensor, nn

from webui.checkpoints.basic_support import (
    LARGEST,
    BasicModel,
    estimate_elements,
    variant_of,
    weights_files,
)
from webui.checkpoints.keys import UNET
from webui.checkpoints.load import module_bytes, telling_lack_of_memory
from webui.checkpoints.precision import supports_bfloat16
from webui.checkpoints.weights import open_weights
from webui.errors import CheckpointError, ModelTooLargeError, UnknownArchitectureError

logger = logging.getLogger(__name__)
LIBRARIES: Final = ("diffusers", "transformers")
SCALES: Final = ("scaled_fp8", ".scale_weight", ".weight_scale")
"""What tensors of scaled fp8 files are called, beside the weights."""
NOT_PICTURES: Final = ("num_frames", "video_length", "audio_length_in_s", "audio_end_in_s")
"""Arguments of pipelines that make videos and sounds."""


@dataclass
class LoadedPipeline:
    """A diffusers pipeline in memory.

    Attributes:
        pipeline: Call it with a prompt; see ``pipelines/basic.py``.
        path: As the checkpoint is known; the folder, or the single file.
        dtype: Of all its networks.
        extras: Whatever belongs to it and shall go with it.
    """

    model: BasicModel
    pipeline: Any
    path: Path
    device: torch.device
    dtype: torch.dtype
    extras: dict[str, Any] = field(default_factory=dict[str, Any])

    @property
    def parts(self) -> dict[str, nn.Module]:
        """Its networks by name."""
        found = self.pipeline.components
        return {name: part for name, part in found.items() if isinstance(part, nn.Module)}

    @property
    def nbytes(self) -> int:
        """Bytes of all parameters and buffers, measured now."""
        return sum(map(module_bytes, self.parts.values()))


def pipeline_dtype(device: torch.device, dtype: torch.dtype) -> torch.dtype:
    """These models were trained in bfloat16; many overflow in float16."""
    halves = dtype == torch.float16 and supports_bfloat16(device)
    return torch.bfloat16 if halves else dtype


def fitting_dtype(
    model: BasicModel, device: torch.device, dtype: torch.dtype, free_bytes: int | None
) -> torch.dtype:
    """The number format a model is loaded in: bfloat16 on a CPU where float32 does not fit.

    Args:
        free_bytes: Memory there is for it; None = unknown.
    Raises:
        ModelTooLargeError: It does not fit at all.
    """
    elements = sum(estimate_elements(model).values())
    dtype = pipeline_dtype(device, dtype)
    if free_bytes is None or elements * dtype.itemsize <= free_bytes:
        return dtype
    if device.type == "cpu" and elements * torch.bfloat16.itemsize <= free_bytes:
        return torch.bfloat16
    needed = elements * min(dtype.itemsize, torch.bfloat16.itemsize)
    raise ModelTooLargeError(
        f"{model.folder.name} ({model.words}) needs {needed / 2**30:.1f} GiB of memory, of which "
        f"{free_bytes / 2**30:.1f} GiB are free.",
        "Close other programs, start with --medvram or --lowvram, or choose a smaller model.",
        needed_bytes=needed,
        free_bytes=free_bytes,
    )


def load_pipeline(
    model: BasicModel,
    path: Path,
    *,
    device: torch.device | str,
    dtype: torch.dtype,
    home: torch.device | None = None,
    free_bytes: int | None = None,
) -> LoadedPipeline:
    """Load a model with basic support.

    Args:
        path: As the checkpoint is known.
        device: Where its networks calculate.
        home: Where they are put; None = the device. free_bytes: Memory there; None = unknown.
        dtype: Of the networks; see ``fitting_dtype``.
    Raises:
        UnknownArchitectureError: This diffusers has no such pipeline, or it makes no pictures.
        CheckpointError: A part is missing, damaged, or needs a package that is not installed.
        ModelTooLargeError: The device is full.
    """
    diffusers.utils.logging.disable_progress_bar()
    transformers.utils.logging.disable_progress_bar()
    target = torch.device(device)
    dtype = fitting_dtype(model, target, dtype, free_bytes)
    started = time.perf_counter()
    pipeline_class = _pipeline_class(model)
    try:
        with telling_lack_of_memory(path, home or target):
            pipeline = _assembled(model, pipeline_class, home or target, dtype)
    except ImportError as err:
        raise _lacks_package(path, _first_line(err)) from err
    except (OSError, ValueError, KeyError, TypeError, AttributeError, RuntimeError) as err:
        logger.info("%s could not be loaded.", path, exc_info=True)
        raise CheckpointError(
            f"{path.name} is {model.title}, but diffusers {diffusers.__version__} cannot load it: "
            f"{_first_line(err)}",
            "The folder may be incomplete: get it again, all of it.",
            path=str(path),
        ) from err
    logger.info("Loaded %s in %.1f s.", path.name, time.perf_counter() - started)
    return LoadedPipeline(model, pipeline, path, target, dtype)


def _lacks_package(path: Path, what: str) -> CheckpointError:
    return CheckpointError(
        f"{path.name} needs a Python package that is not installed: {what}",
        "Install it into this program's environment (pip install …) and start again.",
        path=str(path),
    )


def _first_line(err: Exception) -> str:
    lines = [line.strip() for line in str(err).splitlines() if line.strip()]
    return (lines or [type(err).__name__])[0][:300]


def _pipeline_class(model: BasicModel) -> Any:
    """diffusers' own class of that name.

    Raises:
        UnknownArchitectureError: There is none, or it is none that makes pictures from a prompt.
    """
    found = getattr(diffusers, model.class_name, None)
    if absent := [b for b in getattr(found, "_backends", ()) if find_spec(b) is None]:
        raise _lacks_package(model.folder, ", ".join(absent))
    what = ""
    if not (isinstance(found, type) and issubclass(found, diffusers.DiffusionPipeline)):
        what = f"diffusers {diffusers.__version__} has no such pipeline"
    else:
        takes = call_arguments(found)
        if "prompt" not in takes or any(name in takes for name in NOT_PICTURES):
            what = "that pipeline makes no pictures from a prompt"
    if what:
        raise UnknownArchitectureError(
            f"{model.folder.name} is a folder for {model.class_name}: {what}.",
            "Choose another checkpoint.",
            path=str(model.folder),
            closest=[model.words],
        )
    return found


def call_arguments(pipeline_class: Any) -> dict[str, Any]:
    """Arguments that calling a pipeline takes, with their defaults."""
    found = inspect.signature(pipeline_class.__call__).parameters
    return {name: p.default for name, p in found.items() if name != "self"}


def _assembled(model: BasicModel, pipeline_class: Any, device: torch.device, dtype: torch.dtype):
    parts: dict[str, Any] = dict.fromkeys(model.left_out)
    for name, (library, class_name) in model.parts.items():
        part_class = _part_class(model, library, class_name)
        if isinstance(part_class, type) and issubclass(part_class, ModelMixin):
            parts[name] = _network(model, name, part_class, device, dtype)
    pipeline = pipeline_class.from_pretrained(
        str(model.folder),
        torch_dtype=dtype,
        use_safetensors=True,
        local_files_only=True,
        trust_remote_code=False,
        variant=_variant(model, parts),
        **parts,
    )
    pipeline.set_progress_bar_config(disable=True)
    for network in pipeline.components.values():
        if isinstance(network, nn.Module):
            network.eval().requires_grad_(False)
    return pipeline.to(device)


def _part_class(model: BasicModel, library: str, class_name: str) -> Any:
    """The class of a part of a folder.

    Raises:
        CheckpointError: It belongs neither to diffusers nor to transformers.
    """
    known = {"diffusers": diffusers, "transformers": transformers}
    home = known.get(library) or getattr(diffusers.pipelines, library, None)
    found = getattr(home, class_name, None)
    if isinstance(found, type) and issubclass(found, diffusers.DiffusionPipeline):
        home = None  # a folder in the folder, whose parts nobody has looked at
    if home is None:
        raise CheckpointError(
            f"{model.folder.name} has {class_name} from {library!r} as a part, which is not used "
            "here.",
            f"Parts may be networks, tokenizers and schedulers of {' and '.join(LIBRARIES)}.",
            path=str(model.folder),
        )
    return found


def _variant(model: BasicModel, ready: Iterable[str]) -> str | None:
    """The variant of files that transformers' parts have («fp16»), where there is no plain one."""
    others = [name for name in model.parts if name not in ready]
    files = [file for name in others for file in weights_files(model.folder / name)[:1]]
    return next((variant_of(file) for file in files if variant_of(file)), None)


def _network(
    model: BasicModel, name: str, part_class: Any, device: torch.device, dtype: torch.dtype
) -> nn.Module:
    """One of diffusers' networks with its weights."""
    folder = model.folder / name
    config = part_class.load_config(str(folder), local_files_only=True)
    if "quantization_config" in config:
        raise CheckpointError(
            f"The {name} of {model.folder.name} is quantised, which is not supported.",
            "Get the folder in float16, bfloat16 or float32.",
            path=str(folder),
        )
    with empty_parameters():
        network: nn.Module = part_class.from_config(config)
    kept = tuple(getattr(part_class, "_keep_in_fp32_modules", None) or ())

    def dtype_of(tensor: str) -> torch.dtype:
        return torch.float32 if any(part in tensor.split(".") for part in kept) else dtype

    state = _read(_files(model, name), device, dtype_of)
    if name == LARGEST and model.transformer is not None:
        state = _by_own_names(network, state, model)
    _fill(network, state, model.transformer or folder)
    for buffer_name, buffer in network.named_buffers():
        if buffer.is_floating_point():
            owner = network.get_submodule(buffer_name.rpartition(".")[0])
            owner._buffers[buffer_name.rpartition(".")[2]] = buffer.to(dtype_of(buffer_name))
    return network


@contextmanager
def empty_parameters() -> Generator[None, None, None]:
    """Modules that are made inside have parameters without memory; their buffers, which hold
    constants that no file has, are real."""
    register = nn.Module.register_parameter

    def registered(self: nn.Module, name: str, param: nn.Parameter | None) -> None:
        register(self, name, param)
        if param is not None:
            self._parameters[name] = nn.Parameter(param.to("meta"), requires_grad=False)

    nn.Module.register_parameter = registered
    try:
        yield
    finally:
        nn.Module.register_parameter = register


def _files(model: BasicModel, name: str) -> list[Path]:
    if name == LARGEST and model.transformer is not None:
        return [model.transformer]
    files = weights_files(model.folder / name)
    if not files:
        raise CheckpointError(
            f"{model.folder.name} lacks the weights of its {name}.",
            "Get the folder again, all of it.",
            path=str(model.folder / name),
        )
    return files


def _read(
    files: Iterable[Path], device: torch.device, dtype_of: Callable[[str], torch.dtype]
) -> dict[str, Tensor]:
    """Tensors by name, each read once and converted; of a file that holds a whole model under
    Stability's names, the network alone."""
    state: dict[str, Tensor] = {}
    for file in files:
        with open_weights(file) as weights:
            names = list(weights.header.tensors)
            inside = [name for name in names if name.startswith(UNET)]
            for name in inside or names:
                tensor = weights.read(name)
                wanted = dtype_of(name) if tensor.is_floating_point() else tensor.dtype
                state[name.removeprefix(UNET)] = tensor.to(device=device, dtype=wanted)
    return state


def _by_own_names(
    network: nn.Module, state: dict[str, Tensor], model: BasicModel
) -> dict[str, Tensor]:
    """A single file's tensors under the names that diffusers' network has.

    Raises:
        CheckpointError: It is stored in a way that diffusers does not know.
    """
    from diffusers.loaders.single_file_model import SINGLE_FILE_LOADABLE_CLASSES

    assert model.transformer is not None
    if any(name.endswith(SCALES) for name in state):
        raise CheckpointError(
            f"{model.transformer.name} is stored in scaled fp8, which is not supported.",
            "Get it in bfloat16, float16 or plain fp8.",
            path=str(model.transformer),
        )
    if state.keys() >= network.state_dict().keys():
        return state
    known = SINGLE_FILE_LOADABLE_CLASSES.get(type(network).__name__)
    if known is None:
        raise CheckpointError(
            f"diffusers {diffusers.__version__} cannot read {model.transformer.name}: it knows no "
            f"single files of {model.words}.",
            "Use the diffusers folder.",
            path=str(model.transformer),
        )
    return known["checkpoint_mapping_fn"](checkpoint=state, config=dict(network.config))  # type: ignore[arg-type]


def _fill(network: nn.Module, state: dict[str, Tensor], source: Path) -> None:
    network._fix_state_dict_keys_on_load(state)  # type: ignore[operator]
    missing = [name for name in network.state_dict() if name not in state]
    if missing:
        raise CheckpointError(
            f"{source.name} lacks {len(missing)} of the tensors it needs: "
            f"{', '.join(missing[:3])}.",
            "It is incomplete: get it again.",
            path=str(source),
        )
    network.load_state_dict(state, strict=False, assign=True)
