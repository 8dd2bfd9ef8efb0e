"""The diffusion transformer (Peebles and Xie 2023, arXiv 2212.09748): an image as a sequence of patches."""

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn.functional import fold, layer_norm, scaled_dot_product_attention, silu, unfold

from hgfctl.engine.models.networks.conditioned import Conditioned
from hgfctl.engine.models.networks.embeddings import PositionalEmbedding
from hgfctl.engine.provided import AugmentedNumbers, ClassCount, ItemShape


class DiT(Conditioned):
    """Patches -> transformer blocks, each shifted, scaled and gated by the conditioning (adaLN-Zero) -> patches.

    Args:
        shape: (C, H, W); H and W divisible by `patch`.
        classes: number of classes; 0 for none.
        augment_dim: numbers that say how an image was augmented; 0 for none.
        patch: side of a patch, pixels; half of it makes four times as many tokens.
        width: of a token, divisible by `heads` and by 4.
        depth: blocks.
        heads: of the self-attention.
        mlp_ratio: width of a block's perceptron, as a multiple of `width`.
        dropout: probability of dropping an activation of the perceptrons.
        label_dropout: probability of hiding the class in training, for guidance.
    """

    can_recompute = True

    def __init__(
        self,
        shape: ItemShape,
        classes: ClassCount,
        augment_dim: AugmentedNumbers = 0,
        patch: int = 4,
        width: int = 384,
        depth: int = 12,
        heads: int = 6,
        mlp_ratio: int = 4,
        dropout: float = 0.0,
        label_dropout: float = 0.0,
    ) -> None:
        super().__init__()
        channels, height, columns = _image_shape(shape, patch)
        if width % heads or width % 4:
            raise ValueError(f"width must be divisible by heads ({heads}) and by 4, and {width} is not")
        self.classes, self.patch, self.label_dropout = classes, patch, label_dropout
        size = channels * patch**2
        self.map_noise = PositionalEmbedding(256)
        self.map_layer0 = _linear(256, width, 0.02)
        self.map_layer1 = _linear(width, width, 0.02)
        self.map_label = _linear(classes, width, 0.02) if classes else None
        self.map_augment = _linear(augment_dim, width, 0.02, bias=False) if augment_dim else None
        self.enc = _linear(size, width)
        self.register_buffer("position", grid_positions(height // patch, columns // patch, width), persistent=False)
        self.blocks = nn.ModuleList(DiTBlock(width, heads, mlp_ratio, dropout) for _ in range(depth))
        self.modulation = _linear(width, 2 * width, 0.0)
        self.dec = _linear(width, size, 0.0)

    position: Tensor

    def forward(
        self, x: Tensor, noise: Tensor, labels: Tensor | None = None, augmented: Tensor | None = None
    ) -> Tensor:
        """x (B, C, H, W), noise (B,), labels (B,) int64 or None (class unknown), augmented (B, augment_dim) or None
        (as it was) -> (B, C, H, W).
        """
        emb = self._embed(noise, labels, augmented)
        tokens = self.enc(unfold(x, self.patch, stride=self.patch).transpose(1, 2)) + self.position
        for block in self.blocks:
            tokens = self.run(block, tokens, emb)
        shift, scale = self.modulation(emb).unsqueeze(1).chunk(2, dim=2)
        patches = self.dec(_modulated(tokens, shift, scale)).transpose(1, 2)
        return fold(patches, x.shape[2:], self.patch, stride=self.patch)

    def _embed(self, noise: Tensor, labels: Tensor | None, augmented: Tensor | None) -> Tensor:
        # The embedding's frequencies are made for numbers up to 1000, and noise = ln(sigma) / 4 is of order 1.
        emb = self.map_layer1(silu(self.map_layer0(self.map_noise(100 * noise))))
        if self.map_label is not None:
            emb = emb + self.map_label(self.known_classes(labels, emb))
        return silu(self.with_augmentation(emb, augmented))


class DiTBlock(nn.Module):
    """h + gate_1 attention(norm(h)), then h + gate_2 mlp(norm(h)); shifts, scales and gates are linear in emb.

    All gates start at 0, so a fresh block is the identity.

    Args:
        width, heads, mlp_ratio, dropout: see `DiT`.
    """

    def __init__(self, width: int, heads: int, mlp_ratio: int, dropout: float) -> None:
        super().__init__()
        self.heads = heads
        self.modulation = _linear(width, 6 * width, 0.0)
        self.qkv = _linear(width, 3 * width)
        self.proj = _linear(width, width)
        self.layer0 = _linear(width, mlp_ratio * width)
        self.dropout = nn.Dropout(dropout)
        self.layer1 = _linear(mlp_ratio * width, width)

    def forward(self, h: Tensor, emb: Tensor) -> Tensor:
        """h (B, N, width), emb (B, width) -> (B, N, width)."""
        shift_0, scale_0, gate_0, shift_1, scale_1, gate_1 = self.modulation(emb).unsqueeze(1).chunk(6, dim=2)
        h = h + gate_0 * self._attention(_modulated(h, shift_0, scale_0))
        inner = nn.functional.gelu(self.layer0(_modulated(h, shift_1, scale_1)), approximate="tanh")
        change: Tensor = gate_1 * self.layer1(self.dropout(inner))
        return h + change

    def _attention(self, h: Tensor) -> Tensor:
        batch, count, width = h.shape
        q, k, v = self.qkv(h).reshape(batch, count, 3, self.heads, width // self.heads).permute(2, 0, 3, 1, 4)
        attended: Tensor = self.proj(scaled_dot_product_attention(q, k, v).transpose(1, 2).reshape(batch, count, width))
        return attended


def grid_positions(rows: int, columns: int, width: int) -> Tensor:
    """Sines and cosines of each patch's row and column: (rows * columns, width), row by row."""
    row, column = torch.meshgrid(torch.arange(rows), torch.arange(columns), indexing="ij")
    embed = PositionalEmbedding(width // 2)
    return torch.cat([embed(row.flatten().float()), embed(column.flatten().float())], dim=1)


def _modulated(h: Tensor, shift: Tensor, scale: Tensor) -> Tensor:
    return layer_norm(h, h.shape[-1:], eps=1e-6) * (1 + scale) + shift


def _linear(c_in: int, c_out: int, sd: float | None = None, bias: bool = True) -> nn.Linear:
    """Weights of standard deviation `sd`, or Glorot's uniform ones; no bias at the start."""
    layer = nn.Linear(c_in, c_out, bias)
    if sd is None:
        nn.init.xavier_uniform_(layer.weight)
    else:
        nn.init.normal_(layer.weight, std=sd)
    if bias:
        nn.init.zeros_(layer.bias)
    return layer


def _image_shape(shape: Sequence[int], patch: int) -> tuple[int, int, int]:
    if len(shape) != 3:
        raise ValueError(f"it takes images (C, H, W), and the data's items have shape {tuple(shape)}")
    channels, height, width = shape
    if patch < 1 or height % patch or width % patch:
        raise ValueError(f"patch {patch} does not divide {height} x {width}")
    return channels, height, width
