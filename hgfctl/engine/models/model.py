"""The base class of models: a network with a meaning, and how that meaning is sampled."""

from collections.abc import Callable
from typing import Any, ClassVar, Self

from torch import Tensor, nn

from hgfctl.engine.flows.flow import Flow
from hgfctl.errors import RequestError

Field = Callable[[Tensor, Tensor | None], Tensor]
"""A score field F(x, labels): x (B, *D), labels (B,) or None -> (B, *D)."""

OF_FLOW = "flow/"
"""Before the names of a checkpoint's tensors that belong to the flow rather than to the network."""


class Model(nn.Module):
    """A network N with its preconditioner; see `hgfctl.engine.models`.

    A subclass says by which kinds of sampler it is sampled, and what else it can be read as; what it cannot, the
    methods here refuse.
    """

    described: ClassVar[str]
    """Its name in messages, such as "a score"."""
    samplers: ClassVar[tuple[str, ...]]
    """Kinds of sampler that it admits (`hgfctl.engine.sampling.SAMPLERS`); `auto` is the first."""
    linear_only: ClassVar[bool] = False
    """True where its flow has to be a linear one."""
    exchanges_networks: ClassVar[bool] = False
    """True where its network sees and says what those of all other such models do, so that each can start from each."""

    network: nn.Module
    flow: Flow | None = None
    """The flow whose velocities it predicts, if it does."""

    @classmethod
    def is_followed(cls) -> bool:
        """Says whether solvers follow it: it is, or is equal to, an HVP; see `as_hvp`."""
        return "flow" in cls.samplers

    @property
    def root_mean_square(self) -> float:
        """Root mean square of its data per coordinate."""
        raise NotImplementedError

    def score_field(self, sigma: float | None = None) -> Field:
        """The score field that it knows.

        Args:
            sigma: noise level; None for the score of the data themselves.

        Raises:
            RequestError: it knows one of the two only, and the other was asked for, or a level out of its reach.
        """
        raise NotImplementedError

    def loss_scale(self, numbers: int) -> float:
        """The size of the loss of an item of so many numbers, where answers are as large as the right ones, roughly."""
        return 1.0

    def as_hvp(self) -> Any:
        """The `HVP` that it is, or is equal to.

        Raises:
            RequestError: there is none. The message goes on from the model's name: "is a score, not an HVP ...".
        """
        raise RequestError(f"is {self.described}, not an HVP; it can be evaluated and sampled all the same")

    def under(self, flow: Flow) -> Self:
        """The same network as the predictor of another linear flow of the same data, exactly.

        Raises:
            RequestError: it predicts no velocity.
        """
        raise RequestError(f"this model is {self.described}, which predicts no velocity of {flow}")

    def tensors(self) -> dict[str, Tensor]:
        """All tensors of a checkpoint: the network's, and what its flow has measured under `OF_FLOW`."""
        of_flow = self.flow.tensors() if self.flow is not None else {}
        return {**self.network.state_dict(), **{OF_FLOW + name: tensor for name, tensor in of_flow.items()}}


def require_noise_level(sigma: float | None) -> float:
    """The noise level that a model of noised data is asked for.

    Raises:
        RequestError: none is named.
    """
    if sigma is None:
        raise RequestError("this model knows the score of noised data; `noise=0.1` says at which noise level")
    return sigma
