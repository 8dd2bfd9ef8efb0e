"""A request to train: which configuration, from which weights, and which run goes on, if one does.

A run goes on as what it is. How long it trains may change, and where its data lie; other things by force alone, and
what decides the meaning of a checkpoint's numbers not at all.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from os import PathLike
from pathlib import Path
from typing import Any

from hgfctl.config import PARTS, Component, Config, InitSection, merged
from hgfctl.engine.checkpoint import Checkpoint, read_checkpoint
from hgfctl.engine.compatibility import with_defaults
from hgfctl.engine.data.files import admitted
from hgfctl.engine.data.locate import kind_of
from hgfctl.engine.ranks import Ranks
from hgfctl.errors import RequestError
from hgfctl.presets import configuration, load, overrides, parse
from hgfctl.storage import tensor_files
from hgfctl.storage.runs import Run, checkpoint_file

HARMLESS = (
    *("images", "accumulate", "recompute", "compile", "tensorboard"),
    *("keep", "log_every", "save_every", "sample_every", "save_minutes"),
)
"""Keys of train that change how long and how a run is made, but not what it becomes."""
FORCEABLE = ("train.", "data.", "loss.", "times.")
"""Beginnings of keys that force may change; the rest, and those in FIXED, decide what a checkpoint's numbers mean."""
FIXED = ("train.batch", "train.power_emas")

Changes = Mapping[str, Any] | Iterable[str]
"""Overrides of a configuration, see `presets.overrides`."""


@dataclass(frozen=True)
class Request:
    """A training that can begin.

    Args:
        config: of the training.
        init: the checkpoint that it starts from, if it does.
        run: the run that goes on; None for a new one.
        resumed: True where an existing run was asked for, whether there is one or not.
    """

    config: Config
    init: Checkpoint | None = None
    run: Run | None = None
    resumed: bool = False


def request(
    preset: str | Config | None,
    changes: Changes,
    ranks: Ranks,
    *,
    runs: Path = Path("runs"),
    resume: bool | Path = False,
    init: Path | None = None,
    data: str | None = None,
    skip_bad: bool = False,
    force: bool = False,
) -> Request:
    """Finds out what is to be trained; nothing is written.

    Args:
        preset: a name, a YAML file, or a configuration; may be None where `resume` names a run.
        changes: overrides.
        ranks: of which the first one looks for the run.
        runs: where run folders are made.
        resume: the run folder that goes on; True for the preset's newest below `runs`, or a new one if there is none.
        init: a checkpoint or a run to start from.
        data: the path of other data, see `with_path`.
        skip_bad: leave out images that cannot be read.
        force: let a run go on though settings that matter have changed.

    Raises:
        RequestError: an unknown preset, key or value; no such run, data or checkpoint; a change that a run cannot take.
    """
    run = _run_to_resume(preset, runs, resume, ranks)
    config = _configuration(run, preset, changes, data, skip_bad, force)
    config, start = _starting_point(config, run, init, ranks)
    return Request(config, start, run, bool(resume))


def with_path(config: Config, data: str | None) -> Config:
    """A configuration with the data at a path: a folder or zip of images, an .npz or .npy file, CIFAR-10's archive.

    Raises:
        RequestError: it is the name of a data set, and no path.
    """
    if data is None:
        return config
    path = str(Path(data).expanduser())
    name = kind_of(path)
    if name == path:
        raise RequestError(f"`data` {data} is a path; a data set that comes with hgfctl is named by `data.name={data}`")
    kept = config.data.options if config.data.name == name else {}
    return _with_data(config, name, {**kept, "path": path})


def _run_to_resume(preset: str | Config | None, runs: Path, resume: bool | Path, ranks: Ranks) -> Run | None:
    """The run that goes on, the same on all ranks."""
    found = _looked_for(preset, runs, resume) if ranks.first else None
    folder = ranks.broadcast(str(found.folder) if found else "")
    return Run(Path(folder)) if folder else None


def _looked_for(preset: str | Config | None, runs: Path, resume: bool | Path) -> Run | None:
    if isinstance(resume, bool):
        if preset is None:
            raise RequestError("which preset? `preset=NAME`; `hgfctl presets` lists them")
        name = preset.preset if isinstance(preset, Config) else load(preset).preset
        return Run.newest(runs, name) if resume else None
    run = Run(resume.expanduser())
    if not run.config.is_file():
        raise RequestError(f"{run.folder} is not a run folder of hgfctl's: it holds no config.yaml")
    return run


