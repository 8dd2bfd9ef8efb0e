"""Grids made for one model: the search, the sidecar, what `auto` makes of them; and the table that `auto` goes by."""

import json
import math
from dataclasses import replace
from itertools import product
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

from hgfctl.engine.data.mixture import gmm64_mixture, ring_mixture
from hgfctl.engine.flows import FLOWS
from hgfctl.engine.flows.diffusion import Diffusion
from hgfctl.engine.flows.flow import Flow
from hgfctl.engine.flows.oscillation import Oscillation
from hgfctl.engine.oracles.mixture import MixtureHVP
from hgfctl.engine.randomness import generator
from hgfctl.engine.sampling import optimized_grids
from hgfctl.engine.sampling.best import IMAGE, TABLE, VECTOR, best
from hgfctl.engine.sampling.grid_search import Progress, search
from hgfctl.engine.sampling.optimized_grids import OptimizedGrid
from hgfctl.engine.sampling.plan import plan
from hgfctl.engine.sampling.sampler import FlowSampler
from hgfctl.engine.solvers import SOLVERS
from hgfctl.engine.solvers.grids import named
from hgfctl.errors import HgfctlError, RequestError
from hgfctl.storage import tensor_files
from tests.conftest import Run


class _Exact(nn.Module):
    """The exact HVP of a mixture, as a sampler sees a network."""

    def __init__(self, exact: MixtureHVP) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.zeros(()))
        self.exact, self.flow = exact, exact.flow

    def forward(self, x: Tensor, t: Tensor, labels: Tensor | None = None) -> Tensor:
        return self.exact(x, t)


def _sampler(sampler: str, nfe: int, grid: str = "auto") -> FlowSampler:
    flow = Oscillation()
    hvp = _Exact(MixtureHVP(ring_mixture(), flow))
    return FlowSampler((2,), 0, hvp, plan(flow, nfe, sampler, grid, (2,)))  # type: ignore[arg-type]


def test_a_search_finds_a_better_grid_and_is_judged_on_items_it_did_not_see() -> None:
    *steps, found = search(_sampler("ab2", 6, "rho"), 6, tries=150)
    assert isinstance(found, OptimizedGrid)
    progress = [step for step in steps if isinstance(step, Progress)]
    assert progress[-1].error <= progress[0].error
    assert progress[-1].tried <= 170
    assert found.error < 0.5 * found.error_before
    assert found.is_better
    # Judged once more, independently: other seeds, another reference.
    flow, exact = Oscillation(), MixtureHVP(ring_mixture(), Oscillation())
    x = flow.prior.sample((64, 2), generator(1, "judge"))
    truth = SOLVERS["rk4"].solve(exact, flow, x, named("sigmoid")(flow, 200))

    def median(times: Tensor) -> float:
        return float((SOLVERS["ab2"].solve(exact, flow, x, times) - truth).square().mean(1).sqrt().median())

    assert median(found.tensor()) < 0.6 * median(named("rho")(flow, 6))


def test_solvers_without_a_grid_of_their_own_are_not_searched() -> None:
    with pytest.raises(RequestError, match="has no grid that could be improved"):
        next(search(_sampler("dopri5", 60), 60))


@pytest.fixture
def checkpoint(tmp_path: Path) -> Path:
    path = tmp_path / "step-00000001.safetensors"
    tensor_files.save(path, {"w": torch.ones(3)}, {"kind": "test"})
    return path


def _grid(flow: Flow, error: float = 0.1, sampler: str = "ab4", nfe: int = 8) -> OptimizedGrid:
    times = tuple(named("quadratic")(flow, nfe).tolist())
    return OptimizedGrid(repr(flow), sampler, nfe, times, error, 0.2, "cosine")


def test_grids_are_kept_by_flow_solver_and_budget(checkpoint: Path) -> None:
    flow, other = Oscillation(), Diffusion()
    assert optimized_grids.read(checkpoint, flow) == []
    kept = [_grid(flow), _grid(flow, nfe=9), _grid(flow, sampler="ab2"), _grid(other)]
    for grid in kept:
        assert optimized_grids.add(checkpoint, grid) == optimized_grids.sidecar(checkpoint)
    assert optimized_grids.read(checkpoint, flow) == kept[:3]
    assert optimized_grids.read(checkpoint, other) == kept[3:]
    optimized_grids.add(checkpoint, _grid(flow, error=0.05))
    assert optimized_grids.read(checkpoint, flow) == [kept[1], kept[2], _grid(flow, error=0.05)]


