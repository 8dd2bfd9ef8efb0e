"""EDM2's networks (Karras et al. 2024, arXiv 2312.02696): preconditioned as EDM's are, stored in float16.

The sign that `hvp` asks for is taken from the gain of the output. A gain is divided by the root of its layer's number
of inputs, which EDM2's program does in the precision of the file: in float16 this moves outputs by 3e-4, and what comes
out there is what these networks were measured with. The gains are rounded in the same way here.
"""

import math
from typing import Any

from torch import Tensor

from hgfctl.engine.conversion.edm import Converted
from hgfctl.engine.conversion.facts import Facts
from hgfctl.engine.conversion.snapshot import Record
from hgfctl.storage.inert_pickle import Unreadable

PRECONDITIONING = "Precond"
LATENTS = "StabilityVAEEncoder"
FIXED: dict[str, Any] = {"resample_filter": (1, 1), "channels_per_head": 64, "clip_act": 256}
"""Arguments that our network has no choice of."""


def converted(ema: Record, encoder: Any) -> Converted:
    """The network of a snapshot.

    Args:
        ema: of class PRECONDITIONING.
        encoder: what the snapshot says of the form of its images.

    Raises:
        Unreadable: it models latents, is of a variant that we do not have, or has not the parts that it has to have.
    """
    if isinstance(encoder, Record) and encoder.kind == LATENTS:
        raise Unreadable("it models the latents of Stable Diffusion's autoencoder, not images")
    raw = ema.part("unet")
    made_with = raw.state.get("_init_kwargs")
    if raw.kind != "UNet" or not isinstance(made_with, dict) or raw.state.get("_init_args"):
        raise Unreadable("EDM2's network is to be a UNet that says what it was made with")
    facts = Facts(made_with, raw.kind)
    for name, value in FIXED.items():
        given = made_with.get(name, value)
        if (tuple(given) if isinstance(given, list) else given) != value:
            raise Unreadable(f"a UNet with another {name} than {value} is not one that hgfctl has")
    side, channels = facts.whole("img_resolution", least=1, most=4096), facts.whole("img_channels", least=1, most=64)
    network: dict[str, Any] = {
        "name": "edm2",
        "model_channels": facts.whole("model_channels", 192, least=1, most=4096),
        "channel_mult": list(facts.wholes("channel_mult", (1, 2, 3, 4), least=1, most=64)),
        "num_blocks": facts.whole("num_blocks", 3, most=64),
        "attn_resolutions": list(facts.wholes("attn_resolutions", (16, 8))),
        "dropout": facts.number("dropout", 0.0),
    }
    if not network["channel_mult"]:
        raise Unreadable("a UNet without levels")
    for name, usual in {"label_balance": 0.5, "concat_balance": 0.5, "res_balance": 0.3, "attn_balance": 0.3}.items():
        network[name] = facts.number(name, usual)
    for name in ("channel_mult_noise", "channel_mult_emb"):
        if made_with.get(name) is not None:
            network[name] = facts.whole(name, least=1, most=64)
    tensors = dict(raw.tensors())
    if "out_gain" not in tensors:
        raise Unreadable("a UNet lacks out_gain")
    tensors |= _rounded_gains(tensors)
    tensors["out_gain"] = -tensors["out_gain"]
    return Converted(
        architecture="edm2",
        preconditioning=ema.kind,
        model={"name": "hvp"},
        network=network,
        sd=Facts(ema.state, ema.kind).number("sigma_data"),
        shape=(channels, side, side),
        classes=facts.whole("label_dim", 0, most=100_000),
        augmented=False,
        tensors=tensors,
    )


def _rounded_gains(tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    """The gains g as sqrt(n) times what g / sqrt(n) is in the type of g; n, the inputs of the layer that each is of."""
    layers = {"out_gain": "out_conv.weight"}
    layers |= {name: name.replace("emb_gain", "emb_linear.weight") for name in tensors if name.endswith(".emb_gain")}
    rounded = {}
    for gain, layer in layers.items():
        inputs = math.sqrt(math.prod(tensors[layer].shape[1:])) if layer in tensors else 1.0
        rounded[gain] = (tensors[gain] / inputs).double() * inputs if inputs else tensors[gain]
    return rounded