def _configuration(
    run: Run | None, preset: str | Config | None, changes: Changes, data: str | None, skip_bad: bool, force: bool
) -> Config:
    """The preset's configuration, or that of the run that goes on; with the changes."""
    stored = None
    if run is not None:
        tree = parse(run.config.read_text(encoding="utf-8"), str(run.config))
        stored = configuration(tree, str(run.config))
        if isinstance(preset, Config):
            tree = merged(tree, preset.model_dump(mode="json", exclude_unset=True))
        config = configuration(merged(tree, overrides(changes)), str(run.config))
    elif isinstance(preset, Config):
        tree = preset.model_dump(mode="json", exclude_unset=True)
        config = configuration(merged(tree, overrides(changes)), f"preset {preset.preset}")
    else:
        assert preset is not None
        config = load(preset, changes)
    config = with_path(config, data)
    if skip_bad:
        skipping = admitted(config.data.name, skip_bad=True)
        if not skipping:
            raise RequestError(f"`skip_bad` is for image folders, and the data is '{config.data.name}'")
        config = _with_data(config, config.data.name, {**config.data.options, **skipping})
    if run is not None and stored is not None:
        _refuse_change(run, stored, config, force)
    return config


def _with_data(config: Config, name: str, options: dict[str, Any]) -> Config:
    return config.model_copy(update={"data": Component(name=name, options=options)})


def _refuse_change(run: Run, stored: Config, wanted: Config, force: bool) -> None:
    before, after = (_flat(with_defaults(config).model_dump(mode="json")) for config in (stored, wanted))
    harmless = {f"train.{key}" for key in HARMLESS} | {"data.path", "data.skip_bad"}
    differing = [
        key
        for key in sorted(before.keys() | after.keys())
        if before.get(key) != after.get(key) and key not in harmless and not key.startswith("sample.")
    ]
    fixed = [key for key in differing if not key.startswith(FORCEABLE) or key in FIXED]
    if fixed or (differing and not force):
        changes = "; ".join(f"{key} is {before.get(key)} there and cannot become {after.get(key)}" for key in differing)
        way_out = "train a new run (without `resume`)" if fixed else "`force` goes on with these changes"
        raise RequestError(f"{run.folder} is being resumed: {changes};\n{way_out}, or leave it as it is")


def _flat(tree: dict[str, Any], prefix: str = "") -> dict[str, Any]:
    """{"train": {"lr": 1}} -> {"train.lr": 1}."""
    flat: dict[str, Any] = {}
    for key, value in tree.items():
        if key in PARTS and isinstance(value, str):
            value = {"name": value}
        flat |= _flat(value, f"{prefix}{key}.") if isinstance(value, dict) else {f"{prefix}{key}": value}
    return flat


def _starting_point(
    config: Config, run: Run | None, init: Path | None, ranks: Ranks
) -> tuple[Config, Checkpoint | None]:
    """The checkpoint that training starts from, if any, and the configuration that says so.

    A run that goes on has its own copy; `init` may name the same checkpoint again.

    Raises:
        RequestError: there is none, or another one than the run started from.
    """
    if run is not None:
        file = _kept_init(run, config, init)
        return config, None if file is None else read_checkpoint(file, ranks.device)
    named = init or (Path(config.init.path).expanduser() if config.init else None)
    if named is None:
        return config, None
    file = checkpoint_file(named)
    section = InitSection(path=str(file), checksum=tensor_files.checksum(file))
    if config.init and config.init.checksum not in (None, section.checksum) and init is None:
        raise RequestError(f"{file} is not the checkpoint that init.checksum names; leave that out to take it")
    return config.model_copy(update={"init": section}), read_checkpoint(file, ranks.device)


def _kept_init(run: Run, config: Config, init: Path | None) -> Path | None:
    """The copy that a run keeps of what it started from; the checkpoint itself where the copy is gone."""
    section = config.init
    if section is None:
        if init is not None:
            raise RequestError(f"{run.folder} is being resumed, and did not start from a checkpoint; leave out `init`")
        return None
    if init is not None and init.exists() and tensor_files.checksum(checkpoint_file(init)) != section.checksum:
        raise RequestError(
            f"{run.folder} is being resumed, and started from {section.path}, not from {init}; leave out `init`"
        )
    for file in (run.init, Path(section.path)):
        if tensor_files.checksum(file) == section.checksum:
            return file
    raise RequestError(
        f"{run.folder} cannot be resumed without what it started from: {run.init} is missing or damaged, and so is\n"
        f"{section.path}; put the checkpoint with SHA-256 {section.checksum} at either place"
    )


def as_path(path: str | PathLike[str] | None) -> Path | None:
    """A path with ~ written out."""
    return None if path is None else Path(path).expanduser()
