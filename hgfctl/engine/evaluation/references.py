"""Features and statistics of reference images, made once: kept in the cache by content, features and number."""

from dataclasses import replace
from pathlib import Path

from hgfctl.engine.evaluation.feature_files import read_features
from hgfctl.engine.evaluation.feature_set import FeatureSet
from hgfctl.engine.evaluation.image_sets import ImageSet
from hgfctl.engine.evaluation.unfinished import content_key
from hgfctl.engine.features.features import FeaturesId
from hgfctl.errors import HgfctlError
from hgfctl.storage.cache import cache_folder


def cached_statistics(images: ImageSet, id: FeaturesId) -> Path:
    """Where the features of a set are kept, or will be."""
    return cache_folder() / "statistics" / f"{content_key(images.key, id)}.npz"


def read_statistics(file: Path, name: str) -> FeatureSet | None:
    """The features that are kept there, if they are whole; a damaged file is removed, to be made again.

    Args:
        file: see `cached_statistics`.
        name: how messages call the set.
    """
    if not file.exists():
        return None
    try:
        return replace(read_features(file), name=name)
    except HgfctlError:
        file.unlink(missing_ok=True)
        return None
