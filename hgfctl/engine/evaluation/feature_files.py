"""Features and their statistics on disk: ours, EDM's and clean-fid's .npz, EDM2's .pkl, plain arrays.

X.npz   mu (d,), sigma (d, d) float64, as EDM and clean-fid read them; ours have besides: feats (K, d) float32, about
        (JSON: features, variant, count), counts (4,), means (4, d), scatters (4, d, d) of random parts
X.npz   feats, or features, (N, d) alone: clean-fid's for KID
X.npy   features (N, d), floats
X.pkl   {"fid": {"mu", "sigma"}, "fd_dinov2": {...}}, EDM2's; read without running anything
"""

import json
import zipfile
import zlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch

from hgfctl.engine.evaluation.feature_set import FeatureSet, collected
from hgfctl.engine.features.features import FeaturesId
from hgfctl.engine.statistics.moments import Moments, Statistics
from hgfctl.errors import HgfctlError, RequestError
from hgfctl.storage.arrays_pickle import load_arrays
from hgfctl.storage.atomic import replacing

EDM2_NAMES = {"inception": "fid", "dinov2": "fd_dinov2"}
"""Names of features in EDM2's statistics."""


def holds_features(path: Path) -> bool:
    """True where a file is one that `read_features` reads, rather than one of images or samples.

    Raises:
        RequestError: an .npz or .npy that cannot be read.
    """
    if path.suffix == ".pkl":
        return True
    if path.suffix == ".npz":
        return bool({"mu", "feats", "features"} & set(_names(path)))
    if path.suffix == ".npy":
        header = _array(path, mmap_mode="r")
        return header.ndim == 2 and np.issubdtype(header.dtype, np.floating)
    return False


def read_features(path: Path, wanted: str | None = None) -> FeatureSet:
    """A file of features or of their statistics.

    Args:
        path: see the module.
        wanted: name of the features that are wanted, of files that hold several.

    Raises:
        RequestError: damaged, not of these forms, or without the features that are wanted.
        HgfctlError: features that are not finite.
    """
    if path.suffix == ".pkl":
        return _edm2(path, wanted or "inception")
    if path.suffix == ".npy":
        return collected(str(path), None, torch.from_numpy(_matrix(_array(path), f"{path}")))
    names = _names(path)
    id, count = _about(path) if "about" in names else (None, None)
    kept = next((name for name in ("feats", "features") if name in names), None)
    features = None if kept is None else torch.from_numpy(_matrix(_member(path, kept), f"{path}: {kept}"))
    if "mu" not in names:
        assert features is not None
        return collected(str(path), id, features)
    mu, sigma = _member(path, "mu"), _member(path, "sigma")
    statistics = _checked(mu, sigma, str(path))
    if features is not None and features.shape[1] != len(mu):
        raise RequestError(f"{path}: mu has {len(mu)} dimensions, and {kept} {features.shape[1]}")
    parts = _parts(path, len(mu)) if "scatters" in names else ()
    if features is not None and count == len(features) <= len(mu):
        return collected(str(path), id, features)  # so that their statistics know of their low rank
    return FeatureSet(str(path), id, statistics, count, features, parts)


def write_features(features: FeatureSet, path: Path) -> None:
    """All that is known of a set, as .npz.

    Raises:
        HgfctlError: it cannot be written.
    """
    arrays: dict[str, Any] = {
        "mu": features.statistics.mean.numpy(),
        "sigma": features.statistics.covariance.numpy(),
    }
    if features.id is not None:
        about = {"features": features.id.name, "variant": features.id.variant, "count": features.count}
        arrays["about"] = np.array(json.dumps(about))
    if features.features is not None:
        arrays["feats"] = features.features.numpy()
    if features.parts:
        arrays["counts"] = np.array([part.count for part in features.parts])
        arrays["means"] = np.stack([part.mean.numpy() for part in features.parts])
        arrays["scatters"] = np.stack([part.scatter.numpy() for part in features.parts])
    with replacing(path) as partial, partial.open("wb") as file:
        np.savez(file, **arrays)


def _about(path: Path) -> tuple[FeaturesId, int]:
    """Which features a file of ours holds, and of how many images."""
    try:
        about = json.loads(str(_member(path, "about")))
        return FeaturesId(str(about["features"]), str(about["variant"])), int(about["count"])
    except (ValueError, KeyError, TypeError):
        raise RequestError(f"{path}: 'about' does not say which features it holds; make it again") from None


