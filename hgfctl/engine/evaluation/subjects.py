"""The things that are evaluated or compared with: models, data, and features in files."""

from abc import ABC, abstractmethod

import torch
from torch import Tensor

from hgfctl.engine.checkpoint import Checkpoint, with_flow
from hgfctl.engine.data.dataset import DataSet, Finite
from hgfctl.engine.evaluation.feature_set import FeatureSet
from hgfctl.engine.evaluation.image_sets import GeneratedSet, ImageSet, StoredSet
from hgfctl.engine.evaluation.point_set import PointSet, draw
from hgfctl.engine.evaluation.request import MANY, EvaluationRequest
from hgfctl.engine.sampling.sampler import Sampler
from hgfctl.errors import RequestError
from hgfctl.presets import overridden
from hgfctl.storage.cache import sha256

FEWEST_POINTS = 3
"""Points that a distance and its error need on either side."""
SEEDS = (1_000_003, 2_000_003)
"""Seeds of the draws of a law: to compare with, and what another draw of it gives. Not those of trainings."""


class Subject(ABC):
    """One side of an evaluation.

    Attributes:
        source: what was opened.
        name: how messages call it.
        shape: of an item; None of features.
        features: what is known of it already; None where images have to be turned into features.
        is_model: whether it is sampled.
        resizable: whether images are made one size when it is opened.
        has_items: whether it is more than a file of features, which has no splits.
    """

    source: Checkpoint | DataSet | FeatureSet
    name: str
    shape: tuple[int, ...] | None = None
    features: FeatureSet | None = None
    is_model: bool = False
    resizable: bool = False
    has_items: bool = True

    @abstractmethod
    def image_set(self, request: EvaluationRequest, budget: int | None = None, seed: int = 0) -> ImageSet:
        """The images of a data set, or those that a model makes.

        Raises:
            RequestError: it holds, or makes, no images.
        """

    @abstractmethod
    def points(self, request: EvaluationRequest, budget: int | None, count: int, seed: int, batch: int) -> Tensor:
        """`count` points, or all where there are fewer: (N, d)."""

    def reference_images(self, request: EvaluationRequest) -> ImageSet:
        """The images that another subject is compared with."""
        return self.image_set(EvaluationRequest())

    def reference_points(self, count: int) -> PointSet:
        """The points that another subject is compared with.

        Raises:
            RequestError: vectors are compared with data alone.
        """
        raise RequestError(f"{self.name}: vectors are compared with data, or with an .npz of samples")

    def by_flow(self, flow: str | None) -> "Subject":
        """The same model, sampled by another flow; see `with_flow`.

        Raises:
            RequestError: it is no model, or none of a flow that could be exchanged.
        """
        if flow is None:
            return self
        raise RequestError(f"`flow` is for models, and {self.name} is none")

    def check(self, request: EvaluationRequest) -> None:
        """Raises RequestError if something is asked for that concerns models alone, and this is none."""
        if request.asks_for_a_model:
            raise RequestError(f"`nfe`, `seeds`, `sampler`, `grid` and `set` are for models, and {self.name} is none")

    def budgets(self, request: EvaluationRequest) -> tuple[int | None, ...]:
        """Budgets that it is measured at, one at least."""
        return (None,)

    def sampler(self, request: EvaluationRequest, budget: int | None) -> Sampler | None:
        """How a model is sampled on a budget; None of anything else."""
        return None

    def check_vectors(self, count: int) -> None:
        """Raises RequestError unless its items are vectors, and enough."""
        if self.shape is None or len(self.shape) != 1:
            raise RequestError(
                f"{self.name} holds no vectors, which features none is for; images have pixels and random"
            )

    def check_images(self) -> None:
        """Raises RequestError if its items are no images."""
        if self.shape is not None and len(self.shape) != 3:
            raise RequestError(
                f"{self.name}: its items are vectors of shape {self.shape}, not images\n"
                "`features=none` compares them by sliced Wasserstein and MMD"
            )

    def check_count(self, count: float) -> None:
        """Raises RequestError where so many points are too few."""
        if count < FEWEST_POINTS:
            raise RequestError(f"fewer than {FEWEST_POINTS} points of {self.name}: nothing can be said of them")


class ModelSubject(Subject):
    """A trained model, by the items that it makes."""

    is_model = True

    def __init__(self, source: Checkpoint, name: str) -> None:
        self.source: Checkpoint = source
        self.name, self.shape = name, source.shape

    def image_set(self, request: EvaluationRequest, budget: int | None = None, seed: int = 0) -> ImageSet:
        self.check_images()
        guide = request.guidance.guide_path if request.guidance else None
        made_by = " ".join(sha256(path) for path in (self.source.path, guide) if path)
        return GeneratedSet(self.sampler(request, budget), made_by, self.name, request.num or MANY, seed)

    def points(self, request: EvaluationRequest, budget: int | None, count: int, seed: int, batch: int) -> Tensor:
        parts = self.sampler(request, budget).batches(torch.arange(seed, seed + count), batch)
        return torch.cat([part.x for part in parts])

    def reference_images(self, request: EvaluationRequest) -> ImageSet:
        """As many images as the model that is measured makes, from the seeds after that one's."""
        seed = request.seed + request.seeds * (request.num or MANY)
        return self.image_set(EvaluationRequest(num=request.num), None, seed)

    def by_flow(self, flow: str | None) -> Subject:
        return ModelSubject(with_flow(self.source, flow), self.name)

    def check(self, request: EvaluationRequest) -> None:
        """A model takes all options."""

    def budgets(self, request: EvaluationRequest) -> tuple[int | None, ...]:
        return request.budgets

    def sampler(self, request: EvaluationRequest, budget: int | None) -> Sampler:
        default = overridden(self.source.config, request.settings, "sample", {}).sample
        return self.source.sampler(budget, request.sampler, request.grid, request.guidance, default)

    def check_vectors(self, count: int) -> None:
        super().check_vectors(count)
        self.check_count(count)


class DataSubject(Subject):
    """A data set.

    Args:
        source, name, resizable: see `Subject`.
    """

    def __init__(self, source: DataSet, name: str, resizable: bool = False) -> None:
        self.source: DataSet = source
        self.name, self.shape, self.resizable = name, source.shape, resizable

    def image_set(self, request: EvaluationRequest, budget: int | None = None, seed: int = 0) -> ImageSet:
        self.check_images()
        assert isinstance(self.source, Finite)  # images are
        return StoredSet(self.source, self.name, request.num)

    def points(self, request: EvaluationRequest, budget: int | None, count: int, seed: int, batch: int) -> Tensor:
        return draw(self.source, count, seed)

    def reference_points(self, count: int) -> PointSet:
        data = self.source
        again = None if isinstance(data, Finite) else lambda many: draw(data, many, SEEDS[1])
        return PointSet(self.name, draw(data, count, SEEDS[0]), again)

    def check_vectors(self, count: int) -> None:
        super().check_vectors(count)
        self.check_count(min(count, self.source.count))


class FeatureSubject(Subject):
    """Features, or statistics of them, from a file."""

    has_items = False

    def __init__(self, source: FeatureSet, name: str) -> None:
        self.source: FeatureSet = source
        self.features, self.name = source, name

    def image_set(self, request: EvaluationRequest, budget: int | None = None, seed: int = 0) -> ImageSet:
        raise RequestError(f"{self.name} holds features already")

    def points(self, request: EvaluationRequest, budget: int | None, count: int, seed: int, batch: int) -> Tensor:
        raise RequestError(f"{self.name} holds features, not points")
