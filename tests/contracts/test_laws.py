"""Every velocity law of the registry keeps what `VelocityLaw` promises."""

import pytest
import torch

from hgfctl.engine.flows.forces.harmonic import Harmonic
from hgfctl.engine.flows.forces.none import NoForce
from hgfctl.engine.flows.velocity_laws import VELOCITY_LAWS
from hgfctl.engine.flows.velocity_laws.law import VelocityLaw
from hgfctl.engine.provided import DATA_SCALE, DURATION, FORCE, ITEM_SHAPE
from hgfctl.engine.randomness import generator
from hgfctl.engine.statistics.two_sample import two_sample
from tests.contracts.items import noise

SHAPE, SD, T = (3,), 0.5, 1.0
every = pytest.mark.parametrize("name", VELOCITY_LAWS)


def law_of(name: str) -> VelocityLaw:
    """The law with its defaults, without a force."""
    law: VelocityLaw = VELOCITY_LAWS.build(name, {}, {DATA_SCALE: SD, ITEM_SHAPE: SHAPE, DURATION: T, FORCE: NoForce()})
    return law


@every
def test_velocities_have_the_shape_and_type_of_the_data(name: str) -> None:
    for dtype in (torch.float32, torch.float64):
        x0, z = SD * noise((10, *SHAPE), 1).to(dtype), noise((10, *SHAPE), 2).to(dtype)
        v0 = law_of(name)(x0, z)
        assert (v0.shape, v0.dtype) == (x0.shape, dtype)
        assert bool(v0.isfinite().all())


@every
def test_moments_are_those_of_a_monte_carlo_mean(name: str) -> None:
    """Within 6 standard errors."""
    law, count = law_of(name), 60_000
    x0, z = SD * noise((count, *SHAPE), 1), noise((count, *SHAPE), 2)
    v0, moments = law(x0, z), law.moments(SD)
    for products, exact in ((x0 * v0, moments.xv), (v0 * v0, moments.vv)):
        items = products.mean(1)
        assert abs(float(items.mean()) - exact) < 6 * float(items.std()) / count**0.5 + 1e-9


@every
def test_pairs_are_dealt_by_a_permutation_within_each_class(name: str) -> None:
    law, labels = law_of(name), torch.arange(40) % 3
    x0, z = SD * noise((40, *SHAPE), 1), noise((40, *SHAPE), 2)
    for of_items in (None, labels):
        dealt = law.paired(x0, z, of_items)
        order = [int((z == row).all(1).nonzero()) for row in dealt]
        assert sorted(order) == list(range(40))
    if not torch.equal(law.paired(x0, z, None), z):  # its classes keep their noise, each among themselves
        dealt = law.paired(x0, z, labels)
        for label in range(3):
            mine = {tuple(row.tolist()) for row in z[labels == label]}
            assert {tuple(row.tolist()) for row in dealt[labels == label]} == mine


@every
@pytest.mark.parametrize("force", [NoForce(), Harmonic(SHAPE)], ids=["none", "harmonic"])
def test_the_prior_that_a_law_knows_is_where_its_flights_end(name: str, force: NoForce | Harmonic) -> None:
    """A two-sample test at 1 in 1,000, seeds fixed."""
    time = torch.tensor(force.natural_duration, dtype=torch.float64)
    law: VelocityLaw = VELOCITY_LAWS.build(
        name, {}, {DATA_SCALE: SD, ITEM_SHAPE: SHAPE, DURATION: float(time), FORCE: force}
    )
    prior = law.end_prior(force, float(time), SHAPE, SD)
    x0, z = SD * noise((500, *SHAPE), 1), noise((500, *SHAPE), 2)
    motion, act = force.motion(time, SHAPE), force.algebra.act
    ends = act(motion.xx, x0) + act(motion.xv, law(x0, z))
    mine, u = law.motion(force, time, SHAPE), law.driven(x0, z)
    torch.testing.assert_close(act(mine.xx, x0) + act(mine.xv, u), ends, atol=1e-9, rtol=1e-9)
    if prior is not None:
        assert two_sample(ends, prior.sample((500, *SHAPE), generator("prior"))).p > 1e-3
