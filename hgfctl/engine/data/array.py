"""NumPy arrays as data: the files that `hgfctl sample` writes, and those that users save themselves."""

import zipfile
import zlib
from pathlib import Path

import numpy as np
import torch

from hgfctl.engine.data.dataset import Items
from hgfctl.engine.data.files import Files, reads
from hgfctl.engine.data.locate import locate
from hgfctl.errors import RequestError


@reads(Files(endings=(".npz", ".npy")))
def array(path: str) -> Items:
    """Data set `array`: an .npz with `images` (N, H, W, C) or (N, H, W) uint8, or `samples` (N, d) float; `labels` (N,)
    where there are classes. An .npy holds the images or samples alone.

    Args:
        path: the file; see `locate`.

    Raises:
        RequestError: no such file, damaged, or not of this form.
    """
    file = locate(path)
    arrays = _read(file)
    name = next((name for name in ("images", "samples") if name in arrays), None)
    if name is None:
        found = ", ".join(arrays) or "nothing"
        raise RequestError(f"{file}: needs an array 'images' (uint8) or 'samples' (float), and holds {found}")
    values, labels = arrays[name], arrays.get("labels")
    if len(values) == 0:
        raise RequestError(f"{file}: `{name}` is empty")
    x = _images(values, file) if name == "images" else _samples(values, file)
    return Items(x, None if labels is None else _labels(labels, len(values), file))


def _read(file: Path) -> dict[str, np.ndarray]:
    try:
        content = np.load(file, allow_pickle=False)
        if isinstance(content, np.ndarray):
            return {"images" if content.dtype == np.uint8 else "samples": content}
        with content:
            return {name: content[name] for name in content.files if name in ("images", "samples", "labels")}
    except (OSError, ValueError, EOFError, KeyError, zipfile.BadZipFile, zlib.error) as error:
        reason = "it holds Python objects, which are never loaded" if "allow_pickle" in str(error) else error
        raise RequestError(f"cannot read {file} as a NumPy file: {reason}") from None


def _images(values: np.ndarray, file: Path) -> torch.Tensor:
    if values.ndim == 3:
        values = values[..., None]
    if values.dtype != np.uint8 or values.ndim != 4 or values.shape[-1] not in (1, 3):
        raise RequestError(
            f"{file}: images must be uint8 of shape (N, H, W), (N, H, W, 1) or (N, H, W, 3), "
            f"not {values.dtype} of shape {values.shape}"
        )
    return torch.from_numpy(np.ascontiguousarray(values.transpose(0, 3, 1, 2)))


def _samples(values: np.ndarray, file: Path) -> torch.Tensor:
    if values.ndim != 2 or not np.issubdtype(values.dtype, np.floating):
        raise RequestError(
            f"{file}: samples must be floats of shape (N, d), not {values.dtype} of shape {values.shape}"
        )
    bad = np.flatnonzero(~np.isfinite(values).all(1))
    if len(bad):
        raise RequestError(f"{file}: {len(bad)} samples hold NaN or infinity, the first of them at row {bad[0]}")
    return torch.from_numpy(values.astype(np.float32))


def _labels(labels: np.ndarray, count: int, file: Path) -> torch.Tensor:
    if labels.shape != (count,) or not np.issubdtype(labels.dtype, np.integer) or labels.min() < 0:
        raise RequestError(
            f"{file}: labels must be {count} whole numbers from 0, not {labels.dtype} of shape {labels.shape}"
        )
    return torch.from_numpy(labels.astype(np.int64))
