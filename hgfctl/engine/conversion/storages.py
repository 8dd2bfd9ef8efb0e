"""A storage of PyTorch's inside another pickle: itself five small pickles, and then the numbers."""

import io
import math
from typing import Any

import torch
from torch import Tensor

from hgfctl.storage.inert_pickle import Name, Unreadable, load

MAGIC, PROTOCOL = 0x1950A86A20F9469CFC6C, 1001

DTYPES = {
    "torch.DoubleStorage": torch.float64,
    "torch.FloatStorage": torch.float32,
    "torch.HalfStorage": torch.float16,
    "torch.BFloat16Storage": torch.bfloat16,
    "torch.LongStorage": torch.int64,
    "torch.IntStorage": torch.int32,
    "torch.ShortStorage": torch.int16,
    "torch.CharStorage": torch.int8,
    "torch.ByteStorage": torch.uint8,
    "torch.BoolStorage": torch.bool,
}


def storage(content: bytes) -> Tensor:
    """The vector that `torch.storage._load_from_bytes` would give.

    The form is `torch.save`'s without a zip: magic number, version, facts about the machine, the storage as a
    persistent id, the list of keys, and the numbers after their count. It is the one that pickling a tensor writes;
    another one is refused, so that nothing is ever unpacked to more than its size in the file.

    Raises:
        Unreadable: another form, or not the stated number of numbers.
    """
    if not isinstance(content, bytes):
        raise Unreadable("a storage is not of bytes")
    if content.startswith(b"PK"):
        raise Unreadable("a storage is a zip archive, which pickling does not write")
    stream = io.BytesIO(content)
    if load(stream, {}) != MAGIC or load(stream, {}) != PROTOCOL:
        raise Unreadable("a storage is not in PyTorch's form")
    machine = load(stream, {})
    if not isinstance(machine, dict) or machine.get("little_endian") is not True:
        raise Unreadable("a storage is not of a little-endian machine")
    dtype, count = load(stream, dict.fromkeys(DTYPES, _never), persistent=_described)
    load(stream, {})
    stated = int.from_bytes(stream.read(8), "little")
    numbers = stream.read()
    if stated != count or len(numbers) != count * dtype.itemsize:
        raise Unreadable(f"a storage says that it holds {count} numbers, and {len(numbers)} bytes follow")
    return torch.frombuffer(bytearray(numbers), dtype=dtype) if count else torch.empty(0, dtype=dtype)


def strided(numbers: Any, offset: Any, size: Any, stride: Any, *_: Any) -> Tensor:
    """A tensor on a storage, as `torch._utils._rebuild_tensor_v2` gives it, no larger than the storage.

    Raises:
        Unreadable: it reaches beyond the storage, or repeats what is there.
    """
    if not isinstance(numbers, Tensor) or not isinstance(offset, int) or not _naturals(size) or not _naturals(stride):
        raise Unreadable("a tensor is not described by a storage, an offset, sizes and strides")
    last = offset + sum((n - 1) * step for n, step in zip(size, stride, strict=True))
    if offset < 0 or math.prod(size) > len(numbers) or (math.prod(size) and last >= len(numbers)):
        raise Unreadable(f"a tensor of shape {size!s:.80} reaches beyond its storage of {len(numbers)} numbers")
    return numbers.as_strided(size, stride, offset)


def _described(id: Any) -> tuple[torch.dtype, int]:
    word, kind, _, _, count, view = id
    if word != "storage" or not isinstance(kind, Name) or view is not None or not isinstance(count, int) or count < 0:
        raise Unreadable("a storage describes itself in another form than PyTorch's")
    return DTYPES[kind.full], count


def _naturals(values: Any) -> bool:
    return isinstance(values, tuple) and len(values) <= 8 and all(type(n) is int and n >= 0 for n in values)


def _never(*_: Any) -> Any:
    raise Unreadable("a storage makes an object")
