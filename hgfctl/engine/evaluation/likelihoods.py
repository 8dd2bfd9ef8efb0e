"""How likely a model finds data, item by item: nats of vectors, bits a dimension of images."""

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal, NamedTuple, get_args, get_type_hints

import torch
from torch import Tensor

from hgfctl.engine.checkpoint import Checkpoint
from hgfctl.engine.data import DATA
from hgfctl.engine.data.dataset import Batch, DataSet, Finite
from hgfctl.engine.data.density import known_law
from hgfctl.engine.evaluation.dequantisation import Dequantisation, dequantised
from hgfctl.engine.evaluation.sources import data_behind, opened
from hgfctl.engine.models.hvp import HVP
from hgfctl.engine.randomness import generator
from hgfctl.engine.statistics.estimate import Estimate, mean
from hgfctl.engine.transport.divergence import ExactTrace, Hutchinson, Trace, rademacher
from hgfctl.engine.transport.likelihood import log_likelihood
from hgfctl.engine.transport.transport import Method, chosen, velocity_of
from hgfctl.errors import HgfctlError, RequestError

DRAWN = 1_000
"""Items of a law that are taken when the user does not say."""
EXACT_UP_TO = 64
"""Dimensions of vectors in which trace "auto" is exact; networks for images are too dear."""


@dataclass(frozen=True)
class Request:
    """A measurement: by which trace, at which cost, to which tolerance.

    Args:
        trace: exact, hutchinson, or auto: exact for vectors of up to EXACT_UP_TO dimensions.
        probes: probes of Hutchinson's estimate for each item.
        nfe: budget of passes through the network an item, each vector-Jacobian product being one; None: adaptive.
        sampler, grid: names of the budgeted solver and its grid.
        rtol, atol: tolerances of the adaptive one.
        law: law of dequantisation.
        seed: item i draws its probes and its dequantisation from seed + i.
    """

    trace: Literal["auto", "exact", "hutchinson"] = "auto"
    probes: int = 4
    nfe: int | None = None
    sampler: str = "auto"
    grid: str = "auto"
    rtol: float = 1e-5
    atol: float = 1e-5
    law: Dequantisation = "uniform"
    seed: int = 0

    def exact(self, shape: tuple[int, ...]) -> bool:
        """True where the trace is exact, for items of this shape."""
        low = len(shape) == 1 and shape[0] <= EXACT_UP_TO
        return self.trace == "exact" or (self.trace == "auto" and low)

    def passes(self, shape: tuple[int, ...]) -> int:
        """Passes through the network, forwards and backwards, that V with its divergence takes."""
        return 1 + (math.prod(shape) if self.exact(shape) else self.probes)

    def method(self, hvp: HVP, shape: tuple[int, ...]) -> Method:
        """The solver.

        Raises:
            RequestError: it is unknown, or the budget is below one step.
        """
        passes = self.passes(shape)
        evaluations = None if self.nfe is None else self.nfe // passes
        try:
            return chosen(hvp.flow, evaluations, self.sampler, self.grid, self.rtol, self.atol)
        except RequestError as error:
            raise RequestError(f"`nfe={self.nfe}` ({passes} passes an evaluation): {error}") from None


class Likelihoods(NamedTuple):
    """Figures of items, (B,) each; float64 on the CPU.

    Attributes:
        log_likelihood: in nats: the density at the item, or at its dequantised image.
        standard_error: that of the estimate over Hutchinson's probes; 0 if exact, NaN of a single probe.
        bits_per_dim: a bound from above on -log2 P(image) / d; None for vectors.
        truth: the exact log-density of the data's own law, where it is known.
        evaluations: of V with its divergence, int64.
    """

    log_likelihood: Tensor
    standard_error: Tensor
    bits_per_dim: Tensor | None
    truth: Tensor | None
    evaluations: Tensor


def joined(parts: list[Likelihoods]) -> Likelihoods:
    """One after the other."""
    columns = zip(*parts, strict=True)
    return Likelihoods(*(None if column[0] is None else torch.cat(column) for column in columns))  # type: ignore[arg-type]


