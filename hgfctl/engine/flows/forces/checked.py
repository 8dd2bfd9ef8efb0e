"""A force that is watched while it acts: its shape, its values, and how far a flight has gone."""

import math

import torch
from torch import Tensor

from hgfctl.engine.flows.forces.force import Force
from hgfctl.engine.phase_space import as_times
from hgfctl.errors import HgfctlError, RequestError

FARTHEST = 1e6
"""Times the size of the start, or 1 where that is larger: beyond it a flight has diverged."""


class CheckedForce(Force):
    """The same force, which raises RequestError where it changes shape, is not finite, or has carried x too far.

    Costs two reductions and one look at their result, of every call.

    Args:
        force: F.
    """

    def __init__(self, force: Force) -> None:
        self.force = force
        self._limit: float | None = None

    @property
    def depends_on_velocity(self) -> bool:  # type: ignore[override]
        return self.force.depends_on_velocity

    def check(self, shape: tuple[int, ...]) -> None:
        self.force.check(shape)

    def __call__(self, x: Tensor, v: Tensor, t: Tensor) -> Tensor:
        try:
            values = self.force(x, v, t)
        except HgfctlError:
            raise
        except Exception as error:
            reason = (str(error).splitlines() or [""])[0]
            raise RequestError(f"the force fails at {_when(t)}: {type(error).__name__}: {reason}") from error
        if not isinstance(values, Tensor):
            raise RequestError(f"the force gives a {type(values).__name__} in place of a tensor of shape {_shape(x)}")
        if values.shape != x.shape:
            raise RequestError(f"the force changes shape: from x of {_shape(x)} it makes {_shape(values)}")
        self._look(x.detach(), v.detach(), t, values.detach())
        return values.to(x.dtype)

    def _look(self, x: Tensor, v: Tensor, t: Tensor, values: Tensor) -> None:
        if not x.numel():
            return
        total, farthest = torch.stack([values.sum().to(x.dtype), x.abs().amax()]).tolist()
        if self._limit is None:
            self._limit = FARTHEST * max(1.0, farthest if math.isfinite(farthest) else 1.0, float(v.abs().amax()))
        if not farthest <= self._limit:
            size = x.flatten(1).abs().amax(1)
            item = int(torch.nonzero(~(size <= self._limit))[0])
            raise RequestError(
                f"the flight diverges: |x| reaches {float(size[item]):.3g} at {_when(t, item)}; "
                "a shorter duration, more steps or a weaker force keep it near"
            )
        if not math.isfinite(total):
            self._refuse_values(x, t, values)

    def _refuse_values(self, x: Tensor, t: Tensor, values: Tensor) -> None:
        bad = ~values.flatten(1).isfinite().all(1)
        if not bool(bad.any()):
            return  # of finite values, the sum is too large for their type
        item = int(torch.nonzero(bad)[0])
        kind = "NaN" if bool(values[item].isnan().any()) else "infinity"
        raise RequestError(
            f"the force is {kind} at {_when(t, item)}, where |x| is {float(x[item].abs().max()):.3g}"
            f" ({int(bad.sum())} of {len(x)} items)"
        )


def checked(force: Force) -> Force:
    """A force that is watched; see `CheckedForce`. The start of the first flight says what counts as far."""
    return force if isinstance(force, CheckedForce) else CheckedForce(force)


def _when(t: Tensor, item: int | None = None) -> str:
    times = as_times(t, torch.as_tensor(t))
    if times.ndim == 0:
        return f"t = {float(times):.3g}"
    return (
        f"t = {float(times[item]):.3g}"
        if item is not None
        else f"t = {float(times.min()):.3g} ... {float(times.max()):.3g}"
    )


def _shape(x: Tensor) -> str:
    return f"({', '.join(map(str, x.shape))})"
