"""Data sets that torchvision knows how to read: small grey images with ten classes."""

import os
from pathlib import Path
from types import ModuleType
from typing import Literal

import torch

from hgfctl.engine.data.dataset import Items
from hgfctl.errors import HgfctlError, RequestError

_CLASSES = {"mnist": "MNIST", "fashion-mnist": "FashionMNIST", "kmnist": "KMNIST"}


def torchvision_set(
    dataset: Literal["mnist", "fashion-mnist", "kmnist"],
    split: Literal["train", "test"] = "train",
    download: bool = False,
) -> Items:
    """Data set `torchvision`: 28 x 28 images, padded to 32 x 32 (which halves evenly), with classes 0 ... 9.

    Args:
        dataset: which.
        split: train (60,000 images) or test (10,000).
        download: fetch it from its authors' site if it is not there (about 12 to 30 MB).

    Raises:
        RequestError: it is not on this machine and may not be fetched.
        HgfctlError: torchvision does not load, or the download fails.
    """
    root = Path(os.environ.get("HGFCTL_DATA", "~/.cache/hgfctl/data")).expanduser()
    kind = getattr(require_torchvision().datasets, _CLASSES[dataset])
    try:
        source = kind(root, train=split == "train", download=download)
    except RuntimeError as error:
        if download:
            raise HgfctlError(f"cannot fetch {dataset} from {kind.mirrors[0]}: {error}") from None
        folder = root / kind.__name__ / "raw"
        raise RequestError(
            f"{dataset} is not in {folder}; `data.download=true` fetches it from {kind.mirrors[0]}\n"
            f"by hand: put {', '.join(name for name, _ in kind.resources)} there, unpacked"
        ) from None
    return Items(torch.nn.functional.pad(source.data.unsqueeze(1), (2, 2, 2, 2)), source.targets)


def require_torchvision() -> ModuleType:
    """torchvision with its datasets, imported now.

    Raises:
        HgfctlError: it does not fit the installed torch; in one line.
    """
    try:
        import torchvision
        import torchvision.datasets
    except (ImportError, RuntimeError, OSError) as error:
        reason = (str(error).splitlines() or [type(error).__name__])[0]
        raise HgfctlError(
            f"torchvision cannot be loaded beside torch {torch.__version__} ({reason}); "
            "install both from one place: pip install --force-reinstall torch torchvision"
        ) from None
    loaded: ModuleType = torchvision
    return loaded
