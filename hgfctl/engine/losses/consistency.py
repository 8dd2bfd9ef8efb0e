"""Continuous-time consistency: an HVP whose single step to the data is the whole way (Lu and Song 2024, sCM).

A velocity field U carries x_t to its end x_0. Read an HVP V as a guess of that end, by one DDIM step from t to 0,

    f(x, t) = (b' x - b V(x, t)) / w,    w = a b' - a' b,        (the denoiser of `flows.conversions`)

and train it not to change on the way, df/dt = 0 along dx/dt = U. As f(x, 0) = x, it then is the end itself, and one
evaluation samples. With the angle tan(phi) = sigma / sd every linear flow is TrigFlow (arXiv 2410.11081, section 3) in
c_in x, and the tangent, in units of the network's output, is

    g = (cos(phi) / sd) df/dphi = a / (w sd c_in) df/dt,    df/dt = (b'/w) (U - V) + rest.

For an oscillation rest = (b/w) (F(x) - dV/dt): V is consistent where its acceleration makes up for U - V.
"""

from typing import Annotated, ClassVar, Literal

import torch
from torch import Generator, Tensor, nn

from hgfctl.engine.data.augmentation import Augmentation
from hgfctl.engine.flows.conversions import denoiser_from_hvp
from hgfctl.engine.flows.linear import LinearFlow
from hgfctl.engine.losses.loss import Loss, Share
from hgfctl.engine.losses.states import States, draw_states
from hgfctl.engine.losses.times import Times
from hgfctl.engine.models.directional import bare, derivative_along
from hgfctl.engine.models.hvp import HVP
from hgfctl.engine.models.model import Model
from hgfctl.engine.phase_space import over
from hgfctl.engine.provided import AUGMENTATION, TEACHER, TIMES_LAW


class Consistency(nn.Module, Loss):
    """Moves the network N by its normalised tangent: |N - sg(N) - g / (|g| + c)|^2, sg = stop-gradient, |.| root mean
    square over coordinates (arXiv 2410.11081, algorithm 1, without its learned weights of times).

    The value is the mean of g^2 over coordinates, how inconsistent the network is; only the gradient is of the above.

    Args:
        times: law of t.
        augment: changes the data at random; None to leave them as they are.
        teacher: a trained HVP of the same flow, in evaluation mode.
        velocity: U: "teacher", the trained HVP (distillation), or "sample", v_t of each item itself, whose mean is that
            HVP (training on data alone: unbiased and noisier).
        warm_up: items seen while the share of the second term of df/dt rises from 0 to 1; without it the loss is
            regression to U.
        normalisation: c; tangents much smaller count less.
    """

    trains: ClassVar = (HVP,)
    shared: ClassVar = True
    every = 1
    seen: Tensor
    """(): training steps begun, counted by `adapt`."""

    def __init__(
        self,
        times: Annotated[Times, TIMES_LAW],
        augment: Annotated[Augmentation | None, AUGMENTATION] = None,
        teacher: Annotated[HVP | None, TEACHER] = None,
        velocity: Literal["teacher", "sample"] = "teacher",
        warm_up: int = 0,
        normalisation: float = 0.1,
    ) -> None:
        super().__init__()
        if velocity == "teacher" and teacher is None:
            raise ValueError("it distils a trained flow, and `init` says which; `loss.velocity=sample` needs none")
        if warm_up < 0 or normalisation <= 0:
            raise ValueError("warm_up must be 0 or more, and normalisation positive")
        self.times, self.augment = times, augment
        # A bound method, for a module would have its weights trained along.
        self.teacher = teacher.forward if teacher is not None and velocity == "teacher" else None
        self.warm_up, self.normalisation = warm_up, normalisation
        self.register_buffer("seen", torch.zeros((), dtype=torch.int64))

    @classmethod
    def fits(cls, model: type[Model]) -> bool:
        """Says yes to HVPs whose network sees what theirs sees; one that predicts noise sees another noise level."""
        return super().fits(model) and model.exchanges_networks

    def forward(self, hvp: HVP, x0: Tensor, labels: Tensor | None, rng: Generator) -> Tensor:
        """x0 (B, *D), labels (B,) or None -> loss of each item (B,). rng is a generator on the CPU."""
        return self.on_share(hvp, x0, labels, rng, Share(0, len(x0)))

    def on_share(self, hvp: HVP, x0: Tensor, labels: Tensor | None, rng: Generator, share: Share) -> Tensor:
        """The same for a share of a batch: times are stratified over all of it."""
        assert isinstance(hvp.flow, LinearFlow)
        states = draw_states(hvp.flow, self.times, self.augment, x0, labels, rng, share)
        if self.teacher is not None:
            with torch.no_grad():
                states = states._replace(v=self.teacher(states.x, states.t, labels, states.augmented))
        places = [x0.device] if x0.device.type == "cuda" else []
        with torch.random.fork_rng(places):  # the same activations are dropped again below
            g = tangent(HVP(bare(hvp.network), hvp.flow), states, labels, self.share_of_rest(share.total))
        pulled = g / (g.square().flatten(1).mean(1).sqrt().reshape(-1, *[1] * (g.ndim - 1)) + self.normalisation)
        predicted, _ = hvp.target(states.x, states.v, states.t, labels, states.augmented)
        loss = (predicted - predicted.detach() - pulled).square() + (g.square() - pulled.square())
        return loss.flatten(1).mean(1)

    def share_of_rest(self, batch: int) -> float:
        """r: with which the second term of df/dt counts now, in batches of this size."""
        return min(1.0, int(self.seen) * batch / self.warm_up) if self.warm_up else 1.0

    def adapt(self, hvp: HVP, x0: Tensor, labels: Tensor | None, rng: Generator) -> None:
        """Counts a training step."""
        self.seen += 1


@torch.no_grad()
def tangent(hvp: HVP, states: States, labels: Tensor | None = None, share_of_rest: float = 1.0) -> Tensor:
    """g of every item, (B, *D): how f changes along `states.v`, see above.

    Directions are scaled before they enter the network, so nothing in it grows without bound where sigma does.

    Args:
        hvp: V, of a linear flow; its network unwrapped.
        states: x, the velocity U there, t, and how the data were augmented.
        labels: (B,) or None.
        share_of_rest: r, with which all but (b'/w) (U - V) counts.
    """
    flow = hvp.flow
    assert isinstance(flow, LinearFlow)
    x, v, t, augmented = states
    path, xx = flow.path(t), flow.moments(t).xx
    scale = path.a * xx.sqrt() / (path.wronskian * flow.sd)

    def end(x: Tensor, t: Tensor) -> tuple[Tensor, Tensor]:
        predicted = hvp(x, t, labels, augmented)
        return denoiser_from_hvp(flow, x, t, predicted), predicted

    _, whole, predicted = derivative_along(end, x, t, over(scale, x).to(x) * v, scale)
    if share_of_rest == 1:
        return whole
    first = over(scale * path.db / path.wronskian, x).to(x) * (v - predicted)
    return first + share_of_rest * (whole - first)
