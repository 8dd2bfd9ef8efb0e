"""States of a batch at random times, drawn alike however the batch is shared out, and losses that look at them."""

from abc import abstractmethod
from typing import Any, ClassVar, NamedTuple

from torch import Generator, Tensor

from hgfctl.engine.data.augmentation import Augmentation, Augmented
from hgfctl.engine.flows.flow import Flow
from hgfctl.engine.losses.loss import Loss, Share
from hgfctl.engine.losses.times import Times
from hgfctl.engine.phase_space import as_times
from hgfctl.engine.randomness import normal


class States(NamedTuple):
    """Positions x and velocities v (B, *D) at times t (B,), and how the data were augmented: (B, numbers) or None."""

    x: Tensor
    v: Tensor
    t: Tensor
    augmented: Tensor | None


class StateLoss(Loss):
    """A loss of each state (x_t, v_t) of a flow by itself; its states may be drawn before the training step.

    A subclass has the law of times, and the augmentation or None, and defines `of_states`.
    """

    shared: ClassVar = True
    times: Times
    augment: Augmentation | None

    @abstractmethod
    def of_states(self, model: Any, states: States, labels: Tensor | None) -> Tensor:
        """The loss of each state, (B,).

        Args:
            model: an HVP.
            states: of B items.
            labels: their classes (B,), or None.
        """

    def __call__(self, model: Any, x0: Tensor, labels: Tensor | None, rng: Generator) -> Tensor:
        """See `Loss`."""
        return self.on_share(model, x0, labels, rng, Share(0, len(x0)))

    def on_share(self, model: Any, x0: Tensor, labels: Tensor | None, rng: Generator, share: Share) -> Tensor:
        """See `Loss`; times are stratified over the whole batch."""
        return self.of_states(model, draw_states(model.flow, self.times, self.augment, x0, labels, rng, share), labels)


def draw_states(
    flow: Flow,
    times: Times,
    augment: Augmentation | None,
    x0: Tensor,
    labels: Tensor | None,
    rng: Generator,
    share: Share,
) -> States:
    """(x_t, v_t) from data x0 (B, *D), a share of a batch: times are stratified over all of it.

    Where the velocity law couples the items of a batch, it does so within the share.

    Args:
        flow: along which.
        times: law of t.
        augment: changes the data at random; None to leave them as they are.
        x0: the data.
        labels: their classes (B,), or None.
        rng: the whole batch's, on the CPU.
        share: which items of the batch x0 are.
    """
    count = len(x0)
    t = as_times(share.of(times(share.total, flow, rng), count), x0)
    z = share.of(normal((share.total, *x0.shape[1:]), rng, x0.device), count)
    x0, numbers = augmented(augment, x0, rng, share)
    x, v = flow.state(x0, flow.velocity_law.paired(x0, z, labels), t)
    return States(x, v, t, numbers)


def augmented(augment: Augmentation | None, x0: Tensor, rng: Generator, share: Share) -> Augmented:
    """The data as an augmentation, if there is one, leaves them; what it does is drawn for the whole batch."""
    if augment is None:
        return Augmented(x0, None)
    return augment.apply(x0, share.of(augment.draw(share.total, rng), len(x0)))
