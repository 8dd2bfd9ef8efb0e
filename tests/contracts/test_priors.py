"""Every prior that a flow has, and every fit of the registry, keeps what `Prior` and `Fit` promise."""

import pytest
import torch

from hgfctl.engine.flows.priors import PRIORS
from hgfctl.engine.flows.priors.fit import Fit
from hgfctl.engine.flows.priors.mixture import MixturePrior
from hgfctl.engine.flows.priors.prior import Prior
from hgfctl.engine.randomness import generator
from hgfctl.engine.transport.interpolation import interpolated
from hgfctl.errors import RequestError
from tests.contracts.items import flows, noise, shape_of

ENDS = torch.cat([noise((300, 2), 1), 0.3 * noise((300, 2), 2) + 2])
FITS: dict[str, Fit] = {name: PRIORS.build(name, {}) for name in PRIORS}
KNOWN: dict[str, tuple[Prior, tuple[int, ...]]] = {
    **{name: (flow.prior, shape_of(name)) for name, flow in flows()},
    **{f"fit {name}": (fit(ENDS).prior, (2,)) for name, fit in FITS.items()},
}
every = pytest.mark.parametrize("name", KNOWN)


@every
def test_draws_have_their_shape_and_a_finite_density(name: str) -> None:
    prior, shape = KNOWN[name]
    x = prior.sample((50, *shape), generator("draws"))
    assert (tuple(x.shape), x.dtype) == ((50, *shape), torch.float64)
    density = prior.log_prob(x)
    assert density.shape == (50,)
    assert bool(density.isfinite().all())
    assert torch.equal(x, prior.sample((50, *shape), generator("draws")))


@every
def test_paths_begin_and_end_at_their_latents_and_stay_likely(name: str) -> None:
    prior, shape = KNOWN[name]
    start, end = (prior.sample((20, *shape), generator("ends", i)) for i in range(2))
    if isinstance(prior, MixturePrior) and prior.count > 1:
        for there in (prior.to_normal, prior.from_normal):
            with pytest.raises(RequestError, match="no path is known"):
                there(start.unsqueeze(0))
        return
    path = interpolated(prior, start, end, torch.tensor([0.0, 0.5, 1.0]))
    torch.testing.assert_close(path[0], start, atol=1e-6, rtol=1e-6)
    torch.testing.assert_close(path[2], end, atol=1e-6, rtol=1e-6)
    assert bool(prior.log_prob(path[1]).isfinite().all())


@pytest.mark.parametrize("name", FITS)
def test_a_fit_is_the_same_for_the_same_points(name: str) -> None:
    one, two = FITS[name](ENDS), FITS[name](ENDS.clone())
    assert one.name == two.name
    assert repr(one.prior) == repr(two.prior)


@pytest.mark.parametrize("name", FITS)
def test_a_fit_refuses_what_tells_it_nothing(name: str) -> None:
    with pytest.raises(ValueError, match="16 trajectories or more"):
        FITS[name](ENDS[:5])
    with pytest.raises(ValueError, match="not finite"):
        FITS[name](ENDS * torch.tensor([1.0, torch.nan]))
    with pytest.raises(ValueError, match="at the same point"):
        FITS[name](torch.ones(50, 2))
