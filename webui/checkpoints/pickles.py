"""Read torch's pickle files (.ckpt, .pt, .bin) without running anything they ask for; no torch.

A pickle is a program that names functions and calls them. Here a name is looked up in a closed
list: what torch itself writes to describe tensors, stand-ins that swallow the leftovers training
frameworks put beside the weights, and nothing else. Any other name ends the reading with an
error that says what the file wanted. Tensors come out as places in the file, without data.

Source: pickle opcodes as in Python's ``pickletools``; the two containers (zip since torch 1.6,
plain stream before) as written by ``torch.save``.
"""

from __future__ import annotations

import collections
import io
import pickle
import struct
import zipfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO, Final

from webui.checkpoints.headers import DTYPE_BITS, Header, TensorInfo, file_format
from webui.errors import CheckpointError, UnsafeCheckpointError

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

_READING_FAULTS: Final = (
    pickle.UnpicklingError, EOFError, ValueError, TypeError, AttributeError, KeyError, IndexError,
    struct.error, ImportError, OverflowError, RecursionError, MemoryError,
)  # fmt: skip
"""What Python's unpickler raises on damaged input."""

_LEGACY_MAGIC: Final = 0x1950A86A20F9469CFC6C
_LEGACY_PROTOCOL: Final = 1001
MAX_PICKLE_BYTES: Final = 256 << 20
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
class PickledFile:
    """A torch file read without its data.

    Attributes:
        content: The saved object: dicts, lists, numbers, text, StoredTensor, Leftover.
        tensors: All tensors by name (see ``tensors_by_name``).
        storages: Storage key → (byte offset in the file, byte length).
    """

    path: Path
    format: str
    content: Any
    tensors: Mapping[str, StoredTensor]
    storages: Mapping[str, tuple[int, int]]


class Leftover:
    """Stands in for an object whose class is neither imported nor run.

    Attributes:
        kind: Full name of the class or function the pickle asked for.
        state: What the pickle would have restored it from, or None.
    """

    kind: str = ""
    state: Any = None

    def __new__(cls, *args: Any, **kwargs: Any) -> Leftover:
        made = super().__new__(cls)
        made.state = None
        return made

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        return None

    def __setstate__(self, state: Any) -> None:
        self.state = state

    def __setitem__(self, key: Any, value: Any) -> None:
        return None

    def append(self, value: Any) -> None:
        """Lists saved by trainers are forgotten."""

    def extend(self, values: Any) -> None:
        """Lists saved by trainers are forgotten."""


@dataclass(frozen=True)
class _StorageType:
    dtype: str


@dataclass(frozen=True)
class _Storage:
    key: str
    dtype: str
    count: int


class _Callable:
    """A function a pickle may call. Its state cannot be replaced by the pickle (BUILD)."""

    __slots__ = ("_run",)

    def __init__(self, run: Callable[..., Any]) -> None:
        self._run = run

    def __call__(self, *args: Any) -> Any:
        return self._run(*args)

    def __setstate__(self, state: Any) -> None:
        raise pickle.UnpicklingError("a function was given a state")


def read_pickle_header(path: Path) -> Header:
    """Names, shapes and dtypes of a torch file.

    Raises:
        CheckpointError: Damaged or cut file.
        UnsafeCheckpointError: It asks for more than tensors.
    """
    file = read_pickle(path)
    return Header(path, file.format, {name: t.info for name, t in file.tensors.items()})


def read_pickle(path: Path) -> PickledFile:
    """Read a torch file up to, not including, its tensor data.

    Raises:
        CheckpointError: Damaged or cut file.
        UnsafeCheckpointError: It asks for more than tensors.
    """
    kind = file_format(path)
    try:
        if kind == "torch":
            content, storages, used = _read_zip(path)
        elif kind == "torch-old":
            content, storages, used = _read_stream(path)
        else:
            raise _damaged(path, f"it is a {kind} file, not a torch file")
        _check_storages(path, used, storages)
        tensors = tensors_by_name(content)
        for name, tensor in tensors.items():
            _check_extent(path, name, tensor, storages)
    except CheckpointError:
        raise
    except zipfile.BadZipFile as err:
        raise _damaged(path, "it was cut short, or is not a torch file") from err
    except OSError as err:
        raise CheckpointError(
            f"{path} cannot be read: {err.strerror or err}.",
            "Check the file's permissions and the disk.",
            path=str(path),
        ) from err
    except _READING_FAULTS as err:
        raise _damaged(path, f"its description of tensors cannot be read ({err})") from err
    return PickledFile(path, kind, content, tensors, storages)


