"""Quantities that change while training goes on, as functions of the images seen."""

from hgfctl.config import TrainSection


def learning_rate(train: TrainSection, images: int) -> float:
    """lr, rising linearly over the first `ramp` images and falling to 0 over the last share `decay` of all."""
    rise = min(1.0, (images + train.batch) / train.ramp) if train.ramp else 1.0
    fall = min(1.0, max(1 - images / train.images, 0) / train.decay) if train.decay else 1.0
    return train.lr * rise * fall


def ema_weight(train: TrainSection, images: int) -> float:
    """The share of the old average that a step keeps: 0.5^(batch/half-life), half-life <= 5 % of the images seen.

    (Karras et al. 2022, appendix F.2.)
    """
    half_life = min(train.half_life, 0.05 * images)
    kept: float = 0.5 ** (train.batch / half_life)
    return kept
