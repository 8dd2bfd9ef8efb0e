"""Everything that is known about a score field on a data set: ESM where the score is known, HSD everywhere."""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from hgfctl.engine.data.dataset import DataSet
from hgfctl.engine.data.density import ExactDensity, known_density
from hgfctl.engine.metrics.hsd import Flights, hsd_by_critic, hsd_exact, liouville_hvp
from hgfctl.engine.metrics.score_error import score_error
from hgfctl.engine.metrics.stiffness import curvature
from hgfctl.engine.models.score import Field
from hgfctl.engine.randomness import generator, seeded

ITEMS = 20_000
"""Draws that ESM is averaged over."""
EXACT_ITEMS = 500
"""Flights that exact HSD is averaged over; each is a quadrature."""
STEP = 0.05
"""Longest leapfrog step of the flights that HSD is measured on."""
ANGLE = 0.5
"""Longest step in radians of the field's fastest oscillation, 1 / sqrt(its largest curvature)."""
EXACT_TIMES = (0.05, 0.1, 0.2, 0.5)
CRITIC_TIMES = (0.1,)
"""Each takes the training of a critic."""


@dataclass(frozen=True)
class Hsd:
    """HSD_t with its standard error, and how it was found: "exact" or "critic"."""

    t: float
    value: float
    error: float
    how: str


@dataclass(frozen=True)
class ScoreReport:
    """The errors of a score field.

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


def score_report(
    field: Field,
    data: DataSet,
    times: Sequence[float] | None,
    sd: float,
    critic: Callable[[], nn.Module],
    fits: int | None = None,
    seed: int = 0,
) -> ScoreReport:
    """Measures a field.

    Args:
        field: F(x, labels), on the device of the critics.
        data: what its score should be of.
        times: at which HSD is wanted; when left out EXACT_TIMES where a quadrature gives it, else CRITIC_TIMES.
        sd: root mean square of the data per coordinate.
        critic: makes a fresh critic network, for HSD where no quadrature is possible.
        fits: training steps of a critic; when left out 1,500 of 256 flights for vectors, 300 of 64 for images.
        seed: of draws and flights.
    """
    density = known_density(data)
    with seeded(seed, torch.device("cpu")):
        device = next(critic().parameters()).device
    esm = relative = error = None
    if density is not None:
        x = density.sample(ITEMS, generator(seed, "report", "esm")).float()
        found = score_error(lambda x, labels: field(x.to(device), labels).cpu(), density, x)
        esm, error, relative = found.esm.value, found.esm.error, found.relative
    step = _step(field, data, device, seed)
    in_plane = density is not None and density.dim == 2
    found_hsd = []
    for t in times or (EXACT_TIMES if in_plane else CRITIC_TIMES):
        steps = max(4, math.ceil(t / step - 1e-9))
        with seeded(seed, device):  # the critic's weights are drawn from torch's global generator
            exact = _exact(field, density, t, steps, device, seed) if density is not None and in_plane else None
            found_hsd.append(exact or _by_critic(field, data, t, steps, sd, critic(), fits, seed))
    return ScoreReport(esm, error, relative, tuple(found_hsd))


def _exact(field: Field, density: ExactDensity, t: float, steps: int, device: torch.device, seed: int) -> Hsd | None:
    """None where the quadrature is too coarse for the density: where a finer one says otherwise."""
    rng = generator(seed, "report", "hsd")
    x0 = density.sample(EXACT_ITEMS, rng)
    v0 = torch.randn(x0.shape, generator=rng, dtype=torch.float64)

    def force(x: Tensor, when: Tensor) -> Tensor:
        return field(x.float().to(device), None).to(x)

    some = slice(0, EXACT_ITEMS // 10)
    coarse, fine = (hsd_exact(force, density, x0[some], v0[some], t, steps, nodes).value for nodes in (28, 36))
    if abs(fine - coarse) > 0.01 * fine + 1e-5 * t**2:
        return None
    return Hsd(t, *hsd_exact(force, density, x0, v0, t, steps), "exact")


def score_hvp(field: Field, data: DataSet, t: float, sd: float, critic: nn.Module) -> Callable[[Tensor], Tensor]:
    """V(x, t) of a field in the plane as its own force: exactly where the density is known, else a trained critic's.

    Args:
        field: F(x, labels), on the device of the critic.
        data: what its score should be of.
        t: time of flight.
        sd: root mean square of the data per coordinate.
        critic: a fresh network.
    """
    density, device = known_density(data), next(critic.parameters()).device
    steps = max(4, math.ceil(t / _step(field, data, device, 0)))
    if density is not None:
        return lambda x: liouville_hvp(
            lambda y, _: field(y.float().to(device), None).to(y), density.log_prob, x, t, steps
        )
    flights = Flights(field, data, sd, t, steps)
    flights.train(critic)
    return torch.no_grad()(lambda x: flights.hvp(critic, x.float().to(device), None).cpu().double())


def _step(field: Field, data: DataSet, device: torch.device, seed: int) -> float:
    """The longest that leapfrog should take under this field."""
    some = data.batch(0, 256, seed)
    labels = None if some.labels is None else some.labels.to(device)
    size = curvature(field, some.x.to(device), labels).size
    step: float = ANGLE / max(size, 1e-9) ** 0.5
    return min(STEP, step)


def _by_critic(
    field: Field, data: DataSet, t: float, steps: int, sd: float, critic: nn.Module, fits: int | None, seed: int
) -> Hsd:
    images = len(data.shape) == 3
    fits = fits or (300 if images else 1500)
    found = hsd_by_critic(Flights(field, data, sd, t, steps, seed), critic, fits, 64 if images else 256)
    return Hsd(t, *found, "critic")
