"""Snapshots in the layout of EDM's, written with inert classes of our own: no line of EDM's is needed.

What EDM pickles is a call of `torch_utils.persistence._reconstruct_persistent_obj`, which would execute the source code
that it is given. The source code in here writes a file when it is executed.
"""

import pickle
import sys
from collections import OrderedDict
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

RAN = "a-snapshot-was-run"
"""Appears in the working folder when something of a snapshot is executed."""
SOURCE = f"open({RAN!r}, 'w').close()"


def _reconstruct_persistent_obj(meta: dict[str, Any]) -> None:
    raise AssertionError("a snapshot was run")


class Persistent:
    """An object as EDM writes it."""

    def __init__(self, kind: str, state: Mapping[str, Any]) -> None:
        self.meta = {
            "type": "class", "version": 6, "module_src": SOURCE, "class_name": kind, "state": dict(state)
        }  # fmt: skip

    def __reduce__(self) -> tuple[Any, ...]:
        return _reconstruct_persistent_obj, (self.meta,), None


def module(
    kind: str, tensors: Mapping[str, Tensor], children: Mapping[str, Any] | None = None, **attributes: Any
) -> Any:
    """A module with tensors by the names of its state dict; those of enc and dec lie in ModuleDicts, as EDM's do."""
    own = {name: value for name, value in tensors.items() if "." not in name}
    below: dict[str, dict[str, Tensor]] = {}
    for name, value in tensors.items():
        part, dot, rest = name.partition(".")
        if dot:
            below.setdefault(part, {})[rest] = value
    buffers = {name: value for name, value in own.items() if name in ("resample_filter", "freqs", "u", "phases")}
    state = {
        "training": False,
        "_parameters": {
            **{name: _parameter(value) for name, value in own.items() if name not in buffers},
            "absent": None,
        },
        "_buffers": buffers,
        "_non_persistent_buffers_set": set(),
        "_forward_hooks": OrderedDict(),
        "_modules": {
            **{
                name: _dict_of(part) if name in ("enc", "dec") else module("Part", part) for name, part in below.items()
            },
            **(children or {}),
        },
        **attributes,
    }
    return Persistent(kind, state)


def _parameter(value: Tensor) -> nn.Parameter:
    return value if isinstance(value, nn.Parameter) else nn.Parameter(value, requires_grad=False)


def _dict_of(tensors: Mapping[str, Tensor]) -> nn.ModuleDict:
    names = dict.fromkeys(name.partition(".")[0] for name in tensors)
    made = nn.ModuleDict()
    for part in names:
        own = {name.partition(".")[2]: value for name, value in tensors.items() if name.startswith(f"{part}.")}
        made._modules[part] = module("UNetBlock", own, skip_scale=np.sqrt(0.5))  # type: ignore[assignment]
    return made


def network(kind: str, tensors: Mapping[str, Tensor], shape: tuple[int, ...], classes: int, **made_with: Any) -> Any:
    """A raw network: SongUNet or DhariwalUNet."""
    kwargs = {"img_resolution": shape[1], "in_channels": shape[0], "out_channels": shape[0], "label_dim": classes}
    return module(kind, tensors, _init_args=(), _init_kwargs={**kwargs, **made_with})


def snapshot(preconditioning: str, raw: Any, **attributes: Any) -> dict[str, Any]:
    """What the file holds."""
    return {
        "ema": module(preconditioning, {}, {"model": raw}, use_fp16=False, _init_args=(), **attributes),
        "loss_fn": Persistent("EDMLoss", {"P_mean": -1.2, "P_std": 1.2, "sigma_data": 0.5}),
        "augment_pipe": Persistent("AugmentPipe", {"p": 0.12, "xflip": 1e8}),
        "dataset_kwargs": {"class_name": "training.dataset.ImageFolderDataset", "path": "datasets/pictures.zip"},
    }


class EasyDict(dict[str, Any]):
    """What EDM2 writes in place of a dictionary."""


def edm2_snapshot(raw: Any, encoder: str = "StandardRGBEncoder") -> dict[str, Any]:
    """What the file of EDM2 holds."""
    parts = {"unet": raw, "logvar_linear": module("MPConv", {"weight": torch.zeros(1, 128)})}
    content = EasyDict(encoder=Persistent(encoder, {"init": None}), dataset_kwargs=EasyDict(path="datasets/img64.zip"))
    content["loss_fn"] = Persistent("EDM2Loss", {"P_mean": -0.8, "P_std": 1.6, "sigma_data": 0.5})
    content["ema"] = module("Precond", {}, parts, use_fp16=True, sigma_data=0.5, _init_args=())
    return content


def dumps(content: Any, protocol: int = 4) -> bytes:
    """The bytes of the file."""
    with _as_edm_names_it():
        return pickle.dumps(content, protocol)


def write(path: Path, content: Any) -> Path:
    """The file."""
    path.write_bytes(dumps(content))
    return path


@contextmanager
def _as_edm_names_it() -> Iterator[None]:
    places = {_reconstruct_persistent_obj: "torch_utils.persistence", EasyDict: "dnnlib.util"}
    ours = {thing: thing.__module__ for thing in places}
    invented: dict[str, ModuleType] = {}
    for thing, place in places.items():
        invented[place.partition(".")[0]] = ModuleType(place.partition(".")[0])
        invented[place] = ModuleType(place)
        setattr(invented[place], thing.__name__, thing)
        thing.__module__ = place
    sys.modules |= invented
    try:
        yield
    finally:
        for thing, place in ours.items():
            thing.__module__ = place
        for name in invented:
            del sys.modules[name]
