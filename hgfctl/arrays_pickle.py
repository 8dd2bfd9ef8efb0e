"""Pickles of NumPy arrays, read without running anything: whatever else a file names is refused."""

import io
import pickle
from typing import Any

import numpy as np

from hgfctl.errors import RequestError


def load_arrays(content: bytes, where: str) -> Any:
    """Nested dictionaries, lists, numbers, text and arrays from a pickle.

    Args:
        content: of the file.
        where: how messages call it.

    Raises:
        RequestError: damaged, or it names something that is not an array.
    """
    try:
        return _ArraysOnly(io.BytesIO(content), encoding="bytes").load()
    except Exception as error:  # a damaged pickle fails in every way there is; none of it has run
        reason = (str(error).splitlines() or [type(error).__name__])[0]
        raise RequestError(f"cannot read {where} as arrays: {reason}") from None


class _ArraysOnly(pickle.Unpickler):
    def find_class(self, module: str, name: str) -> Any:
        numpy_core = module.replace("numpy._core", "numpy.core")
        if (module, name) == ("numpy", "ndarray"):
            return np.ndarray
        if (module, name) == ("numpy", "dtype"):
            return np.dtype
        if (module, name) == ("_codecs", "encode"):  # how newer Pythons write bytes
            return _latin1
        if (numpy_core, name) == ("numpy.core.multiarray", "_reconstruct"):
            return _empty
        if (numpy_core, name) == ("numpy.core.multiarray", "scalar"):
            return _scalar
        if (numpy_core, name) == ("numpy.core.numeric", "_frombuffer"):
            return _from_buffer
        raise pickle.UnpicklingError(f"it names {module}.{name}, which is not loaded")


def _latin1(text: str, encoding: str) -> bytes:
    return text.encode("latin1")


def _empty(kind: type, shape: tuple[int, ...], dtype: bytes) -> np.ndarray:
    return np.ndarray((0,), np.uint8)  # to be filled by what follows


def _scalar(dtype: np.dtype, value: bytes) -> Any:
    return np.frombuffer(value, dtype)[0]


def _from_buffer(buffer: bytes, dtype: np.dtype, shape: tuple[int, ...], order: str) -> np.ndarray:
    return np.frombuffer(buffer, dtype).reshape(shape, order=order)  # type: ignore[call-overload]
