"""Which features a comparison is made in, and their extractor."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from hgfctl.engine.evaluation.feature_set import FeatureSet
from hgfctl.engine.evaluation.request import EvaluationRequest
from hgfctl.engine.features import FEATURES
from hgfctl.engine.features.features import RESIZINGS, Features, FeaturesId
from hgfctl.engine.provided import DEVICE
from hgfctl.engine.ranks import Ranks
from hgfctl.errors import RequestError

LEGACY_UP_TO = 64
"""Pixels a side of images that TensorFlow's resizing is the default for: what EDM's figures are made with."""
INCEPTION_FROM = 32
"""Pixels a side of images that Inception is the default for; smaller ones are no photographs that it could know."""


def extractor(
    ranks: Ranks,
    shape: tuple[int, ...],
    name: str | None = None,
    resizing: str | None = None,
    weights: Path | None = None,
    allow_code: bool | None = None,
) -> Features:
    """Features by their name, on this rank's device.

    Args:
        ranks: of which the first one fetches what is missing.
        shape: of the images, (C, H, W).
        name: of the registry; see `usual` when None.
        resizing: of inception; by the size of the images when None.
        weights, allow_code: see `Inception` and `DINOv2`.

    Raises:
        RequestError: unknown, or options that these features do not take.
        HgfctlError: their weights cannot be had.
    """
    name = name or usual(shape, resizing is not None or weights is not None)
    given: dict[str, Any] = {"resizing": resizing, "weights": weights, "allow_code": allow_code}
    for option, value in given.items():
        if value is not None and not FEATURES.has_option(name, option):
            raise RequestError(f"`{option}`: features {name} take none")
    if resizing is not None and resizing not in RESIZINGS:
        raise RequestError(f"unknown resizing '{resizing}'; known: {', '.join(RESIZINGS)}")
    given["resizing"] = resizing or ("legacy-tensorflow" if max(shape[-2:]) <= LEGACY_UP_TO else "clean")
    given["allow_code"] = bool(allow_code)

    def build() -> Features:
        options = {option: value for option, value in given.items() if FEATURES.has_option(name, option)}
        features: Features = FEATURES.build(name, options, {DEVICE: ranks.device})
        return features

    return ranks.one_first(build)


def extractor_for(
    request: EvaluationRequest, shape: tuple[int, ...], ranks: Ranks, id: FeaturesId | None = None
) -> Features:
    """The features of a request; with the resizing that files at hand are made with, where it says none.

    Args:
        request: says which, and how.
        shape: of the images, (C, H, W).
        ranks: see `extractor`.
        id: of the features of files at hand.
    """
    resizing = request.resizing or (id.variant if id is not None and id.variant in RESIZINGS else None)
    name = id.name if id else request.features
    return extractor(ranks, shape, name, resizing, request.weights, request.allow_code or None)


def usual(shape: tuple[int, ...], about_inception: bool = False) -> str:
    """The features for images (C, H, W) when nobody says: inception, or random below INCEPTION_FROM pixels.

    Args:
        shape: of the images.
        about_inception: whether something is said that concerns inception.
    """
    return "inception" if about_inception or max(shape[-2:]) >= INCEPTION_FROM else "random"


def check_dimension(features: Features, shapes: Sequence[tuple[int, ...]], known: Sequence[FeatureSet]) -> None:
    """Raises RequestError if the two sides would have other features, before any image is looked at.

    Args:
        features: that images are turned into.
        shapes: of the images of each side that has some.
        known: files at hand.
    """
    dims = [features.dim(shape) for shape in shapes]
    if len(set(dims)) > 1:
        raise RequestError(
            f"images of shapes {shapes[0]} and {shapes[1]} have {features.id} of dimension {dims[0]} and {dims[1]}\n"
            "`features=random` compares any two sizes; `resolution` makes folders one size"
        )
    dim = dims[0]
    for one in known:
        if one.dim != dim:
            raise RequestError(f"{one.name} has features of dimension {one.dim}, and those of {features.id} have {dim}")
        if one.id is not None and one.id != features.id:
            raise RequestError(f"{one.name} has features {one.id}, not {features.id}: they cannot be compared")


def wanted(name: str | None, known: Sequence[FeatureSet]) -> FeaturesId | None:
    """The features that the user asks for, or else those of files at hand; None where neither says.

    Raises:
        RequestError: a file is of other features.
    """
    for one in known:
        if name is not None and one.id is not None and one.id.name != name:
            raise RequestError(f"{one.name} holds features {one.id}, and {name} is asked for")
    named = next((one.id for one in known if one.id is not None), None)
    return named or (FeaturesId(name) if name is not None else None)
