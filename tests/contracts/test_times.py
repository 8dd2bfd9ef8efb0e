"""Every law of times: in (0, T], stratified, the same for the same generator, on every flow's own clock."""

import pytest
import torch

from hgfctl.engine.flows.diffusion import Diffusion
from hgfctl.engine.flows.flow import Flow
from hgfctl.engine.flows.oscillation import Oscillation
from hgfctl.engine.losses import TIMES
from hgfctl.engine.randomness import generator

FLOWS = [Oscillation(sd=0.5), Diffusion(sd=0.5)]


@pytest.mark.parametrize("flow", FLOWS, ids=lambda flow: type(flow).__name__)
@pytest.mark.parametrize("name", TIMES)
@pytest.mark.parametrize("count", [1, 64])
def test_times_lie_on_the_flows_clock(name: str, flow: Flow, count: int) -> None:
    law = TIMES.build(name, {})
    t = law(count, flow, generator("times", 0))
    assert t.shape == (count,)
    assert t.dtype == torch.float64
    assert t.device.type == "cpu"
    assert bool(((t > 0) & (t <= flow.T)).all())
    assert torch.equal(t, law(count, flow, generator("times", 0)))
    assert not torch.equal(t, law(count, flow, generator("times", 1)))


@pytest.mark.parametrize("name", TIMES)
def test_times_are_stratified(name: str) -> None:
    """The empirical law of B stratified times is within 1/B of any other batch's, where B free ones miss by 1/sqrt(B).

    Of sorted times the i-th lies in one and the same 1/B-quantile in every batch, so the i-th of one batch is at most
    the (i + 1)-th of another.
    """
    flow, law = Oscillation(sd=0.5), TIMES.build(name, {})
    one, other = (law(256, flow, generator("strata", seed)).sort().values for seed in (0, 1))
    assert bool((one[:-1] <= other[1:]).all())
    assert bool((other[:-1] <= one[1:]).all())
