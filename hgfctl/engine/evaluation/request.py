"""An evaluation as a user asks for it."""

from dataclasses import dataclass
from pathlib import Path

from hgfctl.engine.models.guided import Guidance

MANY = 50_000
"""Images that a model makes when the user does not say: what published figures are made of."""
POINTS = 10_000
"""Points of a law, or of a model, that are compared when the user does not say."""
WITHOUT = "none"
"""Name of no features at all: vectors are compared where they lie."""


@dataclass(frozen=True, kw_only=True)
class EvaluationRequest:
    """How sets are compared, and how a model is sampled for it.

    Args:
        budgets: network evaluations an item; None for the preset's.
        num: items; MANY images or POINTS points of a model, all of a finite set, when None.
        seed: of the first item.
        seeds: number of sets, from seeds that differ.
        sampler, grid: the preset's when None.
        guidance: see `guided_by`.
        settings: "sample.KEY=VALUE" for the preset's sample section.
        flow: to sample by; the model's own when None.
        metrics: names of the registry; the usual ones when None.
        features: name of the registry, or WITHOUT; by the files at hand and the size of images when None.
        resizing, weights, allow_code: see `extractor`.
        split: of data sets that have several.
        resolution, skip_bad: for folders and zips of images, see `images.folder`.
        batch: items at a time.
    """

    budgets: tuple[int | None, ...] = (None,)
    num: int | None = None
    seed: int = 0
    seeds: int = 1
    sampler: str | None = None
    grid: str | None = None
    guidance: Guidance | None = None
    settings: tuple[str, ...] = ()
    flow: str | None = None
    metrics: tuple[str, ...] | None = None
    features: str | None = None
    resizing: str | None = None
    weights: Path | None = None
    allow_code: bool | None = None
    split: str | None = None
    resolution: int | None = None
    skip_bad: bool = False
    batch: int = 64

    @property
    def asks_for_a_model(self) -> bool:
        """True where something is asked for that concerns models alone."""
        return self.budgets != (None,) or self.seeds > 1 or bool(self.sampler or self.grid or self.settings)

    def first_seeds(self, default: int = MANY) -> list[int]:
        """Seed of the first item of each set; a set has `num` items, or `default`."""
        return [self.seed + k * (self.num or default) for k in range(self.seeds)]