def _parts(path: Path, dim: int) -> tuple[Moments, ...]:
    """The moments of random parts."""
    counts, means, scatters = (_member(path, name) for name in ("counts", "means", "scatters"))
    if means.shape != (len(counts), dim) or scatters.shape != (len(counts), dim, dim):
        raise RequestError(f"{path}: the moments of its parts are not of dimension {dim}; make it again")
    parts = []
    for count, mean, scatter in zip(counts, means, scatters, strict=True):
        part = Moments(dim)
        part.count, part.mean, part.scatter = int(count), torch.from_numpy(mean), torch.from_numpy(scatter)
        parts.append(part)
    return tuple(parts)


def _edm2(path: Path, wanted: str) -> FeatureSet:
    try:
        content = path.read_bytes()
    except OSError as error:
        raise RequestError(f"cannot read {path}: {error.strerror}") from None
    known = load_arrays(content, str(path))
    if not isinstance(known, Mapping):
        raise RequestError(f'{path} is not of the form {{"fid": {{"mu", "sigma"}}, ...}}')
    found = {key if isinstance(key, str) else str(key): value for key, value in known.items()}
    entry = found.get(EDM2_NAMES.get(wanted, wanted), found if "mu" in found else None)
    if not isinstance(entry, Mapping) or not {"mu", "sigma"} <= set(entry):
        raise RequestError(f"{path} holds no statistics of features {wanted}, but of {', '.join(found) or 'nothing'}")
    variant = {"inception": "legacy-tensorflow", "dinov2": "ViT-large"}.get(wanted, "")
    statistics = _checked(np.asarray(entry["mu"]), np.asarray(entry["sigma"]), str(path))
    return FeatureSet(str(path), FeaturesId(wanted, variant), statistics, None)


def _checked(mu: np.ndarray, sigma: np.ndarray, where: str) -> Statistics:
    if mu.ndim != 1 or sigma.shape != (len(mu), len(mu)) or not all(a.dtype.kind == "f" for a in (mu, sigma)):
        raise RequestError(
            f"{where}: mu (d,) and sigma (d, d) are wanted, floats, not {mu.dtype} of shape {mu.shape} and "
            f"{sigma.dtype} of shape {sigma.shape}"
        )
    mean, covariance = (torch.from_numpy(np.ascontiguousarray(a, np.float64)) for a in (mu, sigma))
    if not (mean.isfinite().all() and covariance.isfinite().all()):
        raise HgfctlError(f"{where}: mu or sigma holds NaN or infinity")
    largest = float(covariance.abs().max())
    if not torch.allclose(covariance, covariance.T, rtol=0, atol=1e-6 * largest):
        raise RequestError(f"{where}: sigma is no covariance, for it is not symmetric")
    if torch.linalg.cholesky_ex(covariance).info:
        least = float(torch.linalg.eigvalsh(covariance)[0])
        if least < -1e-6 * largest:
            raise RequestError(f"{where}: sigma is no covariance, for it has the eigenvalue {least:.3g}")
    return Statistics(mean, covariance)


def _matrix(values: np.ndarray, where: str) -> np.ndarray:
    if values.ndim != 2 or values.dtype.kind != "f":
        raise RequestError(f"{where}: features are floats of shape (N, d), not {values.dtype} of shape {values.shape}")
    features = np.ascontiguousarray(values, np.float32)
    bad = np.flatnonzero(~np.isfinite(features).all(1))
    if len(bad):
        raise HgfctlError(f"{where}: the features of image {bad[0]} are not finite")
    return features


def _names(path: Path) -> list[str]:
    try:
        with zipfile.ZipFile(path) as archive:
            return [name.removesuffix(".npy") for name in archive.namelist()]
    except (OSError, zipfile.BadZipFile) as error:
        raise _damaged(path, error) from None


def _member(path: Path, name: str) -> np.ndarray:
    try:
        with np.load(path, allow_pickle=False) as content:
            found: np.ndarray = content[name]
            return found
    except (OSError, ValueError, EOFError, KeyError, zipfile.BadZipFile, zlib.error) as error:
        raise _damaged(path, error) from None


def _array(path: Path, mmap_mode: Any = None) -> np.ndarray:
    try:
        found: np.ndarray = np.load(path, mmap_mode, allow_pickle=False)
        return found
    except (OSError, ValueError, EOFError) as error:
        raise _damaged(path, error) from None


def _damaged(path: Path, error: Exception) -> RequestError:
    if "allow_pickle" in str(error):
        return RequestError(f"{path} holds Python objects, which are never loaded")
    reason = (str(error).splitlines() or [type(error).__name__])[0]
    return RequestError(f"cannot read {path} as a NumPy file: {reason}")
