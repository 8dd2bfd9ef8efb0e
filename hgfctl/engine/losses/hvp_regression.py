"""HVP regression: the loss that trains a generative flow."""

from dataclasses import dataclass

from torch import Generator, Tensor

from hgfctl.engine.data.augmentation import Augmentation
from hgfctl.engine.losses.loss import Share
from hgfctl.engine.losses.states import States, draw_states
from hgfctl.engine.losses.times import Times
from hgfctl.engine.models.hvp import HVP


@dataclass(frozen=True)
class HVPRegression:
    """E_t E ||V_phi(x_t, t) - v_t||^2 / c_out(t)^2, averaged over coordinates (HSM24, section 3).

    The minimiser at every t is V(x, t) = E[v_t | x_t = x], whatever the weight; with 1 / c_out^2 each t starts at 1.

    Args:
        times: law of t.
        augment: changes the data at random; None to leave them as they are.
    """

    times: Times
    augment: Augmentation | None = None

    def __call__(self, hvp: HVP, x0: Tensor, labels: Tensor | None, rng: Generator) -> Tensor:
        """x0 (B, *D), labels (B,) or None -> loss of each item (B,). rng is a generator on the CPU."""
        return self.on_share(hvp, x0, labels, rng, Share(0, len(x0)))

    def on_share(self, hvp: HVP, x0: Tensor, labels: Tensor | None, rng: Generator, share: Share) -> Tensor:
        """The same for a share of a batch: times are stratified over all of it."""
        return self.of_states(hvp, draw_states(hvp.flow, self.times, self.augment, x0, labels, rng, share), labels)

    def of_states(self, hvp: HVP, states: States, labels: Tensor | None) -> Tensor:
        """The same for states that are there already, (B,)."""
        predicted, wanted = hvp.target(states.x, states.v, states.t, labels, states.augmented)
        return (predicted - wanted).square().flatten(1).mean(1)
