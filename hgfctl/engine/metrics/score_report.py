"""Everything that is known about a score field on a data set: ESM where the score is known, HSD everywhere."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import nn

from hgfctl.engine.data.dataset import DataSet
from hgfctl.engine.data.density import DensityData, ExactDensity
from hgfctl.engine.losses.score_loss import Field
from hgfctl.engine.metrics.hsd import hsd_by_critic, hsd_exact
from hgfctl.engine.metrics.score_error import score_error
from hgfctl.engine.randomness import generator

ITEMS = 20_000
"""Draws that ESM is averaged over."""
EXACT_ITEMS = 500
"""Flights that exact HSD is averaged over; each is a quadrature."""
STEP = 0.05
"""Longest leapfrog step of the flights that HSD is measured on."""


@dataclass(frozen=True)
class Hsd:
    """HSD_t with its standard error, and how it was found: "exact" or "critic"."""

    t: float
    value: float
    error: float
    how: str


@dataclass(frozen=True)
class ScoreReport:
    """What was found.

    Args:
        esm: E |F - s|^2, and its standard error `esm_error`; None where the score s is not known.
        relative: the same over E |s|^2.
        hsd: at each time that was asked for.
    """

    esm: float | None
    esm_error: float | None
    relative: float | None
    hsd: tuple[Hsd, ...]

    def as_json(self) -> dict[str, Any]:
        """Plain values."""
        return {
            "esm": self.esm,
            "esm_standard_error": self.esm_error,
            "esm_relative_error": self.relative,
            "hsd": [{"t": h.t, "hsd": h.value, "standard_error": h.error, "how": h.how} for h in self.hsd],
        }


def known_score(data: DataSet) -> ExactDensity | None:
    """The law of the data, where its score is known."""
    density = data.density if isinstance(data, DensityData) else None
    return density if isinstance(density, ExactDensity) else None


def score_report(
    field: Field, data: DataSet, times: Sequence[float], sd: float, critic: Callable[[], nn.Module], seed: int = 0
) -> ScoreReport:
    """Measures a field.

    Args:
        field: F(x, labels), on the device of the critics.
        data: what its score should be of.
        times: at which HSD is wanted.
        sd: root mean square of the data per coordinate.
        critic: makes a fresh critic network, for HSD where no quadrature is possible.
        seed: of draws and flights.
    """
    density = known_score(data)
    device = next(critic().parameters()).device
    esm = relative = error = None
    if density is not None:
        x = density.sample(ITEMS, generator(seed, "report", "esm")).float()
        found = score_error(lambda x, labels: field(x.to(device), labels).cpu(), density, x)
        esm, error, relative = found.esm.value, found.esm.error, found.relative
    hsd = [_hsd(field, data, density, t, sd, critic, device, seed) for t in times]
    return ScoreReport(esm, error, relative, tuple(hsd))


def _hsd(
    field: Field,
    data: DataSet,
    density: ExactDensity | None,
    t: float,
    sd: float,
    critic: Callable[[], nn.Module],
    device: torch.device,
    seed: int,
) -> Hsd:
    steps = max(4, round(t / STEP))
    if density is not None and density.dim == 2:
        rng = generator(seed, "report", "hsd")
        x0 = density.sample(EXACT_ITEMS, rng)
        v0 = torch.randn(x0.shape, generator=rng, dtype=torch.float64)
        found = hsd_exact(lambda x, _: _anywhere(field, x, device), density, x0, v0, t, steps)
        return Hsd(t, *found, "exact")
    torch.manual_seed(seed)
    return Hsd(t, *hsd_by_critic(field, data, critic(), sd, t, steps, seed=seed), "critic")


def _anywhere(field: Field, x: torch.Tensor, device: torch.device) -> torch.Tensor:
    return field(x.float().to(device), None).to(x)
