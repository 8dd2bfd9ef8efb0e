"""Do samples of a reflection HGF land on the right squares, and stay in the box?

    python tests/benchmarks/checkerboard.py RUN [--nfe 10 20 40 80] [--num 20000] [--seeds 0 100000 200000]

For each budget: the share on the right squares, within 0.02 of one, and outside the box; a row `exact` for the exact
HVP in place of the trained one.
"""

import argparse
from pathlib import Path

import torch

from hgfctl.engine.checkpoint import read_checkpoint
from hgfctl.engine.data.checkerboard import Checkerboard
from hgfctl.engine.flows.flow import Flow
from hgfctl.engine.flows.reflection import Reflection
from hgfctl.engine.oracles.boxes import BoxesHVP
from hgfctl.engine.phase_space import Velocity
from hgfctl.engine.randomness import generator
from hgfctl.engine.sampling.plan import Plan, plan
from hgfctl.storage.runs import checkpoint_file


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("run", type=Path)
    parser.add_argument("--nfe", nargs="+", type=int, default=[10, 20, 40, 80])
    parser.add_argument("--num", type=int, default=20_000)
    parser.add_argument("--seeds", nargs="+", type=int, default=[0, 100_000, 200_000])
    parser.add_argument("--sampler", default="auto")
    parser.add_argument("--grid", default="auto")
    parser.add_argument("--no-exact", action="store_true")
    arguments = parser.parse_args()

    model = read_checkpoint(checkpoint_file(arguments.run), torch.device("cpu"))
    board, flow = Checkerboard(), model.hvp.flow
    assert isinstance(flow, Reflection)
    fields: dict[str, Velocity] = {"trained": model.hvp}
    if not arguments.no_exact:
        fields["exact"] = BoxesHVP(board.lower, board.upper, flow)
    print(f"{'V':8} {'nfe':>3} {'sampler, grid':18} {'on squares':16} {'within 0.02':12} outside")
    for (name, velocity), nfe in ((field, nfe) for field in fields.items() for nfe in arguments.nfe):
        chosen = plan(flow, nfe, arguments.sampler, arguments.grid)
        draws = [_draw(flow, velocity, chosen, arguments.num, seed) for seed in arguments.seeds]
        on = torch.tensor([float(board.on_squares(x).double().mean()) for x in draws])
        near = torch.tensor([float(board.on_squares(x, 0.02).double().mean()) for x in draws])
        outside = sum(int((x.abs() > 1).any(1).sum()) for x in draws)
        spread = f" ± {float(on.std()):.4f}" if len(draws) > 1 else ""
        method = f"{chosen.solver.name}, {chosen.grid}"
        share = f"{float(on.mean()):.4f}{spread}"
        print(f"{name:8} {chosen.nfe:3} {method:18} {share:16} {float(near.mean()):<12.4f} {outside}")


@torch.no_grad()
def _draw(flow: Flow, velocity: Velocity, chosen: Plan, num: int, seed: int) -> torch.Tensor:
    start = flow.prior.sample((num, 2), generator(seed, "benchmark"))
    parts = [chosen.solver.solve(velocity, flow, part, chosen.times) for part in start.split(2500)]
    return torch.cat(parts)


if __name__ == "__main__":
    main()