def named_data(model: Checkpoint, data: str | None, split: str | None, device: torch.device) -> tuple[DataSet, str]:
    """The data that a user names, and what to call them; the model's own held-out data when None, if they have a split
    of that kind, else what it was trained on.

    Raises:
        RequestError: there are none, or the model cannot judge them.
    """
    if data is not None:
        named = opened(data, device, "none", split)
        if not isinstance(named, DataSet):
            raise RequestError(f"{data} is no data set; images, an .npz or .npy, a data set's or a preset's name are")
        _check_fit(model, named, data)
        return named, data
    own = model.config.data.name
    if split is None and DATA.has_option(own, "split"):
        known = get_args(get_type_hints(DATA[own])["split"])
        split = next((held_out for held_out in ("held-out", "test") if held_out in known), None)
    found = data_behind(model, split)
    return found, f"{own}, " + (split or ("its training data" if isinstance(found, Finite) else "fresh draws"))


def items(data: DataSet, num: int | None, seed: int) -> Batch:
    """The items to be measured: all of a finite set or `num` of a random order, else `num` draws."""
    if not isinstance(data, Finite):
        return data.batch(0, num or DRAWN, seed)
    chosen = torch.randperm(len(data), generator=generator("chosen"))[: num or len(data)]
    return data.at(chosen.sort().values)


def _check_fit(model: Checkpoint, data: DataSet, name: str) -> None:
    """Raises RequestError where the model cannot judge these data."""
    if data.shape != model.shape:
        raise RequestError(f"{name} has items of shape {data.shape}, and the model's are {model.shape}")
    if model.classes and not data.classes:
        raise RequestError(f"{name} has no classes, and the model wants to be told them")
    if data.classes > model.classes > 0:
        raise RequestError(f"{name} has {data.classes} classes, and the model was trained with {model.classes}")


def likelihoods(model: Checkpoint, data: DataSet, batch: Batch, request: Request, first: int = 0) -> Likelihoods:
    """The likelihoods of one batch.

    Args:
        model: an HVP.
        data: the set that the items are from; it says whether they are quantised, and what their law is.
        batch: the items.
        request: the measurement.
        first: number of the first item.

    Raises:
        HgfctlError: a likelihood that is not finite.
    """
    hvp, dim = model.hvp, math.prod(model.shape)
    seeds = request.seed + torch.arange(first, first + len(batch.x))
    quantised = None
    x, start = batch.x.double(), 0.0
    if data.levels is not None and len(data.shape) == 3:
        quantised = dequantised(batch.x, data.levels, seeds, request.law, hvp.flow)
        x, start = quantised.x, quantised.time
    device = next(hvp.parameters()).device
    trace: Trace = ExactTrace(dim)
    if not request.exact(model.shape):
        trace = Hutchinson(rademacher(seeds, request.probes, model.shape).to(device))
    place = x.float().to(device) if device.type == "mps" else x.to(device)
    found = log_likelihood(
        velocity_of(hvp, batch.labels if model.classes else None),
        hvp.flow,
        place,
        trace,
        request.method(hvp, model.shape),
        start,
    )
    if not found.value.isfinite().all():
        raise HgfctlError(
            f"item {first + int((~found.value.isfinite()).nonzero()[0])} has a log-likelihood of "
            f"{float(found.value[~found.value.isfinite()][0])}; is it in the model's domain?"
        )
    density = known_law(data)
    return Likelihoods(
        log_likelihood=found.value,
        standard_error=found.error,
        bits_per_dim=None if quantised is None else -(found.value + quantised.gain) / (dim * math.log(2)),
        truth=None if density is None else density.log_prob(x),
        evaluations=found.evaluations,
    )


def batches(batch: Batch, size: int) -> Iterator[tuple[int, Batch]]:
    """Parts of a batch, with the number of their first item."""
    for first in range(0, len(batch.x), size):
        part = slice(first, first + size)
        yield first, Batch(batch.x[part], None if batch.labels is None else batch.labels[part])


def summary(found: Likelihoods) -> tuple[Estimate, Estimate | None]:
    """Mean and standard error over the items: of the nats, and of the bits a dimension."""
    bits = found.bits_per_dim
    return mean(found.log_likelihood), None if bits is None else mean(bits)
