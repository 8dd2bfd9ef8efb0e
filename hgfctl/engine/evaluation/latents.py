"""Items as what the flow makes of them at T, and back; and the files that hold them."""

import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor

from hgfctl.engine.checkpoint import Checkpoint
from hgfctl.engine.data.dataset import Batch, DataSet, Finite
from hgfctl.engine.data.locate import locate
from hgfctl.engine.sampling.plan import plan
from hgfctl.engine.sampling.sampler import FlowSampler
from hgfctl.engine.transport.inpainting import inpainted
from hgfctl.engine.transport.interpolation import interpolated
from hgfctl.engine.transport.transport import Method, transported, velocity_of
from hgfctl.errors import RequestError
from hgfctl.storage.atomic import replacing


class Latents(NamedTuple):
    """x_T of items (N, *shape), float64 on the CPU, and their classes (N,), or None."""

    x: Tensor
    labels: Tensor | None


class Encoded(NamedTuple):
    """A batch in latents.

    Attributes:
        latents: see `Latents`.
        evaluations: evaluations of V that each took, (B,).
        error: root mean square over coordinates of decode(encode(x)) - x, (B,); None where it was not asked for.
    """

    latents: Latents
    evaluations: Tensor
    error: Tensor | None


def encoded(model: Checkpoint, batch: Batch, method: Method, check: bool = True) -> Encoded:
    """Data to latents; with `check` also back again, to see how far off that is."""
    labels = batch.labels if model.classes else None
    latents, evaluations = _transported(model, batch.x.double(), labels, method, forwards=True)
    error = None
    if check:
        again, _ = _transported(model, latents, labels, method, forwards=False)
        error = (again - batch.x.double()).square().flatten(1).mean(1).sqrt()
    return Encoded(Latents(latents, labels), evaluations, error)


def decoded(model: Checkpoint, latents: Latents, method: Method, size: int = 256) -> Iterator[Batch]:
    """Latents to items, float32, `size` at a time."""
    for first in range(0, len(latents.x), size):
        part = slice(first, first + size)
        labels = None if latents.labels is None else latents.labels[part]
        yield Batch(_transported(model, latents.x[part], labels, method, forwards=False)[0].float(), labels)


def _transported(
    model: Checkpoint, x: Tensor, labels: Tensor | None, method: Method, forwards: bool
) -> tuple[Tensor, Tensor]:
    hvp = model.hvp
    device = next(hvp.parameters()).device
    place = x.float().to(device) if device.type == "mps" else x.to(device)
    span = (0.0, hvp.flow.T) if forwards else (hvp.flow.T, 0.0)
    moved, evaluations = transported(velocity_of(hvp, labels), hvp.flow, place, method, span)
    return moved.cpu().double(), evaluations


def filled(model: Checkpoint, batch: Batch, hidden: Tensor, seeds: Tensor, steps: int, repeats: int) -> Tensor:
    """Items with their hidden part made anew, float32: see `inpainting.inpainted`; item i by seeds[i] alone."""
    hvp = model.hvp
    device = next(hvp.parameters()).device
    sampler = FlowSampler(model.shape, model.classes, hvp, plan(hvp.flow, steps, "euler", hvp.flow.natural_grid))
    labels = batch.labels.to(device) if model.classes and batch.labels is not None else None
    start = sampler.start(seeds)
    dtype = torch.float32 if device.type == "mps" else torch.float64
    with torch.no_grad():
        made = inpainted(
            lambda x, t: sampler.velocity(x, t, labels),
            hvp.flow,
            batch.x.to(device, dtype),
            hidden.to(device),
            start.to(device, dtype),
            sampler.plan.times,
            sampler.noise(seeds, "inpainting", device),
            repeats,
        )
    return made.float().cpu()


