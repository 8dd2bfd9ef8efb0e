"""Every grid of the registry falls from T to 0 on every flow, and so does every flow's natural one."""

import pytest
import torch

from hgfctl.engine.solvers import GRIDS
from hgfctl.engine.solvers.grids import named
from tests.contracts.items import flows

FLOWS = dict(flows())


@pytest.mark.parametrize("name", GRIDS)
@pytest.mark.parametrize("flow", FLOWS)
def test_times_fall_from_T_to_0(name: str, flow: str) -> None:
    for steps in (1, 2, 3, 10, 64):
        times = named(name)(FLOWS[flow], steps)
        assert (len(times), times.dtype) == (steps + 1, torch.float64)
        assert (float(times[0]), float(times[-1])) == (FLOWS[flow].T, 0.0)
        assert bool((times.diff() < 0).all())


@pytest.mark.parametrize("flow", FLOWS)
def test_a_flows_natural_grid_is_registered(flow: str) -> None:
    assert FLOWS[flow].natural_grid in GRIDS
