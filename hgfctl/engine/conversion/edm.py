"""EDM's networks (Karras et al. 2022, arXiv 2206.00364): which of ours they are, and what has to be changed.

What their preconditioning makes of the raw network F, and what our models ask of a network:

    EDMPrecond      F estimates (sigma x0 / sd - sd z) / sqrt(sd^2 + sigma^2), and `hvp` asks for minus that
    VPPrecond       x0 = y - sigma F: F is the noise that `noise-predictor` asks for
    iDDPMPrecond    the same, in the first half of the output's channels
    VEPrecond       x0 = y + sigma F: minus the noise

A sign, and half of the channels, are taken from the last convolution, exactly.
"""

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from hgfctl.engine.conversion.facts import Facts
from hgfctl.engine.conversion.snapshot import Record
from hgfctl.engine.models.networks.unet_layers import BINOMIAL, BOX
from hgfctl.errors import printable, unknown
from hgfctl.storage.inert_pickle import Unreadable

AUGMENTED = 9
"""Augmentation labels of EDM's own recipe, which `geometric` gives."""
SD = 0.5
"""Root mean square of the images that networks without a stated one were trained on."""


@dataclass(frozen=True)
class Converted:
    """A network of a file as one of ours.

    Args:
        architecture: in a word.
        preconditioning: the class that did it.
        model, network: as in a preset.
        sd: root mean square of the data.
        shape: of an image.
        classes: number of classes; 0 for none.
        augmented: whether it was told how images were augmented.
        tensors: by the names of our network's state dict; with others, which it does not have.
    """

    architecture: str
    preconditioning: str
    model: dict[str, Any]
    network: dict[str, Any]
    sd: float
    shape: tuple[int, ...]
    classes: int
    augmented: bool
    tensors: dict[str, Tensor]


def converted(ema: Record) -> Converted:
    """The network of a snapshot.

    Raises:
        Unreadable: a network or a preconditioning that we do not have, or not the parts or numbers that it has to have.
    """
    if ema.kind not in PRECONDITIONING:
        raise Unreadable(str(unknown("preconditioning", printable(ema.kind), [*PRECONDITIONING, "Precond"])))
    own = Facts(ema.state, ema.kind)
    raw = ema.part("model")
    if raw.kind not in NETWORKS:
        raise Unreadable(str(unknown("network", printable(raw.kind), NETWORKS)))
    made_with = raw.state.get("_init_kwargs")
    if not isinstance(made_with, dict) or raw.state.get("_init_args"):
        raise Unreadable(f"a {raw.kind} does not say what it was made with")
    facts = Facts(made_with, raw.kind)
    side, channels = facts.whole("img_resolution", least=1, most=4096), facts.whole("in_channels", least=1, most=64)
    network = NETWORKS[raw.kind](facts, side)
    architecture = network.get("architecture", network["name"])
    head = f"dec.{side}x{side}_aux_conv" if network["name"] == "unet" else "out_conv"
    sign, model, sd = PRECONDITIONING[ema.kind](own)
    tensors = dict(raw.tensors())
    for part in (f"{head}.weight", f"{head}.bias"):
        if part not in tensors:
            raise Unreadable(f"a {raw.kind} lacks {part}")
        tensors[part] = sign * tensors[part][:channels]
    return Converted(
        architecture=architecture,
        preconditioning=ema.kind,
        model=model,
        network=network,
        sd=sd,
        shape=(channels, side, side),
        classes=facts.whole("label_dim", 0, most=100_000),
        augmented=facts.whole("augment_dim", 0) == AUGMENTED,
        tensors=_with_checked_filters(tensors, BINOMIAL if architecture == "ncsn++" else BOX),
    )


def _edm(own: Facts) -> tuple[int, dict[str, Any], float]:
    return -1, {"name": "hvp"}, own.number("sigma_data")


def _vp(own: Facts) -> tuple[int, dict[str, Any], float]:
    clock = {"name": "vp", "M": own.whole("M", most=100_000)}
    clock |= {name: own.number(name) for name in ("beta_d", "beta_min", "epsilon_t")}
    return 1, {"name": "noise-predictor", "clock": clock}, SD


def _ve(own: Facts) -> tuple[int, dict[str, Any], float]:
    clock = {"name": "ve", **{name: own.number(name) for name in ("sigma_min", "sigma_max")}}
    return -1, {"name": "noise-predictor", "clock": clock}, SD


def _iddpm(own: Facts) -> tuple[int, dict[str, Any], float]:
    clock = {"name": "iddpm", "M": own.whole("M", most=100_000), **{name: own.number(name) for name in ("C_1", "C_2")}}
    return 1, {"name": "noise-predictor", "clock": clock}, SD


PRECONDITIONING = {"EDMPrecond": _edm, "VPPrecond": _vp, "VEPrecond": _ve, "iDDPMPrecond": _iddpm}
"""Class -> what is taken of the network's output, our model, the data's root mean square."""

STYLES = {
    ("positional", 1, "standard", "standard", BOX): "ddpm++",
    ("fourier", 2, "residual", "standard", BINOMIAL): "ncsn++",
}
"""Embedding, its width, encoder, decoder, resampling filter -> architecture."""


def _song(facts: Facts, side: int) -> dict[str, Any]:
    style = (
        facts.text("embedding_type", "positional"),
        facts.whole("channel_mult_noise", 1),
        facts.text("encoder_type", "standard"),
        facts.text("decoder_type", "standard"),
        facts.wholes("resample_filter", BOX),
    )
    if style not in STYLES:
        raise Unreadable(f"a SongUNet with {', '.join(map(str, style))} is neither DDPM++ nor NCSN++")
    return {"name": "unet", "architecture": STYLES[style], **_sizes(facts, side, 128, (1, 2, 2, 2), 4, (16,))}


def _dhariwal(facts: Facts, side: int) -> dict[str, Any]:
    return {"name": "adm", **_sizes(facts, side, 192, (1, 2, 3, 4), 3, (32, 16, 8))}


def _sizes(
    facts: Facts, side: int, channels: int, mult: tuple[int, ...], blocks: int, attention: tuple[int, ...]
) -> dict[str, Any]:
    channel_mult = facts.wholes("channel_mult", mult, least=1, most=64)
    if not channel_mult:
        raise Unreadable(f"a {facts.of} without levels")
    heights = [side >> level for level in range(len(channel_mult))]
    return {
        "model_channels": facts.whole("model_channels", channels, least=4, most=4096),
        "channel_mult": list(channel_mult),
        "channel_mult_emb": facts.whole("channel_mult_emb", 4, least=1, most=64),
        "num_blocks": facts.whole("num_blocks", blocks, most=64),
        "attn_resolutions": [r for r in facts.wholes("attn_resolutions", attention) if r in heights],
        "dropout": facts.number("dropout", 0.1),
        "label_dropout": facts.number("label_dropout", 0.0),
    }


NETWORKS = {"SongUNet": _song, "DhariwalUNet": _dhariwal}
"""Class -> the network of ours, as in a preset."""


def _with_checked_filters(tensors: dict[str, Tensor], taps: tuple[int, ...]) -> dict[str, Tensor]:
    row = torch.tensor(taps, dtype=torch.float32)
    wanted = (row.outer(row) / row.sum() ** 2)[None, None]
    for name, value in tensors.items():
        if name.endswith("resample_filter") and not (value.shape == wanted.shape and value.allclose(wanted)):
            raise Unreadable(f"{name} is not the filter {taps}")
    return tensors
