"""What a user names to be evaluated, or to be compared with: a checkpoint, data, features, statistics."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch

from hgfctl import presets
from hgfctl.engine.checkpoint import Checkpoint, read_checkpoint, with_flow
from hgfctl.engine.data import DATA
from hgfctl.engine.data.dataset import DataSet
from hgfctl.engine.data.files import admitted
from hgfctl.engine.data.locate import kind_of, locate
from hgfctl.engine.evaluation.feature_files import holds_features, read_features
from hgfctl.engine.evaluation.feature_set import FeatureSet
from hgfctl.errors import RequestError
from hgfctl.storage.runs import checkpoint_file

Source = Checkpoint | DataSet | FeatureSet


def opened(
    source: str,
    device: torch.device,
    features: str | None = None,
    split: str | None = None,
    resolution: int | None = None,
    skip_bad: bool = False,
) -> Source:
    """What a name or a path stands for.

    Args:
        source: a run folder, a checkpoint, a file of features or statistics, images in any form that training takes,
            the name of a data set that needs no path, or of a preset, whose data are meant.
        device: for checkpoints.
        features: name of those that are wanted, for files that hold several.
        split: of data sets that have several.
        resolution, skip_bad: for folders and zips of images, see `images.folder`.

    Raises:
        RequestError: there is no such thing, or it cannot be used.
    """
    path = Path(source).expanduser()
    if path.suffix == ".safetensors" or (path / "config.yaml").is_file():
        return read_checkpoint(checkpoint_file(path), device)
    if path.suffix in (".npz", ".npy", ".pkl"):
        path = locate(source)
        if features != "none" and holds_features(path):
            return read_features(path, features)
    options: dict[str, Any] = {}
    if not path.exists() and source not in DATA and _is_preset(source):
        component = presets.load(source).data
        kind, options = component.name, dict(component.options)
    else:
        kind = kind_of(source)
        if kind != source:
            options["path"] = source
    options |= admitted(kind, skip_bad=skip_bad, resolution=resolution)
    return _built(kind, options, split)


def check_taken(sources: Sequence[Source], resolution: int | None, split: str | None) -> None:
    """Raises RequestError if an option is for none of the things at hand.

    Args:
        sources: what was opened.
        resolution, split: see `opened`.
    """
    if resolution is not None and not any(isinstance(one, DataSet) and one.resizable for one in sources):
        raise RequestError("--resolution is for folders and zips of images, and there are none")
    if split is not None and all(isinstance(one, FeatureSet) for one in sources[1:]):
        raise RequestError("--split is for data sets, and the reference is a file of features")


def by_flow(source: Source, name: str, flow: str | None) -> Source:
    """A model under another flow; see `with_flow`.

    Raises:
        RequestError: it is no model, or none of a flow that could be exchanged.
    """
    if flow is None:
        return source
    if not isinstance(source, Checkpoint):
        raise RequestError(f"--flow is for models, and {name} is none")
    return with_flow(source, flow)


def data_behind(model: Checkpoint, split: str | None = None) -> DataSet:
    """What a model was trained on, or another split of it.

    Raises:
        RequestError: they are no longer where they were, or have no splits.
    """
    data = model.config.data
    return _built(data.name, data.options, split)


def _built(name: str, options: dict[str, Any], split: str | None) -> DataSet:
    if split is not None:
        if not DATA.has_option(name, "split"):
            raise RequestError(f"--split: data '{name}' has no splits")
        options = {**options, "split": split}
    data: DataSet = DATA.build(name, options)
    return data


def _is_preset(name: str) -> bool:
    return name in presets.names() or name.endswith((".yaml", ".yml"))