def interpolated_items(
    model: Checkpoint,
    data: DataSet | None,
    pairs: list[tuple[int, int]],
    count: int,
    method: Method,
    wanted: int | None = None,
) -> Tensor:
    """The ways between pairs of seeds, or of data: (count, pairs, *shape), float32.

    Args:
        model: an HVP.
        data: the set whose items are encoded; None for latents by seeds.
        pairs: numbers of items, or seeds.
        count: points on each way, both ends included.
        method: the solver that encodes and decodes.
        wanted: class of all; that of the first of a pair when None.

    Raises:
        RequestError: no such item.
    """
    hvp = model.hvp
    numbers = torch.tensor(pairs).flatten()
    sampler = FlowSampler(model.shape, model.classes, hvp, plan(hvp.flow, 1, "euler", "uniform"))
    if data is None:
        ends = Latents(sampler.start(numbers), sampler.labels(numbers))
    else:
        ends = encoded(model, numbered(data, numbers), method, check=False).latents
    fractions = torch.linspace(0, 1, count, dtype=torch.float64)
    between = interpolated(hvp.flow.prior, ends.x[0::2], ends.x[1::2], fractions)
    labels = None
    if ends.labels is not None:
        labels = ends.labels[0::2] if wanted is None else torch.full_like(ends.labels[0::2], wanted)
        labels = labels.repeat(count)
    x = torch.cat([part.x for part in decoded(model, Latents(between.flatten(0, 1), labels), method)])
    return x.reshape(between.shape)


def numbered(data: DataSet, numbers: Tensor) -> Batch:
    """Items by their numbers; of a law, of its draws with seed 0.

    Raises:
        RequestError: a finite set has not so many.
    """
    most = int(numbers.max())
    if isinstance(data, Finite):
        if most >= len(data):
            raise RequestError(f"item {most}: the data have {len(data)}, from 0 on")
        return data.at(numbers)
    drawn = data.batch(0, most + 1, 0)
    return Batch(drawn.x[numbers], None if drawn.labels is None else drawn.labels[numbers])


def joined(parts: list[Latents]) -> Latents:
    """One after the other."""
    known = [part.labels for part in parts if part.labels is not None]
    return Latents(torch.cat([part.x for part in parts]), torch.cat(known) if known else None)


def write_latents(latents: Latents, path: Path) -> None:
    """An .npz: `latents` (N, *shape) float64, `labels` (N,) where there are classes."""
    arrays: dict[str, Any] = {"latents": latents.x.numpy()}
    if latents.labels is not None:
        arrays["labels"] = latents.labels.numpy()
    with replacing(path) as partial, partial.open("wb") as file:
        np.savez(file, **arrays)


def read_latents(path: str, model: Checkpoint) -> Latents:
    """Reads a file that `write_latents` wrote, or one like it.

    Raises:
        RequestError: no such file, or not latents that the model can decode.
    """
    file = locate(path)
    try:
        with np.load(file, allow_pickle=False) as content:
            arrays = {name: content[name] for name in ("latents", "labels") if name in content.files}
    except (OSError, ValueError, EOFError, TypeError, AttributeError, zipfile.BadZipFile) as error:
        raise RequestError(f"cannot read {file} as an .npz of latents: {error}") from None
    x, labels = arrays.get("latents"), arrays.get("labels")
    if x is None or not np.issubdtype(x.dtype, np.floating) or len(x) == 0 or x.shape[1:] != model.shape:
        found = "none" if x is None else f"{x.dtype} of shape {x.shape}"
        raise RequestError(f"{file}: needs 'latents', floats of shape (N, {str(model.shape)[1:]}, and holds {found}")
    if not np.isfinite(x).all():
        raise RequestError(f"{file}: its latents hold NaN or infinity")
    if not model.classes:
        return Latents(torch.from_numpy(x.astype(np.float64)), None)
    if labels is None or labels.shape != (len(x),) or not np.issubdtype(labels.dtype, np.integer):
        raise RequestError(f"{file}: the model wants classes, and 'labels' are not {len(x)} whole numbers")
    if labels.min() < 0 or labels.max() >= model.classes:
        raise RequestError(f"{file}: 'labels' must be classes 0 to {model.classes - 1}")
    return Latents(torch.from_numpy(x.astype(np.float64)), torch.from_numpy(labels.astype(np.int64)))