def test_a_second_search_that_finds_nothing_better_leaves_the_first_grid(checkpoint: Path) -> None:
    first = _grid(Oscillation(), error=0.05)
    optimized_grids.add(checkpoint, first)
    optimized_grids.add(checkpoint, replace(first, error=0.06, times=(Oscillation().T, 0.2, 0.0)))
    assert optimized_grids.read(checkpoint, Oscillation()) == [first]


@pytest.mark.parametrize("grid", ["sigmoid:1000", "rho:0.001", "power:1000"])
def test_numbers_that_leave_no_distinct_times_are_refused(grid: str) -> None:
    with pytest.raises(RequestError, match="has no 11 distinct times"):
        plan(Oscillation(), 10, "abm2", grid)


def test_grids_of_other_weights_are_not_taken(checkpoint: Path) -> None:
    optimized_grids.add(checkpoint, _grid(Oscillation()))
    tensor_files.save(checkpoint, {"w": torch.zeros(3)}, {"kind": "test"})
    assert optimized_grids.read(checkpoint, Oscillation()) == []


@pytest.mark.parametrize(
    "change",
    [
        {"times": [1.0, 0.0]},
        {"times": [Oscillation().T, 0.1, 0.5, 0.0]},
        {"times": [Oscillation().T, "0.5", 0.0]},
        {"times": []},
        {"nfe": 3},
        {"sampler": "os.system"},
        {"error": math.nan},
        {"error": None},
        {"more": 1},
    ],
)
def test_damaged_sidecars_are_refused(checkpoint: Path, change: dict[str, object]) -> None:
    path = optimized_grids.add(checkpoint, _grid(Oscillation()))
    content = json.loads(path.read_text())
    content["grids"][0] |= change
    path.write_text(json.dumps(content))
    with pytest.raises(HgfctlError, match="is damaged; remove it"):
        optimized_grids.read(checkpoint, Oscillation())


def test_auto_takes_an_optimised_grid_where_it_measured_better() -> None:
    flow = Oscillation()
    better, worse = _grid(flow), _grid(flow, error=0.3)
    assert plan(flow, 8, searched=[better]).grid == "optimized"
    assert plan(flow, 8, searched=[better]).times.tolist() == list(better.times)
    assert plan(flow, 8, "ab4", searched=[better]).grid == "optimized"
    assert plan(flow, 8, searched=[worse]).grid != "optimized"
    assert plan(flow, 8, grid="optimized", searched=[worse]).times.tolist() == list(worse.times)
    assert plan(flow, 8, searched=[worse, replace(better, sampler="ab2")]).solver.name == "ab2"
    assert plan(flow, 9, searched=[better]).grid != "optimized"
    assert plan(flow, 8, "heun", searched=[better]).grid != "optimized"
    with pytest.raises(
        RequestError, match="no grid optimised for heun and NFE 8; sampling with `optimize_grid` and `nfe=8`"
    ):
        plan(flow, 8, "heun", "optimized", searched=[better])


def test_the_table_names_what_there_is_and_what_was_measured() -> None:
    table = json.loads(TABLE.read_text())
    own = {"any", "reflection", "torus", "sphere", "so3", "simulated", "linear-motion"}
    assert set(table) == {"oscillation", "flow-matching", "diffusion"} | own
    for name in own:
        (choices,) = table[name].values()
        budgets = [choice["most"] for choice in choices]
        assert budgets[-1] is None
        assert budgets[:-1] == sorted(budgets[:-1])
        assert all(choice["sampler"] in SOLVERS and named(choice["grid"]) for choice in choices)
    for name in ("oscillation", "flow-matching", "diffusion"):
        assert set(table[name]) == {VECTOR, IMAGE}
        for choices in table[name].values():
            assert [choice["nfe"] for choice in choices] == [5, 8, 10, 15, 20, 35, 60]
            for choice in choices:
                chosen = plan(FLOWS[name](), choice["nfe"], choice["sampler"], choice["grid"])
                assert chosen.nfe <= choice["nfe"]
                assert choice["measured"]


def test_auto_at_10_evaluations_is_nearer_to_the_converged_samples_than_heun_at_35() -> None:
    """EDM's sampler on its own flow, on every problem of the table; for all three flows."""
    table = json.loads(TABLE.read_text())
    for flow, kind in product(("oscillation", "flow-matching", "diffusion"), (VECTOR, IMAGE)):
        ten, heun = (
            next(choice["measured"] for choice in table[name][kind] if choice["nfe"] == nfe)
            for name, nfe in ((flow, 10), ("diffusion", 35))
        )
        assert set(ten) == set(heun)
        for problem in ten:
            assert ten[problem]["median"] < heun[problem]["heun"]


