"""Which names a pickle of weights may use, and what they come to; no torch.

Tensors become places in the file. Objects that trainers leave beside the weights become
``Leftover``: none of their code is imported or run. Everything else refuses the file.
"""

from __future__ import annotations

import struct
import zlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from webui.checkpoints.foreign_text import spelt
from webui.checkpoints.headers import MAX_AXES, TensorInfo
from webui.checkpoints.pickle_machine import Bytes, Leftover, Name, PickleError, follow, plain_key
from webui.checkpoints.pickle_wishes import Wishes
from webui.errors import UnsafeCheckpointError

STORAGE_DTYPES: Final = {
    "FloatStorage": "F32", "HalfStorage": "F16", "BFloat16Storage": "BF16",
    "DoubleStorage": "F64", "LongStorage": "I64", "IntStorage": "I32", "ShortStorage": "I16",
    "CharStorage": "I8", "ByteStorage": "U8", "BoolStorage": "BOOL", "UntypedStorage": "U8",
    "ComplexFloatStorage": "C64",
}  # fmt: skip
TORCH_DTYPES: Final = {
    "float32": "F32", "float": "F32", "float16": "F16", "half": "F16", "bfloat16": "BF16",
    "float64": "F64", "double": "F64", "int64": "I64", "long": "I64", "int32": "I32",
    "int16": "I16", "int8": "I8", "uint8": "U8", "bool": "BOOL", "float8_e4m3fn": "F8_E4M3",
    "float8_e5m2": "F8_E5M2", "uint16": "U16", "uint32": "U32", "uint64": "U64",
    "complex64": "C64",
}  # fmt: skip
LEFTOVER_PREFIXES: Final = (
    "pytorch_lightning.", "lightning.", "lightning_fabric.", "omegaconf.", "ldm.", "sgm.",
    "torch.nn.modules.", "torch.nn.parameter.", "torch.optim.", "torch.torch_version.",
    "diffusers.", "transformers.", "accelerate.", "k_diffusion.",
)  # fmt: skip
"""Modules whose objects trainers save beside the weights; only the *shape* of such an object is
kept, none of its code is imported or run."""
LEFTOVER_NAMES: Final = frozenset(
    {
        "numpy.core.multiarray.scalar", "numpy._core.multiarray.scalar", "numpy.dtype",
        "numpy.ndarray", "numpy.core.multiarray._reconstruct",
        "numpy._core.multiarray._reconstruct", "_codecs.encode", "argparse.Namespace",
        "pathlib.PosixPath", "pathlib.WindowsPath", "pathlib.PurePosixPath", "pathlib.Path",
        "torch.device", "torch.Size", "torch.Generator", "typing.Any", "copyreg._reconstructor",
        "builtins.object", "__builtin__.object", "collections.Counter", "datetime.datetime",
        "torch.serialization._get_layout", "torch.Tensor",
    }
)  # fmt: skip

READING_FAULTS: Final = (
    ValueError, TypeError, AttributeError, KeyError, IndexError, struct.error, OverflowError,
    EOFError, zlib.error, MemoryError, RuntimeError,
)  # fmt: skip
"""What damaged instructions and archives lead to; RuntimeError is an archive with a password."""

MAX_PICKLE_BYTES: Final = 32 << 20
"""A checkpoint's pickle without tensor data is a few hundred kilobytes."""


@dataclass(frozen=True)
class StoredTensor:
    """A tensor as a place in the file.

    Attributes:
        info: dtype and shape.
        stride: In elements, one per dimension.
        storage: Key of the storage it is a view of.
        offset: Of its first element inside the storage, in elements.
    """

    info: TensorInfo
    stride: tuple[int, ...]
    storage: str
    offset: int


@dataclass(frozen=True)
class StorageType:
    dtype: str


@dataclass(frozen=True)
class Storage:
    key: str
    dtype: str
    count: int


