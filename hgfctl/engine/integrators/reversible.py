"""Gradients through a splitting integrator in memory that does not grow with the number of steps.

Kicks and drifts can be undone, so the backward pass walks the trajectory back from its end, a force evaluation and its
vector-Jacobian product a kick, and nothing but the end is kept (as reversible networks do: Gomez et al. 2017,
arXiv 1707.04585). What rounding does to the walk back is measured against the start, which is kept as well.
"""

from collections.abc import Iterator, Sequence
from typing import Any

import torch
from torch import Tensor

from hgfctl.engine.integrators.integrator import Force
from hgfctl.engine.integrators.symplectic import Splitting
from hgfctl.engine.phase_space import State, as_times, over
from hgfctl.errors import HgfctlError


def integrate(
    splitting: Splitting, force: Force, start: State, times: Tensor, parameters: Sequence[Tensor] = ()
) -> State:
    """The state at times[-1], as `splitting.integrate` gives it; differentiable in the start and in `parameters`.

    Args:
        splitting: leapfrog, say.
        force: F(x, t); smooth, and the same function whenever it is called (no dropout).
        start: (x, v) at times[0], both (B, *D).
        times: (N + 1,), or (N + 1, B) with times of each item's own; not differentiated.
        parameters: every tensor that the force depends on and that wants a gradient.

    Raises:
        HgfctlError: in the backward pass, when the walk back misses the start by more than the square root of the
            type's precision: the force is too stiff or too chaotic for these steps, and the gradient would be wrong.
    """
    times = as_times(times, start.x).detach()
    return State(*_Walk.apply(splitting, force, times, len(parameters), *parameters, *start))


class _Walk(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any, splitting: Splitting, force: Force, times: Tensor, count: int, *tensors: Tensor
    ) -> tuple[Tensor, Tensor]:
        start = State(*tensors[count:])
        end = splitting.integrate(force, start, times)
        ctx.walk = splitting, force, times
        ctx.count = count
        ctx.save_for_backward(*tensors, *end)
        return end.x, end.v

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Any, ...]:
        splitting, force, times = ctx.walk
        *parameters, x0, v0, x, v = ctx.saved_tensors
        gx, gv = gradients
        wanted = [p for p, needed in zip(parameters, ctx.needs_input_grad[4:], strict=False) if needed]
        sums = [torch.zeros_like(p) for p in wanted]
        for move, t, length in _backwards(splitting, times, x):
            if move == "drift":
                x, gv = x - length * v, gv + length * gx
                continue
            with torch.enable_grad():
                here = x.detach().requires_grad_()
                acceleration = force(here, t)
            pulled = torch.autograd.grad(acceleration, [here, *wanted], length * gv, allow_unused=True)
            v = v - length * acceleration.detach()
            gx = gx if pulled[0] is None else gx + pulled[0]
            for total, part in zip(sums, pulled[1:], strict=True):
                if part is not None:
                    total += part
        _check((x, v), (x0, v0))
        found = iter(sums)
        of_parameters = [next(found) if needed else None for needed in ctx.needs_input_grad[4 : 4 + ctx.count]]
        return None, None, None, None, *of_parameters, gx, gv


def _backwards(splitting: Splitting, times: Tensor, x: Tensor) -> Iterator[tuple[str, Tensor, Tensor]]:
    """("kick" or "drift", its time, its share of the step), last first; adjacent kicks are one."""

    def sized(h: Tensor) -> Tensor:
        return over(h, x).to(x.dtype)

    pending = torch.zeros_like(times[-1])
    for t, h in zip(times[:-1].flip(0), times.diff(dim=0).flip(0), strict=True):
        ends = [t]
        for drift in splitting.drifts:
            ends.append(ends[-1] + drift * h)
        for i in reversed(range(len(splitting.drifts))):
            yield "kick", ends[i + 1], sized(pending + splitting.kicks[i + 1] * h)
            yield "drift", ends[i + 1], sized(splitting.drifts[i] * h)
            pending = torch.zeros_like(h)
        pending = splitting.kicks[0] * h
    yield "kick", times[0], sized(pending)


def _check(found: tuple[Tensor, Tensor], kept: tuple[Tensor, Tensor]) -> None:
    for name, back, start in zip("xv", found, kept, strict=True):
        scale = max(float(start.abs().max()), 1e-30)
        miss = float((back - start).abs().max()) / scale
        if not miss <= torch.finfo(start.dtype).eps ** 0.5:
            raise HgfctlError(
                f"the reversible adjoint cannot walk this trajectory back: it misses the start's {name} by {miss:.1e}"
                " of its size, so the gradient would be wrong\n"
                "the force is too stiff for the step: take more or shorter steps, or loss.adjoint=autograd"
            )