def tensors_by_name(content: Any) -> dict[str, StoredTensor]:
    """All tensors of a saved object under dotted names.

    A ``state_dict`` (Lightning and A1111's checkpoints), or ``params_ema``/``params`` (upscalers)
    inside the object is taken as the object itself.
    """
    root = content
    if isinstance(content, dict):
        for key in ("state_dict", "params_ema", "params"):
            if isinstance(content.get(key), dict):
                root = content[key]
                break
    found: dict[str, StoredTensor] = {}
    stack: list[tuple[str, Any, int]] = [("", root, 0)]
    while stack:
        name, value, depth = stack.pop()
        if isinstance(value, StoredTensor):
            found[name] = value
            continue
        if isinstance(value, Leftover):
            value = value.state
        if depth > 12:
            continue
        for key, part in reversed(_parts(value)):
            stack.append((f"{name}.{key}" if name else str(key), part, depth + 1))
    return found


def _parts(value: Any) -> list[tuple[Any, Any]]:
    if isinstance(value, dict):
        return list(value.items())
    if isinstance(value, (list, tuple)):
        return list(enumerate(value))
    return []


def _damaged(path: Path, what: str) -> CheckpointError:
    return CheckpointError(
        f"{path} is damaged: {what}.", "Delete it and download it again.", path=str(path)
    )


class _Reader(pickle.Unpickler):
    """Unpickles with a closed list of names; remembers which storages were asked for."""

    def __init__(self, file: BinaryIO, path: Path) -> None:
        super().__init__(file, encoding="utf-8", errors="surrogateescape")
        self.path = path
        self.used: dict[str, _Storage] = {}
        self._stand_ins: dict[str, type[Leftover]] = {}
        self._functions = {
            "torch._utils._rebuild_tensor": _Callable(_rebuild_tensor),
            "torch._utils._rebuild_tensor_v2": _Callable(_rebuild_tensor),
            "torch._utils._rebuild_tensor_v3": _Callable(_rebuild_tensor_v3),
            "torch._utils._rebuild_parameter": _Callable(_first_argument),
            "torch._utils._rebuild_parameter_with_state": _Callable(_first_argument),
            "torch._tensor._rebuild_from_type_v2": _Callable(_rebuild_from_type),
            "collections.defaultdict": _Callable(_plain_dict),
        }

    def find_class(self, module: str, name: str) -> Any:
        full = f"{module}.{name}"
        if full in self._functions:
            return self._functions[full]
        if full == "collections.OrderedDict":
            return collections.OrderedDict
        if module in ("builtins", "__builtin__") and name in _PLAIN_TYPES:
            return _PLAIN_TYPES[name]
        if module in ("torch", "torch.storage", "torch.cuda") and name in STORAGE_DTYPES:
            return _StorageType(STORAGE_DTYPES[name])
        if module == "torch" and name in TORCH_DTYPES:
            return _StorageType(TORCH_DTYPES[name])
        if full in LEFTOVER_NAMES or full.startswith(LEFTOVER_PREFIXES):
            return self._stand_in(full)
        raise UnsafeCheckpointError(
            f"{self.path.name} asks to run {full!r}, which has no place in a weights file. "
            "It was refused; nothing in it was run.",
            "Get the model as .safetensors, from a source you trust.",
            path=str(self.path),
            wanted=full,
        )

    def _stand_in(self, full: str) -> type[Leftover]:
        if full not in self._stand_ins:
            self._stand_ins[full] = type("Leftover", (Leftover,), {"kind": full})
        return self._stand_ins[full]

    def persistent_load(self, pid: Any) -> _Storage:
        _, kind, key, _, count = pid[:5]
        storage = _Storage(str(key), kind.dtype, int(count))
        if len(pid) > 5 and pid[5] is not None:
            raise pickle.UnpicklingError("views of storages (torch 0.x) are not supported")
        return self.used.setdefault(storage.key, storage)


_PLAIN_TYPES: Final[dict[str, Any]] = {
    "set": set, "frozenset": frozenset, "dict": dict, "list": list, "tuple": tuple, "int": int,
    "float": float, "bool": bool, "str": str, "complex": complex, "bytearray": bytearray,
    "slice": slice, "range": range, "bytes": bytes,
}  # fmt: skip


def _rebuild_tensor(storage: _Storage, offset: int, size: Any, stride: Any, *_: Any) -> Any:
    shape = tuple(int(n) for n in size)
    info = TensorInfo(storage.dtype, shape)
    return StoredTensor(info, tuple(int(n) for n in stride), storage.key, int(offset))


def _rebuild_tensor_v3(
    storage: _Storage, offset: int, size: Any, stride: Any, _grad: Any, _hooks: Any,
    dtype: _StorageType, *_: Any,
) -> Any:  # fmt: skip
    shape = tuple(int(n) for n in size)
    info = TensorInfo(dtype.dtype, shape)
    return StoredTensor(info, tuple(int(n) for n in stride), storage.key, int(offset))


