"""From a snapshot to a checkpoint of ours."""

import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from hgfctl.config import Config
from hgfctl.engine.compatibility import with_defaults
from hgfctl.engine.conversion import edm, edm2
from hgfctl.engine.conversion.edm import Converted
from hgfctl.engine.conversion.snapshot import read
from hgfctl.engine.models.hvp import parameter_count
from hgfctl.engine.parts import fresh_network
from hgfctl.errors import RequestError, printable
from hgfctl.presets import configuration
from hgfctl.storage import tensor_files
from hgfctl.storage.inert_pickle import Unreadable
from hgfctl.version import __version__


@dataclass(frozen=True)
class Checkpoint:
    """The checkpoint that was written.

    Args:
        network: that it came from.
        config: of the checkpoint.
        parameters: how many numbers the weights are.
        forgotten: entries of the network that ours has no place for.
    """

    network: Converted
    config: Config
    parameters: int
    forgotten: tuple[str, ...]


def convert(path: Path, out: Path) -> Checkpoint:
    """Writes the EMA network of EDM's snapshot at `path` as a checkpoint at `out`; nothing of the file is run.

    Raises:
        RequestError: no snapshot, damaged, hostile, or of a network that we do not have. Nothing is written.
        HgfctlError: it cannot be written.
    """
    entries = read(path)
    try:
        ema = entries["ema"]
        later = ema.kind == edm2.PRECONDITIONING
        network = edm2.converted(ema, entries.get("encoder")) if later else edm.converted(ema)
        config = _config(path, network, entries)
        tensors, forgotten, parameters = _fitted(network, config, path.stat().st_size)
    except (Unreadable, RequestError) as error:
        raise RequestError(f"{path} cannot be converted: {error}") from None
    description = {
        "kind": config.model.name,
        "version": __version__,
        "config": config.model_dump(mode="json"),
        "shape": list(network.shape),
        "classes": network.classes,
        "step": 0,
        "images": _images_seen(path),
        "converted": {"from": path.name, "network": network.architecture, "preconditioning": network.preconditioning},
    }
    tensor_files.save(out, tensors, description)
    return Checkpoint(network, config, parameters, forgotten)


def _config(path: Path, network: Converted, entries: dict[str, Any]) -> Config:
    trained_on = entries.get("dataset_kwargs")
    source = trained_on.get("path") if isinstance(trained_on, dict) else None
    named = Path(printable(source)).name if isinstance(source, str) else ""
    data = {"name": "folder", "path": named or "training-data.zip"}
    tree: dict[str, Any] = {
        "preset": re.sub(r"[^\w.-]", "-", path.stem),
        "description": f"{network.architecture} of {printable(path.name)}, {network.preconditioning}",
        "data": {**data, "resolution": network.shape[1], "labels": bool(network.classes), "origin": ORIGIN},
        "augment": {"name": "geometric"} if network.augmented else None,
        "model": network.model,
        "flow": {"name": "diffusion", "sd": network.sd},
        "network": network.network,
        "train": {"images": max(_images_seen(path), 1)},
    }
    return with_defaults(configuration(tree, str(path)))


def _fitted(network: Converted, config: Config, size: int) -> tuple[dict[str, Tensor], tuple[str, ...], int]:
    """The tensors that our network wants, float32, checked; the names of the others; how many parameters they make."""
    try:
        with torch.device("meta"):
            empty = fresh_network(config, network.shape, network.classes)
    except (RuntimeError, ZeroDivisionError) as error:
        raise Unreadable(f"no network has the stated sizes ({printable(str(error))})") from None
    wanted, found = empty.state_dict(), network.tensors
    if sum(value.numel() * value.element_size() for value in found.values()) > size:
        raise Unreadable("its weights are parts of one another: they would be more numbers than the file holds")
    for name, blank in wanted.items():
        if name not in found:
            raise Unreadable(f"a {network.architecture} of the stated sizes has {name}, and the file does not")
        value = found[name]
        if value.shape != blank.shape or not value.is_floating_point():
            raise Unreadable(f"{name} is {_kind(value)}, and is to be {tuple(blank.shape)}")
        if not value.isfinite().all():
            raise Unreadable(f"{name} holds NaN or infinity")
    forgotten = tuple(sorted(printable(name) for name in found if name not in wanted))
    surplus = [name for name in forgotten if not name.endswith(FORGETTABLE)]
    if surplus:
        raise Unreadable(f"it has {surplus[0]}, and a {network.architecture} of the stated sizes does not")
    return {name: found[name].float() for name in wanted}, forgotten, parameter_count(empty)


ORIGIN = "that is what the snapshot says it was trained on; name other data"

FORGETTABLE = ("resample_filter", "map_augment.weight")
"""Constants, and what says nothing where images are as they were."""


def _kind(value: Tensor) -> str:
    return f"{str(value.dtype).removeprefix('torch.')} of shape {tuple(value.shape)}"


def _images_seen(path: Path) -> int:
    """Images seen, which EDM writes in thousands into the names of its snapshots; 0 where it does not."""
    match = re.fullmatch(r"network-snapshot-(\d{6,9})(-\d+\.\d+)?", path.stem)
    return 1000 * int(match[1]) if match else 0