def test_the_nearest_budget_of_the_table_decides() -> None:
    flow = Oscillation()
    assert best(flow, 1) == best(flow, 5)
    assert best(flow, 12, (3, 32, 32)) == best(flow, 10)
    assert best(flow, 13) == best(flow, 15)
    assert best(flow, 1000) == best(flow, 60)
    assert best(flow, 10, (64,)) == best(flow, 10, (1, 8, 8))


GMM64 = {5: 0.04, 8: 0.022, 10: 0.016, 15: 5e-3, 20: 2.1e-3, 35: 2e-4}


def test_auto_on_the_64_dimensional_oracle_at_every_budget() -> None:
    """Median RMS error per coordinate; a mixture and starts that the table was not made from."""
    flow = Oscillation()
    exact = MixtureHVP(gmm64_mixture(7), flow)
    x = flow.prior.sample((32, 64), generator(20))
    truth = SOLVERS["angle-abm3"].solve(exact, flow, x, named("sigmoid:1")(flow, 250))
    for nfe, bound in GMM64.items():
        chosen = plan(flow, nfe)
        error = (chosen.solver.solve(exact, flow, x, chosen.times) - truth).square().mean(1).sqrt().median()
        assert float(error) <= 1.25 * bound, nfe


def test_optimized_grids_and_options_from_the_command_line(inside: Run) -> None:
    tiny = ("network.width=16", "network.blocks=1", "train.images=2000", "train.batch=100", "train.ramp=0")
    settings = [part for setting in tiny for part in ("--set", setting)]
    run = inside("train", "--preset", "ring-oscillation", *settings, "--device", "cpu").stdout.strip()
    sample = ("sample", run, "--num", "6", "--device", "cpu", "--json")

    def facts(*arguments: str) -> dict[str, object]:
        found: dict[str, object] = json.loads(inside(*sample, *arguments).stdout)
        return found

    done = inside(*sample, "--nfe", "4", "--sampler", "euler", "--optimize-grid")
    assert "a grid for euler at NFE 4; distance to converged samples on held-out seeds" in done.stderr
    assert json.loads(done.stdout)["grid"] == "optimized"
    assert facts("--nfe", "4", "--sampler", "euler")["grid"] == "optimized"
    assert facts("--nfe", "5", "--sampler", "euler")["grid"] != "optimized"
    assert facts("--nfe", "4", "--sampler", "euler", "--grid", "power:3")["grid"] == "power:3"

    churned = facts("--nfe", "21", "--churn", "5", "--set", "sample.churn_noise=1.01")
    assert (churned["sampler"], churned["nfe"]) == ("heun+churn", 21)
    restarted = facts("--nfe", "30", "--sampler", "ab4", "--restart", "2", "--set", "sample.restart_steps=4")
    assert (restarted["sampler"], restarted["nfe"]) == ("ab4+restart", 30)
    assert facts("--nfe", "400", "--sampler", "dopri5", "--tolerance", "1e-3")["sampler"] == "dopri5"
    for arguments, exit_status, said in (
        (("--nfe", "8", "--sampler", "dopri5"), 1, "raise --nfe or --tolerance"),
        (("--set", "train.lr=1"), 2, "only sample.KEY can be changed here, and train is not one"),
        (("--set", "sample.chrun=1"), 2, "did you mean 'sample.churn'"),
        (("--grid", "optimized", "--nfe", "7"), 2, "sampling with --optimize-grid and --nfe 7 makes one"),
        (("--sampler", "unipc4"), 2, "did you mean 'unipc"),
    ):
        done = inside(*sample, *arguments, status=exit_status)
        assert done.stdout == ""
        assert said in done.stderr


@pytest.mark.parametrize("how", [("--churn", "8"), ("--restart", "2")])
def test_noise_put_back_in_depends_on_an_items_seed_alone(how: tuple[str, str]) -> None:
    from hgfctl.config import SampleSection

    flow = Oscillation()
    section = SampleSection(sampler="heun", **{how[0].removeprefix("--"): int(how[1])})
    chosen = plan(flow, 40, section.sampler, "sigmoid")
    sampler = FlowSampler((2,), 0, _Exact(MixtureHVP(ring_mixture(), flow)), chosen)  # type: ignore[arg-type]
    together = torch.cat([part.x for part in sampler.batches(torch.arange(5, 20), 15)])
    alone = torch.cat([part.x for part in sampler.batches(torch.arange(5, 20), 4)])
    torch.testing.assert_close(together, alone, atol=1e-6, rtol=0)
    assert len(torch.unique(together, dim=0)) == 15
