"""A plain multilayer perceptron, for score fields of vectors."""

from itertools import pairwise

from torch import Tensor, nn

from hgfctl.engine.models.networks.network import Network
from hgfctl.engine.provided import ClassCount, ItemShape


class Perceptron(Network):
    """Linear layers with SiLU between them, d - width - ... - width - d. It looks at neither noise level nor class.

    Args:
        shape: (d,), the shape of x.
        classes: number of classes; 0 for none.
        width: of the hidden layers.
        depth: how many of them.
    """

    def __init__(self, shape: ItemShape, classes: ClassCount, width: int = 64, depth: int = 2) -> None:
        super().__init__()
        if len(shape) != 1:
            raise ValueError(f"it takes vectors, and the data's items have shape {shape}; use the unet")
        if classes:
            raise ValueError("it is not conditional, and the data have classes; use the mlp")
        widths = [shape[0], *[width] * depth, shape[0]]
        layers: list[nn.Module] = []
        for before, after in pairwise(widths):
            layers += [nn.Linear(before, after), nn.SiLU()]
        self.layers = nn.Sequential(*layers[:-1])

    def forward(
        self, x: Tensor, noise: Tensor, labels: Tensor | None = None, augmented: Tensor | None = None
    ) -> Tensor:
        """x (B, d) -> (B, d)."""
        y: Tensor = self.layers(x)
        return y