class Reader:
    """Knows which names belong to weights; remembers the storages asked for, and what else was.

    One for a whole file, which may hold several pickles. See ``pickle_machine.Trusted``.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.used: dict[str, Storage] = {}
        self._wishes = Wishes()

    def follow(self, data: Bytes, start: int = 0) -> tuple[Any, int]:
        """One pickle: what it describes, and where it ends.

        Raises:
            UnsafeCheckpointError: It asks for more than tensors.
            PickleError: It is damaged.
        """
        end = min(len(data), start + MAX_PICKLE_BYTES)
        found: tuple[Any, int] = (None, end)
        damage: Exception | None = None
        try:
            found = follow(data, start, end, self)
        except READING_FAULTS as err:
            damage = err
        if self._wishes:
            raise self._refusal() from damage
        if damage is not None:
            raise PickleError(str(damage)) from damage
        return found

    def _refusal(self) -> UnsafeCheckpointError:
        first = self._wishes.first
        return UnsafeCheckpointError(
            f"{self.path.name} asks to run '{first}', which has no place in a weights file. "
            f"It was refused; nothing in it was run. {self._wishes.sentence()}",
            "Get the model as .safetensors, from a source you trust.",
            path=str(self.path),
            wanted=first,
            wishes=self._wishes.listed(),
        )

    def named(self, full: str) -> Any:
        """See ``Trusted``."""
        full = spelt(full)
        module, _, name = full.rpartition(".")
        if module in ("torch", "torch.storage", "torch.cuda") and name in STORAGE_DTYPES:
            return StorageType(STORAGE_DTYPES[name])
        if module == "torch" and name in TORCH_DTYPES:
            return StorageType(TORCH_DTYPES[name])
        is_known = (
            full in _REBUILD
            or full in _PLAIN_TYPES
            or full in LEFTOVER_NAMES
            or full.startswith(LEFTOVER_PREFIXES)
        )
        if not is_known:
            self._wishes.name(full)
        return Name(full)

    def called(self, function: Name, arguments: tuple[Any, ...]) -> Any:
        """See ``Trusted``."""
        full = function.full
        if full in _REBUILD:
            return _REBUILD[full](*arguments)
        if full in _PLAIN_TYPES:
            return _PLAIN_TYPES[full](arguments)
        if not (full in LEFTOVER_NAMES or full.startswith(LEFTOVER_PREFIXES)):
            self._wishes.call(full, arguments)
        return Leftover(function, arguments)

    def stored(self, key: Any) -> Storage:
        """See ``Trusted``."""
        if not isinstance(key, tuple) or len(key) < 5 or not isinstance(key[1], StorageType):
            raise PickleError("it names outside data in an unknown way")
        _, kind, name, _, count = key[:5]
        if not isinstance(name, str | int) or not isinstance(count, int):
            raise PickleError("it names outside data in an unknown way")
        if len(key) > 5 and key[5] is not None:
            raise PickleError("views of storages (torch 0.x) are not supported")
        found = str(plain_key(name))
        return self.used.setdefault(found, Storage(found, kind.dtype, count))


def _rebuild_tensor(storage: Any, offset: Any, size: Any, stride: Any, *_: Any) -> StoredTensor:
    return _tensor(storage, storage.dtype, offset, size, stride)


def _rebuild_tensor_v3(
    storage: Any, offset: Any, size: Any, stride: Any, _grad: Any, _hooks: Any,
    dtype: StorageType, *_: Any,
) -> StoredTensor:  # fmt: skip
    return _tensor(storage, dtype.dtype, offset, size, stride)


def _tensor(storage: Any, dtype: str, offset: Any, size: Any, stride: Any) -> StoredTensor:
    if not isinstance(storage, Storage):
        raise PickleError("a tensor in it has no data")
    shape, steps = _axes(size), _axes(stride)
    return StoredTensor(TensorInfo(dtype, shape), steps, storage.key, _whole(offset))


def _axes(values: Any) -> tuple[int, ...]:
    if isinstance(values, Leftover):  # torch.Size((…))
        values = values.arguments[0]
    if not isinstance(values, tuple | list) or len(values) > MAX_AXES:
        raise PickleError("a tensor in it has an impossible shape")
    return tuple(map(_whole, values))


def _whole(value: Any) -> int:
    if type(value) is not int or not 0 <= value < 2**63:
        raise PickleError("a tensor in it has an impossible shape")
    return value


def _rebuild_from_type(function: Any, _kind: Any, args: Any, _state: Any) -> Any:
    if not isinstance(function, Name) or function.full not in _REBUILD:
        raise PickleError("a tensor is rebuilt by something unknown")
    if function.full == "torch._tensor._rebuild_from_type_v2":
        raise PickleError("a tensor is rebuilt again and again")
    return _REBUILD[function.full](*args)


def _first_argument(value: Any, *_: Any) -> Any:
    return value


def _dictionary(arguments: tuple[Any, ...]) -> dict[Any, Any]:
    """A dict, or one of its kinds, made of nothing or of pairs; defaultdict has a function first,
    which is forgotten."""
    pairs = next((a for a in arguments if isinstance(a, list | dict)), [])
    if isinstance(pairs, dict):
        return dict(pairs)
    twos = [pair for pair in pairs if isinstance(pair, list | tuple) and len(pair) == 2]
    return {plain_key(key): value for key, value in twos}


def _sequence(arguments: tuple[Any, ...]) -> list[Any]:
    values = arguments[0] if arguments else []
    return list(values) if isinstance(values, list | tuple) else []


def _forgotten(_arguments: tuple[Any, ...]) -> None:
    """Made of what the pickle says it might be of any size, and no tensor is in it."""
    return None


_REBUILD: Final[Mapping[str, Callable[..., Any]]] = {
    "torch._utils._rebuild_tensor": _rebuild_tensor,
    "torch._utils._rebuild_tensor_v2": _rebuild_tensor,
    "torch._utils._rebuild_tensor_v3": _rebuild_tensor_v3,
    "torch._utils._rebuild_parameter": _first_argument,
    "torch._utils._rebuild_parameter_with_state": _first_argument,
    "torch._tensor._rebuild_from_type_v2": _rebuild_from_type,
}
"""What torch writes to describe tensors; the only calls that lead to something."""
_PLAIN_TYPES: Final[Mapping[str, Callable[[tuple[Any, ...]], Any]]] = {
    **dict.fromkeys(
        ("collections.OrderedDict", "collections.defaultdict", "builtins.dict"), _dictionary
    ),
    **dict.fromkeys([f"builtins.{n}" for n in ("set", "frozenset", "list", "tuple")], _sequence),
    **dict.fromkeys(
        [f"builtins.{n}" for n in ("int", "float", "bool", "str", "complex", "bytearray", "slice",
                                   "range", "bytes")], _forgotten,
    ),
}  # fmt: skip
