"""HVP regression: the loss that trains a generative flow."""

from dataclasses import dataclass
from typing import Annotated, ClassVar

from torch import Tensor

from hgfctl.engine.data.augmentation import Augmentation
from hgfctl.engine.losses.states import StateLoss, States
from hgfctl.engine.losses.times import Times
from hgfctl.engine.models.hvp import HVP
from hgfctl.engine.models.model import Model
from hgfctl.engine.provided import AUGMENTATION, TIMES_LAW


@dataclass(frozen=True)
class HVPRegression(StateLoss):
    """E_t E ||V_phi(x_t, t) - v_t||^2 / c_out(t)^2, averaged over coordinates (HSM24, section 3).

    The minimiser at every t is V(x, t) = E[v_t | x_t = x], whatever the weight; with 1 / c_out^2 each t starts at 1.

    Args:
        times: law of t.
        augment: changes the data at random; None to leave them as they are.
    """

    trains: ClassVar = (HVP,)
    times: Annotated[Times, TIMES_LAW]
    augment: Annotated[Augmentation | None, AUGMENTATION] = None

    @classmethod
    def fits(cls, model: type[Model]) -> bool:
        """Says yes to HVPs that solvers follow; a consistency model's V is another one."""
        return super().fits(model) and model.is_followed()

    def of_states(self, hvp: HVP, states: States, labels: Tensor | None) -> Tensor:
        """|V_phi(x, t) - v|^2 / c_out^2 of each state, (B,)."""
        predicted, wanted = hvp.target(states.x, states.v, states.t, labels, states.augmented)
        return (predicted - wanted).square().flatten(1).mean(1)
