"""Tensor files: safetensors with a description and a checksum of both, so damage is noticed and nothing is executed."""

import hashlib
import json
import struct
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from hgfctl.errors import HgfctlError, RequestError
from hgfctl.storage.atomic import replacing

if TYPE_CHECKING:
    from torch import Tensor

FORMAT = 1
"""Version of the files' content; a file of a later version is refused."""

CHECKSUM = 64
"""Characters of the SHA-256 that stands before the description."""


class Damaged(HgfctlError):
    """The file is not what was written."""


def save(path: Path, tensors: Mapping[str, "Tensor"], description: Mapping[str, Any]) -> None:
    """Writes tensors (of any device) and a JSON description, whole or not at all.

    Raises:
        HgfctlError: the file cannot be written.
    """
    from safetensors.torch import save as to_bytes

    text = json.dumps({"format": FORMAT, **description}, sort_keys=True)
    plain = {name: tensor.detach().cpu().contiguous() for name, tensor in tensors.items()}
    # One key: safetensors writes several in any order, and equal contents should be equal bytes.
    content = to_bytes(plain, metadata={"hgfctl": _checksum(plain, text) + text})
    with replacing(path) as partial:
        partial.write_bytes(content)


def load(path: Path) -> tuple[dict[str, "Tensor"], dict[str, Any]]:
    """The tensors (on the CPU) and the description.

    Raises:
        RequestError: no such file, or not a file of hgfctl's.
        Damaged: truncated or altered.
    """
    from safetensors import SafetensorError
    from safetensors.torch import load as from_bytes

    try:
        content = path.read_bytes()
    except OSError as error:
        raise RequestError(f"cannot read {path}: {error.strerror}") from None
    try:
        tensors = from_bytes(content)
    except (SafetensorError, ValueError, KeyError) as error:
        if path.suffix != ".safetensors":
            raise RequestError(f"{path} is no checkpoint: those are .safetensors files of hgfctl's") from None
        raise Damaged(f"{path} is damaged or no safetensors file ({_first_line(error)})") from None
    metadata = _metadata(content)
    if "hgfctl" not in metadata:
        raise RequestError(f"{path} holds tensors, but was not written by hgfctl")
    checksum, text = metadata["hgfctl"][:CHECKSUM], metadata["hgfctl"][CHECKSUM:]
    if _checksum(tensors, text) != checksum:
        raise Damaged(f"{path} is damaged: its content does not match its checksum")
    description = json.loads(text)
    if description["format"] > FORMAT:
        raise RequestError(f"{path} was written by a later hgfctl (format {description['format']}); upgrade hgfctl")
    return tensors, description


def description(path: Path) -> dict[str, Any]:
    """The description alone, read without the tensors and without checking them; empty for a damaged file."""
    try:
        parsed: dict[str, Any] = json.loads(_own_metadata(path)[CHECKSUM:])
    except ValueError:
        return {}
    return parsed


def checksum(path: Path) -> str:
    """The SHA-256 that a file gives for its content, read without checking it; empty for a damaged file or none."""
    return _own_metadata(path)[:CHECKSUM]


def _own_metadata(path: Path) -> str:
    """Checksum and description of a file, read without the tensors; empty where there are none."""
    try:
        with path.open("rb") as file:
            (length,) = struct.unpack("<Q", file.read(8))
            return str(json.loads(file.read(length))["__metadata__"]["hgfctl"])
    except (OSError, ValueError, KeyError, struct.error, MemoryError, OverflowError):
        return ""


def _metadata(content: bytes) -> dict[str, str]:
    (length,) = struct.unpack("<Q", content[:8])
    metadata: dict[str, str] = json.loads(content[8 : 8 + length]).get("__metadata__", {})
    return metadata


def _checksum(tensors: Mapping[str, "Tensor"], description: str) -> str:
    import torch

    digest = hashlib.sha256(description.encode())
    for name in sorted(tensors):
        tensor = tensors[name]
        digest.update(f"{name} {tensor.dtype} {tuple(tensor.shape)}\n".encode())
        digest.update(tensor.reshape(-1).view(torch.uint8).numpy().data)
    return digest.hexdigest()


def _first_line(error: Exception) -> str:
    return (str(error).splitlines() or [type(error).__name__])[0]
