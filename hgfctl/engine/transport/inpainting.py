"""Filling in what a mask hides: the known part is put where the flow's own law has it, step by step.

At every time the known part becomes a(t) x0 + b(t) z, a draw of its exact marginal (Song et al. 2021, arXiv 2011.13456,
section 5), and a step of the unconditional flow moves the whole. A step alone harmonises the two parts badly, for
it never looks back; so each is undone and repeated (RePaint: Lugmayr et al. 2022, arXiv 2201.09865), undoing being the
forward transition of a linear flow with the same marginals,

    x_t = r x_s + sqrt(b_t^2 - r^2 b_s^2) z,    r = a_t / a_s,    s < t .

An example of conditioning, not exact: the known part enters by its marginals only.
"""

from collections.abc import Callable
from itertools import pairwise

import torch
from torch import Tensor

from hgfctl.engine.flows.flow import Flow
from hgfctl.engine.flows.linear import LinearFlow
from hgfctl.engine.phase_space import Velocity, as_times
from hgfctl.engine.solvers import SOLVERS
from hgfctl.errors import RequestError


def inpainted(
    velocity: Velocity,
    flow: Flow,
    x0: Tensor,
    hidden: Tensor,
    start: Tensor,
    times: Tensor,
    draw: Callable[[], Tensor],
    repeats: int = 1,
) -> Tensor:
    """Items with their hidden part made anew: (B, *D).

    Args:
        velocity: V(x, t); called len(times) - 1 times `repeats`.
        flow: of V.
        x0: items (B, *D).
        hidden: true where they are to be made, (*D) or (B, *D).
        start: draws from the prior, (B, *D).
        times: (N + 1,), from T down to 0.
        draw: a source of standard normal draws (B, *D).
        repeats: how often a step is made; more than once on linear flows only.

    Raises:
        RequestError: repeats on another flow, or a manifold, where no coordinate moves by itself.
    """
    if not flow.separable:
        raise RequestError(f"coordinates cannot be hidden one by one on {flow.domain}, where they depend on each other")
    if repeats > 1 and not flow.linear:
        raise RequestError("`repeats`: steps can be undone on linear flows only; take 1 here")
    solver = SOLVERS["ddim" if flow.linear else "euler"]
    x, times = start, as_times(times, x0)
    for t, s in pairwise(times):
        for repeat in range(repeats):
            if repeat:
                x = _noised(flow, x, s, t, draw())  # type: ignore[arg-type]
            x = torch.where(hidden, x, flow.state(x0, draw(), t).x)
            x = solver.solve(velocity, flow, x, torch.stack([t, s]))
    return torch.where(hidden, x, x0)


def _noised(flow: LinearFlow, x: Tensor, s: Tensor, t: Tensor, z: Tensor) -> Tensor:
    (a_s, a_t), (b_s, b_t), _, _ = flow.path(torch.stack([s, t]))
    r = a_t / a_s
    noised: Tensor = r.to(x) * x + (b_t**2 - (r * b_s) ** 2).clamp_min(0).sqrt().to(x) * z
    return noised
