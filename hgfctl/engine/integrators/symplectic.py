"""Symplectic integrators: compositions of kicks and drifts, each of which is exact.

    kick   v += k h F(x, t)            drift   x += d h v,  t += d h

Time is a coordinate that drifts, so forces may depend on it. Kicks and drifts are shears: any composition preserves
volume, and one that reads the same backwards is time-reversible.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from torch import Tensor

from hgfctl.engine.integrators.integrator import Force, Integrator
from hgfctl.engine.phase_space import State, as_times, over


@dataclass(frozen=True)
class Splitting(Integrator):
    """Kick, drift, kick, ..., drift, kick: one more kick than drifts.

    The force after the last drift of a step is that of the next step's first kick: N steps cost N times the number of
    drifts, plus one, evaluations of the force. A step with a drift backwards asks for forces at times outside itself.

    Args:
        kicks, drifts: fractions of the step, each of sum 1.
        order: the error at a fixed time falls as h^order.
        name: what the method is called.
    """

    kicks: tuple[float, ...]
    drifts: tuple[float, ...]
    order: int
    name: str

    def trajectory(self, force: Force, start: State, times: Tensor) -> Iterator[State]:
        yield start
        (x, v), times = start, as_times(times, start.x)
        acceleration = force(x, times[0])
        for t, h in zip(times[:-1], times.diff(dim=0), strict=True):
            length = over(h, x).to(x.dtype)
            v = v + self.kicks[0] * length * acceleration
            for drift, kick in zip(self.drifts, self.kicks[1:], strict=True):
                x, t = x + drift * length * v, t + drift * h
                acceleration = force(x, t)
                v = v + kick * length * acceleration
            yield State(x, v)


def composed(base: Splitting, fractions: Sequence[float], order: int, name: str) -> Splitting:
    """One step made of several steps of `base`, the given fractions of it long; adjacent kicks are merged."""
    kicks, drifts = [0.0], []
    for fraction in fractions:
        kicks[-1] += fraction * base.kicks[0]
        kicks += [fraction * kick for kick in base.kicks[1:]]
        drifts += [fraction * drift for drift in base.drifts]
    return Splitting(tuple(kicks), tuple(drifts), order, name)


LEAPFROG = Splitting(kicks=(1 / 2, 1 / 2), drifts=(1.0,), order=2, name="leapfrog")
"""Second order (Verlet 1967, Phys. Rev. 159, 98)."""

_OUTER = 1 / (2 - 2 ** (1 / 3))
YOSHIDA4 = composed(LEAPFROG, (_OUTER, 1 - 2 * _OUTER, _OUTER), order=4, name="yoshida")
"""Fourth order: three leapfrogs, the middle one backwards (Yoshida 1990, Phys. Lett. A 150, 262)."""
