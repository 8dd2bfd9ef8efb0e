"""Sets of points that are no images: compared where they lie, without features."""

from collections.abc import Iterator
from dataclasses import dataclass
from statistics import fmean, stdev
from typing import Any

import torch
from torch import Tensor

from hgfctl.engine.checkpoint import Checkpoint
from hgfctl.engine.data.dataset import DataSet, Finite
from hgfctl.engine.evaluation.evaluate import Making, sampler_for
from hgfctl.engine.evaluation.feature_set import FeatureSet
from hgfctl.engine.evaluation.sources import Source
from hgfctl.engine.flows import flow_name
from hgfctl.engine.models.guided import as_json
from hgfctl.engine.randomness import generator
from hgfctl.engine.sampling.sampler import Sampler
from hgfctl.engine.statistics.kernel import Discrepancy, gaussian_mmd2, mean_discrepancy
from hgfctl.engine.statistics.sliced import sliced_wasserstein
from hgfctl.errors import HgfctlError, RequestError

DRAWN = 10_000
"""Points of a law, or of a model, that are compared when the user does not say."""
FEWEST = 3
"""Points that a distance and its error need on either side."""
SEEDS = (1_000_003, 2_000_003)
"""Of the draws of a law: to compare with, and what another draw of the same law gives. Not those of trainings."""


@dataclass(frozen=True)
class Distance:
    """How far points are from a reference.

    Args:
        sliced_wasserstein: in units of the data.
        mmd: squared, unbiased; Gaussian kernel of the reference's median distance.
        floor: the sliced Wasserstein distance that as many points of the reference's own law have; None where that law
            is known by its items only.
    """

    sliced_wasserstein: float
    mmd: Discrepancy
    floor: float | None


def compare_points(points: Tensor, reference: DataSet, count: int) -> Distance:
    """Points (N, d) against `count` of a data set, or all where it has fewer."""
    x = points.flatten(1).double()
    y = draw(reference, count, SEEDS[0])
    again = None if isinstance(reference, Finite) else draw(reference, len(x), SEEDS[1])
    return Distance(
        sliced_wasserstein=sliced_wasserstein(x, y),
        mmd=gaussian_mmd2(x, y),
        floor=None if again is None else sliced_wasserstein(again, y),
    )


def measured_points(
    source: Source, name: str, making: Making, reference: Source, reference_name: str, batch: int
) -> Iterator[dict[str, Any]]:
    """Plain values, a budget at a time.

    Raises:
        RequestError: not both are vectors of one dimension.
        HgfctlError: points that are not finite.
    """
    for one, called in ((source, name), (reference, reference_name)):
        if isinstance(one, FeatureSet) or len(one.shape) != 1:
            raise RequestError(f"{called} holds no vectors, which features none is for; images have pixels and random")
    assert not isinstance(source, FeatureSet)
    if isinstance(reference, FeatureSet | Checkpoint):
        raise RequestError(f"{reference_name}: vectors are compared with data, or with an .npz of samples")
    if source.shape != reference.shape:
        raise RequestError(
            f"{name} has vectors of dimension {source.shape[0]}, {reference_name} of dimension {reference.shape[0]}"
        )
    count = making.num or DRAWN
    for one, called in ((source, name), (reference, reference_name)):
        if min(count, one.count if isinstance(one, DataSet) else count) < FEWEST:
            raise RequestError(f"fewer than {FEWEST} points of {called}: nothing can be said of them")
    for budget in making.budgets:
        sampler = sampler_for(source, making, budget) if isinstance(source, Checkpoint) else None
        found = []
        for seed in making.first_seeds(DRAWN):
            points = made(sampler, count, seed, batch) if sampler else draw(source, count, seed)  # type: ignore[arg-type]
            if not points.isfinite().all():
                raise HgfctlError(f"{name}: its points hold NaN or infinity")
            found.append(compare_points(points, reference, count))
        distances = [one.sliced_wasserstein for one in found]
        mmd = mean_discrepancy([one.mmd for one in found])
        yield {
            "sliced_wasserstein": fmean(distances),
            "sliced_wasserstein_std": stdev(distances) if len(distances) > 1 else None,
            "floor": found[0].floor,
            "mmd": mmd.value,
            "mmd_error": mmd.error,
            "features": "none",
            "num": len(points),
            "nfe": sampler.nfe if sampler else None,
            "sampler": sampler.method if sampler else None,
            "grid": sampler.grid if sampler else None,
            "flow": flow_name(sampler.flow) if sampler else None,
            **as_json(sampler.guidance if sampler else None),
            "seeds": making.first_seeds(DRAWN) if sampler else [],
        }


def draw(data: DataSet, count: int, seed: int) -> Tensor:
    """`count` items of a law, or so many of a finite set, chosen at random and all where it has no more: (N, d),
    float64.
    """
    if isinstance(data, Finite):
        chosen = torch.randperm(len(data), generator=generator(seed, "points"))[:count].sort().values
        return data.at(chosen).x.flatten(1).double()
    return data.batch(0, count, seed).x.flatten(1).double()


def made(sampler: Sampler, count: int, seed: int, batch: int) -> Tensor:
    """`count` points of a model, from `seed` on: (N, d)."""
    return torch.cat([part.x for part in sampler.batches(torch.arange(seed, seed + count), batch)])