def _rebuild_from_type(function: Any, _kind: Any, args: Any, _state: Any) -> Any:
    if not isinstance(function, _Callable):
        raise pickle.UnpicklingError("a tensor is rebuilt by something unknown")
    return function(*args)


def _first_argument(value: Any, *_: Any) -> Any:
    return value


def _plain_dict(*_: Any) -> dict[Any, Any]:
    return {}


def _read_zip(path: Path) -> tuple[Any, dict[str, tuple[int, int]], dict[str, _Storage]]:
    with zipfile.ZipFile(path) as archive, open(path, "rb") as raw:
        entries = {info.filename: info for info in archive.infolist()}
        pickles = [name for name in entries if name.count("/") == 1 and name.endswith("/data.pkl")]
        if len(pickles) != 1:
            raise CheckpointError(
                f"{path} is a zip archive, but not one written by torch.",
                "Unpack it and put the weights file inside it here.",
                path=str(path),
            )
        prefix = pickles[0][: -len("data.pkl")]
        if entries[pickles[0]].file_size > MAX_PICKLE_BYTES:
            raise _damaged(path, "its description of tensors is larger than 256 MiB")
        order = entries.get(f"{prefix}byteorder")
        if order is not None and archive.read(order) != b"little":
            raise _damaged(path, "its numbers are big-endian, which is not supported")
        reader = _Reader(io.BytesIO(archive.read(pickles[0])), path)
        content = reader.load()
        storages = {
            key: _zip_data(path, raw, entries.get(f"{prefix}data/{key}")) for key in reader.used
        }
    return content, storages, reader.used


def _zip_data(path: Path, raw: BinaryIO, entry: zipfile.ZipInfo | None) -> tuple[int, int]:
    """Byte offset and length of an archive member's data; torch never compresses them."""
    if entry is None:
        raise _damaged(path, "a part with tensor data is missing")
    if entry.compress_type != zipfile.ZIP_STORED:
        raise _damaged(path, "its tensor data was compressed by another program")
    raw.seek(entry.header_offset)
    head = raw.read(30)  # local file header: name and extra lengths are its last two fields
    name_length, extra_length = struct.unpack("<HH", head[26:30])
    return entry.header_offset + 30 + name_length + extra_length, entry.file_size


def _read_stream(path: Path) -> tuple[Any, dict[str, tuple[int, int]], dict[str, _Storage]]:
    size = path.stat().st_size
    with open(path, "rb") as file:
        first = _Reader(file, path).load()
        if first != _LEGACY_MAGIC:
            return first, {}, {}  # a bare pickle without tensor data
        if _Reader(file, path).load() != _LEGACY_PROTOCOL:
            raise _damaged(path, "it uses an unknown version of torch's old format")
        system = _Reader(file, path).load()
        if isinstance(system, dict) and system.get("little_endian") is False:
            raise _damaged(path, "its numbers are big-endian, which is not supported")
        reader = _Reader(file, path)
        content = reader.load()
        keys = _Reader(file, path).load()
        storages = {}
        for key in map(str, keys):
            count = int.from_bytes(file.read(8), "little", signed=True)
            if key not in reader.used or count < 0:
                raise _damaged(path, "its list of tensor data does not fit its tensors")
            length = count * DTYPE_BITS[reader.used[key].dtype] // 8
            storages[key] = (file.tell(), length)
            if file.tell() + length > size:
                raise _damaged(path, "it was cut short: tensor data is missing at its end")
            file.seek(length, io.SEEK_CUR)
    return content, storages, reader.used


def _check_storages(
    path: Path, used: Mapping[str, _Storage], storages: Mapping[str, tuple[int, int]]
) -> None:
    size = path.stat().st_size
    for key in used:
        if key not in storages:
            raise _damaged(path, "a part with tensor data is missing")
        begin, length = storages[key]
        if begin + length > size:
            raise _damaged(path, "it was cut short: tensor data is missing at its end")


def _check_extent(
    path: Path, name: str, tensor: StoredTensor, storages: Mapping[str, tuple[int, int]]
) -> None:
    shape, stride = tensor.info.shape, tensor.stride
    if len(shape) != len(stride) or min((*shape, *stride, tensor.offset), default=0) < 0:
        raise _damaged(path, f"{name!r} has an impossible shape")
    if not tensor.info.count:
        return
    last = tensor.offset + sum((n - 1) * s for n, s in zip(shape, stride, strict=True))
    if (last + 1) * DTYPE_BITS[tensor.info.dtype] // 8 > storages[tensor.storage][1]:
        raise _damaged(path, f"{name!r} reaches beyond its data")
