"""Every solver of the registry keeps what `Solver` promises."""

import pytest
import torch
from torch import Tensor

from hgfctl.engine.data.mixture import ring_mixture
from hgfctl.engine.flows.diffusion import Diffusion
from hgfctl.engine.flows.flow import Flow
from hgfctl.engine.flows.oscillation import Oscillation
from hgfctl.engine.flows.reflection import Reflection
from hgfctl.engine.oracles.mixture import MixtureHVP
from hgfctl.engine.randomness import generator
from hgfctl.engine.solvers import SOLVERS
from hgfctl.engine.solvers.grids import named
from hgfctl.engine.solvers.solver import Solver
from hgfctl.errors import RequestError

every = pytest.mark.parametrize("name", SOLVERS)


@every
def test_names_are_those_of_the_registry(name: str) -> None:
    assert SOLVERS[name].name == name


@every
def test_steps_and_cost_are_inverse_and_never_exceed_the_budget(name: str) -> None:
    solver: Solver = SOLVERS[name]
    for nfe in range(1, 80):
        steps = solver.steps(nfe)
        assert not steps or solver.cost(steps) <= nfe
    if not solver.adaptive:
        for steps in range(1, 40):
            assert solver.steps(solver.cost(steps)) == steps


@every
def test_calls_are_as_many_as_the_cost_says(name: str) -> None:
    solver: Solver = SOLVERS[name]
    flow, calls = Oscillation(), 0
    x = flow.prior.sample((4, 2), generator("start"))

    def velocity(x: Tensor, t: Tensor) -> Tensor:
        nonlocal calls
        calls += 1
        return torch.zeros_like(x)

    for steps in (1, 2, 5, 12):
        calls = 0
        path = list(solver.trajectory(velocity, flow, x, named("cosine")(flow, steps)))
        assert len(path) == steps + 1
        assert torch.equal(path[0], x)
        assert calls == solver.cost(steps) if not solver.adaptive else calls >= solver.cost(1)


@pytest.mark.parametrize("name", [name for name, solver in SOLVERS.items() if solver.admits(Reflection())])
def test_where_nothing_moves_nothing_is_moved(name: str) -> None:
    """V = 0; of the solvers that know a velocity alone."""
    flow = Reflection()
    x = flow.prior.sample((4, 2), generator("start"))
    made = SOLVERS[name].solve(lambda x, t: torch.zeros_like(x), flow, x, named("cosine")(flow, 6))
    torch.testing.assert_close(made, x, atol=1e-12, rtol=0)


@every
@pytest.mark.parametrize("flow", [Oscillation(), Diffusion()], ids=["oscillation", "diffusion"])
def test_samples_converge_to_one_another(name: str, flow: Flow) -> None:
    """Towards the exact velocity of a mixture's converged samples: four times the steps, less than half the error."""
    solver: Solver = SOLVERS[name]
    exact = MixtureHVP(ring_mixture(), flow)  # type: ignore[arg-type]
    x = flow.prior.sample((8, 2), generator("start"))
    truth = SOLVERS["angle-abm3"].solve(exact, flow, x, named("sigmoid")(flow, 400))
    few, many = (
        (solver.solve(exact, flow, x, named("sigmoid")(flow, steps)) - truth).norm(dim=1).median() for steps in (24, 96)
    )
    assert float(many) < 0.02
    assert float(many) < 0.5 * float(few) or float(many) < 1e-4


@every
def test_a_flow_that_is_not_admitted_is_refused_with_those_who_would(name: str) -> None:
    solver, flow = SOLVERS[name], Reflection()
    x = flow.prior.sample((4, 2), generator("start"))
    if solver.admits(flow):
        solver.check(flow)
        return
    others = ", ".join(other for other in SOLVERS if SOLVERS[other].admits(flow))
    assert others
    with pytest.raises(RequestError, match=f"needs a linear flow; for this one there are {others}"):
        solver.check(flow)
    with pytest.raises(RequestError, match="needs a linear flow"):
        solver.solve(lambda x, t: x, flow, x, named("cosine")(flow, 3))


@every
def test_solvers_of_likelihoods_ask_for_velocities_at_both_ends(name: str) -> None:
    solver: Solver = SOLVERS[name]
    if not solver.steps_velocity:
        assert solver.both_ends() is solver
        return
    flow = Reflection()
    x = flow.prior.sample((4, 2), generator("start"))
    velocity = lambda x, t: (0.1 + t) * torch.ones_like(x)  # noqa: E731
    times = named("cosine")(flow, 400)
    plain = solver.both_ends()
    back = plain.solve(velocity, Oscillation(), plain.solve(velocity, Oscillation(), x, times), times.flip(0))
    torch.testing.assert_close(back, x, atol=0.05, rtol=0)
    assert plain.with_noise(lambda: x) is plain
