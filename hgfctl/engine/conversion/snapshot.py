"""EDM's and EDM2's snapshots: pickles whose objects are records of class name, state and source code, never run.

Every object is written as a call of `torch_utils.persistence._reconstruct_persistent_obj` with a dictionary of type,
version, module_src, class_name and state. Here that call makes a record of class name and state; the source is dropped.
"""

import mmap
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from torch import Tensor

from hgfctl.engine.conversion.storages import storage, strided
from hgfctl.errors import RequestError, printable
from hgfctl.storage.arrays_pickle import DType, scalar
from hgfctl.storage.inert_pickle import Calls, States, Unreadable, load

MOST_PARTS = 20_000
"""Modules below a network; the largest published one has under 2,000."""


@dataclass
class Record:
    """An object of the file: the name of its class, and its attributes."""

    kind: str
    state: dict[str, Any] = field(default_factory=dict)

    def part(self, name: str) -> "Record":
        """A module directly below this one.

        Raises:
            Unreadable: there is none of this name.
        """
        found = dict(_entries(self, "_modules")).get(name)
        if not isinstance(found, Record):
            raise Unreadable(f"a {printable(self.kind)} has no network '{name}'")
        return found

    def tensors(self, prefix: str = "") -> Iterator[tuple[str, Tensor]]:
        """Parameters and buffers of a module and those below it, by their names in its state dict.

        Raises:
            Unreadable: not a module, or one that contains itself.
        """
        todo = [(prefix, self)]
        for _ in range(MOST_PARTS):
            if not todo:
                return
            prefix, module = todo.pop()
            for name, value in _entries(module, "_parameters") + _entries(module, "_buffers"):
                if isinstance(value, Tensor):
                    yield prefix + name, value
                elif value is not None:
                    raise Unreadable(f"{printable(prefix + name)} is a {type(value).__name__}, not a tensor")
            for name, part in _entries(module, "_modules"):
                if isinstance(part, Record):
                    todo.append((f"{prefix}{name}.", part))
                elif part is not None:
                    raise Unreadable(f"{printable(prefix + name)} is a {type(part).__name__}, not a module")
        raise Unreadable(f"a network of more than {MOST_PARTS} parts")


PICKLES = (b"\x80", b"(", b"}", b"]", b"c")
"""How pickles begin, in protocols from 2 on, and in older ones."""


def read(path: Path) -> dict[str, Any]:
    """The entries of a snapshot: `ema` is a record of a network.

    Raises:
        RequestError: no such file, no snapshot, or one that names anything else; nothing of it has run.
    """
    kind = "no snapshot of EDM's"
    try:
        with path.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as content:
            kind = "no snapshot of EDM's" if content[:1] in PICKLES else "no snapshot of EDM's, and hardly a pickle"
            entries = load(content, CALLS, STATES)
    except OSError as error:
        raise RequestError(f"cannot read {path}: {error.strerror}") from None
    except (Unreadable, ValueError) as error:  # an empty file cannot be mapped
        raise RequestError(f"{path} is {kind}: {error}\nnothing of it has been run") from None
    if not isinstance(entries, dict) or not isinstance(entries.get("ema"), Record):
        raise RequestError(f"{path} is no snapshot of EDM's: it holds no network 'ema'")
    return entries


def _entries(module: Record, place: str) -> list[tuple[str, Any]]:
    found = module.state.get(place)
    if not isinstance(found, dict) or not all(isinstance(name, str) for name in found):
        raise Unreadable(f"a {printable(module.kind)} is no module: it has no {place}")
    return list(found.items())


def _persistent(meta: Any) -> Record:
    if not isinstance(meta, dict) or not isinstance(meta.get("class_name"), str):
        raise Unreadable("a persistent object has no class name")
    state = meta.get("state")
    if not isinstance(state, dict | None):
        raise Unreadable(f"the state of a {printable(meta['class_name'])} is no dictionary")
    return Record(meta["class_name"], state or {})


def _parameter(data: Any, *_: Any) -> Tensor:
    if not isinstance(data, Tensor):
        raise Unreadable("a parameter is not a tensor")
    return data


def _module_dict() -> Record:
    return Record("ModuleDict")


def _set_state(record: Record, state: Any) -> None:
    if record.kind != "ModuleDict" or record.state or not isinstance(state, dict):
        raise Unreadable(f"it sets the state of a {printable(record.kind)}")
    record.state = state


def _dictionary() -> dict[str, Any]:
    return {}


CALLS: Calls = {
    "torch_utils.persistence._reconstruct_persistent_obj": _persistent,
    "torch.nn.modules.container.ModuleDict": _module_dict,
    "torch._utils._rebuild_parameter": _parameter,
    "torch._utils._rebuild_tensor_v2": strided,
    "torch.storage._load_from_bytes": storage,
    "collections.OrderedDict": _dictionary,
    "dnnlib.util.EasyDict": _dictionary,
    "numpy.dtype": DType,
    "numpy.core.multiarray.scalar": scalar,
    "numpy._core.multiarray.scalar": scalar,
}
STATES: States = {DType: DType.set_state, Record: _set_state}
