"""Every force of the registry keeps what `Force` promises."""

from typing import Any

import pytest
import torch
from torch import Tensor

from hgfctl.engine.flows.forces import FORCES
from hgfctl.engine.flows.forces.choose import ForceContext, chosen
from hgfctl.engine.flows.forces.conservative import ConservativeForce
from hgfctl.engine.flows.forces.force import Force
from hgfctl.engine.flows.forces.linear_force import LinearForce
from hgfctl.engine.phase_space import State
from tests.contracts.items import noise

SHAPE = (4,)
OPTIONS: dict[str, dict[str, Any]] = {
    "expression": {"text": "-sin(x) - 0.3*v"},
    "linear": {"position": (-torch.eye(4)).tolist(), "velocity": (-0.5 * torch.eye(4)).tolist()},
    "learned": {"checkpoint": "a score"},
}
"""What a force cannot do without."""


def force_of(name: str) -> Force:
    """The force with its defaults, for items of `SHAPE`; a learned one goes by the score -x."""
    supplied = ForceContext(SHAPE, load_score=lambda path: lambda x, t: -x)
    return chosen({"name": name, **OPTIONS.get(name, {})}, supplied)


every = pytest.mark.parametrize("name", FORCES)
X, V = noise((20, *SHAPE), 1), noise((20, *SHAPE), 2)
TIMES = (torch.tensor(0.0).double(), torch.tensor(0.6).double(), torch.linspace(0, 1, 20).double())


@every
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_shape_and_type_of_positions_are_kept_and_values_finite(name: str, dtype: torch.dtype) -> None:
    force = force_of(name)
    for t in TIMES:
        value = force(X.to(dtype), V.to(dtype), t)
        assert (value.shape, value.dtype) == (X.shape, dtype)
        assert bool(value.isfinite().all())


@every
def test_times_of_items_are_taken_one_by_one(name: str) -> None:
    force, t = force_of(name), TIMES[2]
    alone = torch.cat([force(X[i : i + 1], V[i : i + 1], t[i]) for i in range(len(X))])
    torch.testing.assert_close(force(X, V, t), alone, atol=1e-12, rtol=1e-12)


@every
def test_a_force_depends_on_the_velocity_where_it_says_so(name: str) -> None:
    force = force_of(name)
    changed = any(not torch.equal(force(X, V, t), force(X, V + 1.5, t)) for t in TIMES[:2])
    assert changed == force.depends_on_velocity


@pytest.mark.parametrize("name", [name for name in FORCES if isinstance(force_of(name), ConservativeForce)])
def test_a_conservative_force_is_minus_the_gradient_of_its_potential(name: str) -> None:
    force = force_of(name)
    assert isinstance(force, ConservativeForce)
    x = X.clone().requires_grad_()
    (slope,) = torch.autograd.grad(force.potential(x).sum() + 0 * x.sum(), x)
    torch.testing.assert_close(force(X, V, TIMES[0]), -slope, atol=1e-10, rtol=1e-10)


@pytest.mark.parametrize("name", [name for name in FORCES if isinstance(force_of(name), LinearForce)])
def test_the_motion_of_a_linear_force_obeys_the_force(name: str) -> None:
    """x' = v and v' = F by central differences; it begins with the identity."""
    force, h, t = force_of(name), 1e-5, torch.tensor(0.4).double()
    assert isinstance(force, LinearForce)

    def at(t: Tensor) -> State:
        motion, act = force.motion(t, SHAPE), force.algebra.act
        return State(act(motion.xx, X) + act(motion.xv, V), act(motion.vx, X) + act(motion.vv, V))

    start, before, here, after = at(torch.tensor(0.0).double()), at(t - h), at(t), at(t + h)
    torch.testing.assert_close(start.x, X, atol=1e-9, rtol=0)
    torch.testing.assert_close(start.v, V, atol=1e-9, rtol=0)
    torch.testing.assert_close((after.x - before.x) / (2 * h), here.v, atol=1e-6, rtol=1e-6)
    torch.testing.assert_close((after.v - before.v) / (2 * h), force(*here, t), atol=1e-5, rtol=1e-5)
