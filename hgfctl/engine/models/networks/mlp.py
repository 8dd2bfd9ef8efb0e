"""A residual multilayer perceptron for vectors."""

from torch import Tensor, nn
from torch.nn.functional import silu

from hgfctl.engine.models.networks.embeddings import CoordinateFeatures, PositionalEmbedding, shown
from hgfctl.engine.models.networks.network import Network
from hgfctl.engine.provided import ClassCount, ItemShape


class MLP(Network):
    """Residual blocks h + W2 silu(W1 silu(h) + emb), with emb from noise level and class.

    Args:
        shape: (d,), the shape of x.
        classes: number of classes; 0 for none.
        width: of the hidden layers.
        blocks: how many.
        harmonics: Fourier features of each coordinate, for data with sharp edges; 0 for none.
        label_dropout: probability of hiding the class in training, for guidance.
        periodic: see the harmonics of each coordinate only, for data on a torus: a field without a seam.
    """

    def __init__(
        self,
        shape: ItemShape,
        classes: ClassCount,
        width: int = 128,
        blocks: int = 3,
        harmonics: int = 0,
        label_dropout: float = 0.0,
        periodic: bool = False,
    ) -> None:
        super().__init__()
        if len(shape) != 1:
            raise ValueError(f"it takes vectors, and the data's items have shape {shape}; use the unet")
        if periodic and not harmonics:
            raise ValueError("periodic leaves the harmonics of the coordinates, and there are none; harmonics=4")
        (dim,) = shape
        self.label_dropout = label_dropout
        self.features = CoordinateFeatures(harmonics, periodic)
        self.map_noise = PositionalEmbedding(64)
        self.map_label = nn.Embedding(classes, width) if classes else None
        self.map_layer0 = nn.Linear(64, width)
        self.map_layer1 = nn.Linear(width, width)
        self.enc = nn.Linear(self.features.width(dim), width)
        self.blocks = nn.ModuleList(_Block(width) for _ in range(blocks))
        self.dec = nn.Linear(width, dim)
        nn.init.zeros_(self.dec.weight)
        nn.init.zeros_(self.dec.bias)

    def forward(
        self, x: Tensor, noise: Tensor, labels: Tensor | None = None, augmented: Tensor | None = None
    ) -> Tensor:
        """x (B, d), noise (B,), labels (B,) or None (class unknown) -> (B, d)."""
        # ln(sigma)/4 spans about -1.6 ... 1.1; the positional embedding resolves steps of order 1.
        emb = self.map_layer0(self.map_noise(4 * noise))
        if self.map_label is not None and labels is not None:
            emb = emb + shown(self.map_label(labels), self.label_dropout if self.training else 0.0)
        emb = silu(self.map_layer1(silu(emb)))
        h = self.enc(self.features(x))
        for block in self.blocks:
            h = block(h, emb)
        y: Tensor = self.dec(silu(h))
        return y


class _Block(nn.Module):
    def __init__(self, width: int) -> None:
        super().__init__()
        self.affine = nn.Linear(width, width)
        self.layer0 = nn.Linear(width, width)
        self.layer1 = nn.Linear(width, width)
        nn.init.zeros_(self.layer1.weight)
        nn.init.zeros_(self.layer1.bias)

    def forward(self, h: Tensor, emb: Tensor) -> Tensor:
        change: Tensor = self.layer1(silu(self.layer0(silu(h)) + self.affine(emb)))
        return h + change
