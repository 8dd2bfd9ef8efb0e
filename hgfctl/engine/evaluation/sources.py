"""Names and paths that a user gives to be evaluated, or to be compared with, opened."""

from pathlib import Path
from typing import Any

import torch

from hgfctl import presets
from hgfctl.engine.checkpoint import Checkpoint, read_checkpoint
from hgfctl.engine.data import DATA
from hgfctl.engine.data.dataset import DataSet
from hgfctl.engine.data.files import admitted
from hgfctl.engine.data.locate import kind_of, locate
from hgfctl.engine.evaluation.feature_files import holds_features, read_features
from hgfctl.engine.evaluation.feature_set import FeatureSet
from hgfctl.engine.evaluation.request import WITHOUT, EvaluationRequest
from hgfctl.engine.evaluation.subjects import DataSubject, FeatureSubject, ModelSubject, Subject
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
    """The model, data or features that a name or a path stands for; see `opened_subject`."""
    request = EvaluationRequest(features=features, resolution=resolution, skip_bad=skip_bad)
    return opened_subject(source, source, request, split, device).source


def opened_subject(
    source: str, name: str, request: EvaluationRequest, split: str | None, device: torch.device
) -> Subject:
    """The thing that a name or a path stands for, as one side of an evaluation.

    Args:
        source: a run folder, a checkpoint, a file of features or statistics, images in any form that training takes,
            the name of a data set that needs no path, or of a preset, whose data are meant.
        name: how messages call it.
        request: says which features are wanted of files that hold several, and how image files are opened.
        split: of data sets that have several.
        device: for checkpoints.

    Raises:
        RequestError: there is no such thing, or it cannot be used.
    """
    path = Path(source).expanduser()
    if path.suffix == ".safetensors" or (path / "config.yaml").is_file():
        return ModelSubject(read_checkpoint(checkpoint_file(path), device), name)
    if path.suffix in (".npz", ".npy", ".pkl"):
        path = locate(source)
        if request.features != WITHOUT and holds_features(path):
            return FeatureSubject(read_features(path, request.features), name)
    options: dict[str, Any] = {}
    if not path.exists() and source not in DATA and _is_preset(source):
        component = presets.load(source).data
        kind, options = component.name, dict(component.options)
    else:
        kind = kind_of(source)
        if kind != source:
            options["path"] = source
    options |= admitted(kind, skip_bad=request.skip_bad, resolution=request.resolution)
    return DataSubject(_built(kind, options, split), name, DATA.has_option(kind, "resolution"))


def opened_reference(source: str | None, subject: Subject, request: EvaluationRequest, device: torch.device) -> Subject:
    """The other side, which a subject is compared with; a model's training data where nothing is named.

    Raises:
        RequestError: see `opened_subject` and `data_behind`; or an option is for neither side.
    """
    name = (source or "its training data") + (f" ({request.split})" if request.split else "")
    if source is not None:
        reference = opened_subject(source, name, request, request.split, device)
    elif isinstance(subject, ModelSubject):  # the only one that was trained on something
        data = subject.source.config.data.name
        behind = data_behind(subject.source, request.split)
        reference = DataSubject(behind, name, DATA.has_option(data, "resolution"))
    else:
        raise needs_reference(subject.name)
    check_taken(request, subject, reference)
    if request.split is not None and not reference.has_items:
        raise RequestError("`split` is for data sets, and the reference is a file of features")
    return reference


def needs_reference(name: str) -> RequestError:
    """The error of a subject that is no model, with nothing to compare it with."""
    return RequestError(f"`ref` says what to compare {name} with: a data set, a statistics file, other images")


def check_taken(request: EvaluationRequest, *subjects: Subject) -> None:
    """Raises RequestError if images are to have another size, and no subject is opened so."""
    if request.resolution is not None and not any(subject.resizable for subject in subjects):
        raise RequestError("`resolution` is for folders and zips of images, and there are none")


def data_behind(model: Checkpoint, split: str | None = None) -> DataSet:
    """The data that a model was trained on, or another split of them.

    Raises:
        RequestError: they are no longer where they were, or have no splits.
    """
    data = model.config.data
    return _built(data.name, data.options, split)


def _built(name: str, options: dict[str, Any], split: str | None) -> DataSet:
    if split is not None:
        if not DATA.has_option(name, "split"):
            raise RequestError(f"`split`: data '{name}' has no splits")
        options = {**options, "split": split}
    data: DataSet = DATA.build(name, options)
    return data


def _is_preset(name: str) -> bool:
    return name in presets.names() or name.endswith((".yaml", ".yml"))
