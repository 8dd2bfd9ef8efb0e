"""The base class of losses: one number an item, and what a training step needs to know besides."""

from abc import ABC, abstractmethod
from typing import Any, ClassVar, NamedTuple

from torch import Generator, Tensor

from hgfctl.engine.models.model import Model


class Share(NamedTuple):
    """Which items of a batch a call is about: those from `first` on, of `total`."""

    first: int
    total: int

    def of(self, drawn: Tensor, count: int) -> Tensor:
        """The share's rows of what was drawn for all items."""
        return drawn[self.first : self.first + count]


class Loss(ABC):
    """One number an item, (B,): loss(model, x0, labels, rng), differentiable in the model's weights.

    A subclass says which models it `trains` and defines `__call__`. One with weights or buffers of its own derives from
    `nn.Module` as well, `class MyLoss(nn.Module, Loss)`, and defines `forward` instead: its weights are trained along,
    its buffers are saved.

    What the engine gives to constructors is asked for by an annotation (`hgfctl.engine.provided`): a loss that takes
    augmentation has a parameter marked AUGMENTATION, one with a critic a parameter marked CRITIC, and so on.
    """

    trains: ClassVar[tuple[type[Model], ...]] = ()
    """Classes of models that it trains, those derived from them included; see `fits`."""
    shared: ClassVar[bool] = False
    """True where `on_share` draws for a whole batch and takes its share, so that one process, many, and parts of a
    batch do the same."""
    every: int = 0
    """Training steps between two calls of `adapt`; 0 for none."""

    learners: ClassVar[str] = "the network"
    """The ones that learn, for messages."""

    @classmethod
    def fits(cls, model: type[Model]) -> bool:
        """Says whether it trains models of this class."""
        return issubclass(model, cls.trains)

    @abstractmethod
    def __call__(self, model: Any, x0: Tensor, labels: Tensor | None, rng: Generator) -> Tensor:
        """The loss of each item, (B,).

        Args:
            model: of a class that it trains.
            x0: the data, (B, *D), on the model's device.
            labels: (B,), or None for data without classes.
            rng: on the CPU.
        """

    def on_share(self, model: Any, x0: Tensor, labels: Tensor | None, rng: Generator, share: Share) -> Tensor:
        """As a call, for these items of the batch; where the loss is `shared`, rng is the whole batch's."""
        return self(model, x0, labels, rng)

    def adapt(self, model: Any, x0: Tensor, labels: Tensor | None, rng: Generator) -> None:
        """Looks at the model on a batch, every `every` training steps; what is seen is kept in buffers."""

    @property
    def flight(self) -> float | None:
        """How long it flies along the model's own field: beyond a quarter of a period it learns something smoother than
        the score. None for a loss that does not.
        """
        return None

    def facts(self, model: Any) -> dict[str, float]:
        """Numbers for the log, under their names there: what `adapt` has decided."""
        return {}
