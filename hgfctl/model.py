"""A trained model in Python's hands: samples, velocities, denoised items, scores, likelihoods."""

import math
from collections.abc import Mapping, Sequence
from os import PathLike
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from hgfctl import presets
from hgfctl.config import FLAT_SAMPLE_KEYS, Config, SampleSection
from hgfctl.engine import precision as arithmetic
from hgfctl.engine.checkpoint import Checkpoint, guided_by, read_checkpoint, with_flow
from hgfctl.engine.data.dataset import Batch, Items
from hgfctl.engine.precision import Inference
from hgfctl.engine.ranks import alone
from hgfctl.engine.sampling.plan import ADAPTIVE
from hgfctl.engine.sampling.sampler import shared_batches
from hgfctl.errors import RequestError
from hgfctl.storage.runs import checkpoint_file

Place = str | PathLike[str]
"""A path."""


class Model:
    """A trained model.

    Args:
        checkpoint: it, read.
        device: where its weights are.
        precision: of the network.
    """

    def __init__(self, checkpoint: Checkpoint, device: torch.device, precision: Inference = "fp32") -> None:
        self.checkpoint, self.device, self.precision = checkpoint, device, precision

    def __repr__(self) -> str:
        return f"Model({str(self.checkpoint.path)!r}, {self.config.preset}, step {self.checkpoint.step})"

    @property
    def config(self) -> Config:
        """The configuration of the run that made it."""
        return self.checkpoint.config

    @property
    def shape(self) -> tuple[int, ...]:
        """Shape of an item: (d,), or (C, H, W) of images."""
        return self.checkpoint.shape

    @property
    def classes(self) -> int:
        """Number of classes; 0 for none."""
        return self.checkpoint.classes

    def sample(
        self,
        num: int = 64,
        *,
        nfe: int | None = None,
        seed: int = 0,
        classes: Sequence[int] | Tensor = (),
        sampler: str | Mapping[str, Any] | None = None,
        grid: str | None = None,
        flow: str | None = None,
        guidance: float | None = None,
        guide: Place | None = None,
        guidance_interval: tuple[float, float] | None = None,
        batch: int = 256,
        **options: Any,
    ) -> Tensor:
        """Samples, as `hgfctl sample` makes them: (num, *shape), float32, on the CPU; images lie in [-1, 1].

        Item i has seed `seed` + i and depends on it alone, whatever `num` and `batch` are.

        Args:
            num: how many.
            nfe: budget of network evaluations an item; the preset's when None.
            seed: of the first item.
            classes: only these, in turn; all when empty.
            sampler: the preset's when None; a mapping has options besides, {"name": "dopri5", "tolerance": 1e-6}.
            grid: the preset's when None.
            flow: sample by this flow: oscillation, diffusion or flow-matching.
            guidance: weight; away from what `guide`, or the model without classes, says.
            guide: a weaker checkpoint or run.
            guidance_interval: the noise levels, lowest and highest, between which there is guidance.
            batch: items at a time.
            options: options of the sampler, too, such as churn=10 or tolerance=1e-6.

        Raises:
            RequestError: an unknown or unfit method, class or option, or too small a budget.
            HgfctlError: samples that are not finite.
        """
        require_whole(num=num, nfe=nfe, batch=batch)
        require_whole(0, seed=seed)
        wanted = [] if classes is None or not len(classes) else self._labels(torch.as_tensor(classes)).tolist()
        model = with_flow(self.checkpoint, flow)
        section = self._section(model, sampler, options)
        engine = model.sampler(nfe, None, grid, self._guidance(model, guidance, guide, guidance_interval), section)
        if "tolerance" in options and engine.grid != ADAPTIVE:
            raise RequestError("`tolerance` is for `sampler=dopri5`")
        seeds = torch.arange(seed, seed + num)
        with arithmetic.region(self.precision, self.device):
            parts = shared_batches(engine, seeds, batch, wanted, alone(self.device))
            return torch.cat([part.x for part in parts])

    def velocity(self, x: Tensor, t: float | Tensor, classes: Tensor | None = None) -> Tensor:
        """V(x, t), the mean velocity of what passes x at time t: (B, *shape), of the type of x.

        Args:
            x: (B, *shape).
            t: () or (B,), between 0 (data) and the flow's T (prior).
            classes: (B,), or None.

        Raises:
            RequestError: the model has no flow.
        """
        hvp = self.checkpoint.hvp
        items, at = self._items(x), self._state(torch.as_tensor(t, dtype=torch.float64))
        if at.shape not in ((), (len(items),)) or not bool(((at >= 0) & (at <= hvp.flow.T)).all()):
            raise RequestError(f"`t`: one time, or one an item, from 0 to {hvp.flow.T:g}")
        with torch.no_grad(), arithmetic.region(self.precision, self.device):
            velocity: Tensor = hvp(items, at, self._labels(classes, len(items)))
        return velocity.to(x)

    def score(self, x: Tensor, sigma: float | None = None, classes: Tensor | None = None) -> Tensor:
        """grad log p_sigma(x), p_sigma being the law of x0 + sigma z, z ~ N(0, I): (B, *shape), of the type of x.

        Args:
            x: (B, *shape).
            sigma: noise level; None for the score of the data themselves, which score models know.
            classes: (B,), or None.

        Raises:
            RequestError: the model does not know this score.
        """
        items = self._items(x)
        field = self.checkpoint.score(None if sigma is None else _level(sigma))
        with torch.no_grad(), arithmetic.region(self.precision, self.device):
            return field(items, self._labels(classes, len(items))).to(x)

    def denoise(self, x: Tensor, sigma: float, classes: Tensor | None = None) -> Tensor:
        """E[x0 | x0 + sigma z = x] = x + sigma^2 score(x, sigma)  (Tweedie's formula): (B, *shape), of the type of x.

        Args:
            x: (B, *shape), data with noise of level sigma.
            sigma: noise level.
            classes: (B,), or None.

        Raises:
            RequestError: the model knows no noised data, or not at this level.
        """
        state = self._items(x)
        return (state + _level(sigma) ** 2 * self.score(state, sigma, classes)).to(x)

    def log_likelihood(
        self,
        x: Tensor,
        classes: Tensor | None = None,
        *,
        nfe: int | None = None,
        rtol: float = 1e-5,
        atol: float = 1e-5,
        seed: int = 0,
        batch: int = 256,
    ) -> Tensor:
        """log p(x) under the flow, in nats: (B,), float64, on the CPU; a density at x, for images too.

        Args:
            x: (B, *shape).
            classes: (B,), for a model with classes.
            nfe: budget of passes through the network an item; as many as the tolerances take when None.
            rtol, atol: relative and absolute tolerance of a step.
            seed: item i draws its probes from `seed` + i, where the divergence is estimated.
            batch: items at a time.

        Raises:
            RequestError: the model has no flow, or needs classes.
            HgfctlError: a likelihood that is not finite.
        """
        from hgfctl.engine.evaluation import likelihoods as engine

        require_whole(nfe=nfe, batch=batch)
        require_whole(0, seed=seed)
        for name, tolerance in (("rtol", rtol), ("atol", atol)):
            if not 0 < tolerance < math.inf:
                raise RequestError(f"`{name}={tolerance}`: a positive number")
        if self.classes and classes is None:
            raise RequestError("`classes`: this model has classes; give the class of each item")
        state = self._items(x)
        labels = None if classes is None else self._labels(classes, len(state)).cpu()
        asked = engine.Request(nfe=nfe, rtol=rtol, atol=atol, seed=seed)
        items = Batch(state.detach().double().cpu(), labels)
        with arithmetic.region(self.precision, self.device):
            parts = [
                engine.likelihoods(self.checkpoint, Items(part.x, part.labels), part, asked, first)
                for first, part in engine.batches(items, batch)
            ]
        return engine.joined(parts).log_likelihood

    def _guidance(
        self, model: Checkpoint, weight: float | None, guide: Place | None, interval: tuple[float, float] | None
    ) -> Any:
        if weight is None:
            if guide is not None or interval is not None:
                raise RequestError("`guide` and `guidance_interval` go with `guidance`, such as `guidance=2`")
            return None
        other = None
        if guide is not None:
            other = read_checkpoint(checkpoint_file(Path(guide).expanduser()), self.device)
            arithmetic.prepared(other.model, self.precision, self.device)
        return guided_by(model, weight, other, interval)

    def _section(
        self, model: Checkpoint, sampler: str | Mapping[str, Any] | None, options: Mapping[str, Any]
    ) -> SampleSection:
        """The sample section of the configuration with another sampler, or with options of it."""
        other = {"name": sampler} if isinstance(sampler, str) else dict(sampler or {})
        flat = {key: value for key, value in options.items() if key in FLAT_SAMPLE_KEYS}
        own = {**other, **{key: value for key, value in options.items() if key not in flat}}
        change: dict[str, Any] = {**flat, **({"sampler": own} if own else {})}
        return presets.overridden(model.config, (), "sample", change, where="sample()").sample

    def _state(self, x: Tensor) -> Tensor:
        """As solvers have it: float64 on the device, float32 where there is no float64."""
        return x.to(self.device, torch.float32 if self.device.type == "mps" else torch.float64)

    def _items(self, x: Tensor) -> Tensor:
        if not isinstance(x, Tensor) or not x.is_floating_point():
            kind = x.dtype if isinstance(x, Tensor) else type(x).__name__
            raise RequestError(
                f"items are a tensor of floating-point numbers, not of {kind}; torch.as_tensor(x).float()"
            )
        if tuple(x.shape[1:]) != self.shape or not len(x):
            raise RequestError(
                f"items are of shape (B, {', '.join(map(str, self.shape))}), B >= 1, not {tuple(x.shape)}"
            )
        return self._state(x)

    def _labels(self, classes: Any, count: int | None = None) -> Any:
        """Classes (B,) on the device; None where there are none."""
        if classes is None:
            return None
        labels = torch.as_tensor(classes)
        if not self.classes:
            raise RequestError("`classes`: this model was trained without classes")
        if labels.is_floating_point() or labels.ndim != 1 or (count is not None and len(labels) != count):
            raise RequestError(
                "`classes` are whole numbers, " + ("a list" if count is None else f"{count}, one an item")
            )
        if not bool(((labels >= 0) & (labels < self.classes)).all()):
            raise RequestError(f"`classes` {labels.tolist()[:8]}: they are 0 to {self.classes - 1}")
        return labels.long().to(self.device)


def _level(sigma: Any) -> float:
    level = float(sigma) if not isinstance(sigma, Tensor) or sigma.numel() == 1 else math.nan
    if not 0 < level < math.inf:
        raise RequestError(f"`sigma={sigma}`: one positive noise level for all items")
    return level


def require_whole(least: int = 1, **values: Any) -> None:
    """Raises RequestError for values that are no whole numbers from `least` on; None is let through."""
    for name, value in values.items():
        if value is not None and (isinstance(value, bool) or not isinstance(value, int) or value < least):
            raise RequestError(f"`{name}={value}`: a whole number from {least} on")
