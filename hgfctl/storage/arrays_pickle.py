"""Pickles of NumPy arrays, read without running anything: whatever else a file names is refused."""

import io
import re
from math import prod
from typing import Any

import numpy as np

from hgfctl.errors import RequestError
from hgfctl.storage.inert_pickle import Calls, States, Unreadable, load


def load_arrays(content: bytes, where: str) -> Any:
    """Nested dictionaries, lists, numbers, text and arrays from a pickle.

    Args:
        content: of the file.
        where: how messages call it.

    Raises:
        RequestError: damaged, or it names something that is not an array.
    """
    try:
        return load(io.BytesIO(content), ARRAY_CALLS, ARRAY_STATES)
    except Unreadable as error:
        raise RequestError(f"cannot read {where} as arrays: {error}") from None


class DType:
    """A type of numbers as a file says it: its letter and size, such as f8, and the order of bytes."""

    def __init__(self, code: str, *_: Any) -> None:
        if not re.fullmatch(r"[fiub][1248]", code):
            raise Unreadable(f"it holds numbers of a type {code!r:.20}")
        self.code, self.order = code, "="

    def set_state(self, state: Any) -> None:
        """State is (version, order, ...)."""
        if state[1] not in ("<", ">", "|", "="):
            raise Unreadable("it holds numbers in an unknown order of bytes")
        self.order = state[1]

    @property
    def dtype(self) -> np.dtype:
        return np.dtype(self.order.replace("|", "=") + self.code)


def scalar(dtype: DType, value: bytes) -> int | float | bool:
    """A NumPy number as Python's."""
    (number,) = np.frombuffer(value, dtype.dtype)
    plain: int | float | bool = number.item()
    return plain


def _latin1(text: str, encoding: str) -> bytes:
    return text.encode("latin1")  # how newer Pythons write bytes


def _empty(kind: Any, shape: Any, dtype: Any) -> np.ndarray:
    return np.ndarray((0,), np.uint8)  # to be filled by what follows


def _fill(array: np.ndarray, state: Any) -> None:
    _, shape, dtype, fortran, content = state
    if not isinstance(content, bytes) or prod(shape) * dtype.dtype.itemsize != len(content):
        raise Unreadable("an array is not of its stated size")
    array.__setstate__((1, shape, dtype.dtype, bool(fortran), content))  # type: ignore[arg-type]


def _from_buffer(buffer: bytes, dtype: DType, shape: tuple[int, ...], order: str) -> np.ndarray:
    array: np.ndarray = np.frombuffer(buffer, dtype.dtype).reshape(shape, order=order)  # type: ignore[call-overload]
    return array


def _uncalled(*_: Any) -> Any:
    raise Unreadable("it makes an array without content")


IN_CORE: Calls = {
    "multiarray._reconstruct": _empty,
    "multiarray.scalar": scalar,
    "numeric._frombuffer": _from_buffer,
}
ARRAY_CALLS: Calls = {
    "numpy.ndarray": _uncalled,
    "numpy.dtype": DType,
    "_codecs.encode": _latin1,
    **{f"numpy.{core}.{name}": call for core in ("core", "_core") for name, call in IN_CORE.items()},
}
ARRAY_STATES: States = {DType: DType.set_state, np.ndarray: _fill}
