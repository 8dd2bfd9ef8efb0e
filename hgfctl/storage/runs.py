"""Run folders: runs/<preset>-<number>/ with its configuration, log, checkpoints, training states and samples.

config.yaml                             the resolved configuration
log.jsonl                               one JSON object a line
checkpoints/step-00001000.safetensors   EMA weights: all that sampling needs
state/step-00001000.safetensors         what resuming needs besides; the newest are kept
emas/step-00001000.safetensors          snapshots of power-function averages, where there are any
init.safetensors                        a copy of the checkpoint that training started from, where it did
samples/
"""

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from hgfctl.errors import HgfctlError, RequestError
from hgfctl.storage import tensor_files
from hgfctl.storage.atomic import replacing


@dataclass(frozen=True)
class Run:
    """A run folder."""

    folder: Path

    @classmethod
    def create(cls, root: Path, name: str) -> "Run":
        """A new folder root/<name>-<number>, with the next free number.

        Raises:
            HgfctlError: it cannot be made.
        """
        try:
            root.mkdir(parents=True, exist_ok=True)
            number = 1 + max((numbered(path, name) for path in root.iterdir()), default=0)
            while True:
                folder = root / f"{name}-{number:03d}"
                try:
                    folder.mkdir()
                except FileExistsError:  # another run has just taken it
                    number += 1
                    continue
                return cls(folder)
        except OSError as error:
            raise HgfctlError(f"cannot make a run folder in {root}: {error.strerror}") from None

    @classmethod
    def newest(cls, root: Path, name: str) -> "Run | None":
        """The run of this name with the highest number that has a configuration, if there is one."""
        found = [path for path in root.glob(f"{name}-*") if numbered(path, name) and (path / "config.yaml").exists()]
        return cls(max(found, key=lambda path: numbered(path, name))) if found else None

    @property
    def config(self) -> Path:
        return self.folder / "config.yaml"

    @property
    def init(self) -> Path:
        return self.folder / "init.safetensors"

    @property
    def log(self) -> Path:
        return self.folder / "log.jsonl"

    @property
    def samples(self) -> Path:
        return self.folder / "samples"

    @property
    def checkpoint(self) -> Path:
        """The newest checkpoint.

        Raises:
            RequestError: there is none yet.
        """
        found = self.checkpoints()
        if not found:
            raise RequestError(f"{self.folder} holds no checkpoint yet (checkpoints/step-*.safetensors)")
        return found[-1]

    def checkpoint_at(self, step: int) -> Path:
        return self.folder / "checkpoints" / _file(step)

    def state(self, step: int) -> Path:
        return self.folder / "state" / _file(step)

    def snapshot(self, step: int) -> Path:
        return self.folder / "emas" / _file(step)

    def snapshots(self) -> list[Path]:
        """Snapshots of power-function averages, oldest first."""
        return sorted((self.folder / "emas").glob("step-*.safetensors"))

    def checkpoints(self) -> list[Path]:
        """Checkpoints, oldest first."""
        return sorted((self.folder / "checkpoints").glob("step-*.safetensors"))

    def resumable_steps(self) -> list[int]:
        """Steps with a checkpoint and a state, newest first."""
        states = {step_of(path) for path in (self.folder / "state").glob("step-*.safetensors")}
        return sorted(states & {step_of(path) for path in self.checkpoints()}, reverse=True)

    def drop_old_states(self, keep: int) -> None:
        """Keeps the newest states only; with an old one goes its checkpoint, if that was not written to last."""
        for path in sorted((self.folder / "state").glob("step-*.safetensors"))[:-keep]:
            passing = not tensor_files.description(path).get("lasting", True)
            path.unlink()
            if passing:
                self.checkpoint_at(step_of(path)).unlink(missing_ok=True)

    def sweep(self) -> None:
        """Removes what a killed process left half-written."""
        for path in self.folder.rglob(".*"):
            if path.is_file():
                path.unlink()

    def append_log(self, row: Mapping[str, Any]) -> None:
        """One line of log.jsonl.

        Raises:
            HgfctlError: it cannot be written.
        """
        try:
            with self.log.open("a", encoding="utf-8") as file:
                file.write(json.dumps(row) + "\n")
        except OSError as error:
            raise HgfctlError(f"cannot write {self.log}: {error.strerror}") from None

    def read_log(self) -> list[dict[str, Any]]:
        """The rows of log.jsonl; a last line cut short by a crash is left out.

        Raises:
            RequestError: there is no log.
        """
        try:
            lines = self.log.read_text(encoding="utf-8").splitlines()
        except OSError:
            raise RequestError(f"{self.folder} holds no log.jsonl: not a run folder of hgfctl's") from None
        rows = []
        for line in lines:
            try:
                rows.append(json.loads(line))
            except json.JSONDecodeError:
                continue
        return rows

    def forget_log_after(self, step: int) -> None:
        """Drops the rows of steps that will be made again."""
        if self.log.exists():
            kept = [row for row in self.read_log() if row["step"] <= step]
            with replacing(self.log) as partial:
                partial.write_text("".join(json.dumps(row) + "\n" for row in kept), encoding="utf-8")


def checkpoint_file(path: Path) -> Path:
    """The checkpoint that a user means: a file, or the newest one of a run folder.

    Raises:
        RequestError: there is none.
    """
    if path.is_file():
        return path
    if path.is_dir():
        return Run(path).checkpoint
    raise RequestError(f"no such checkpoint or run folder: {path}")


def newest_run(root: Path) -> Run | None:
    """The run below a folder whose newest checkpoint is the newest of all, if there is one."""
    found = [
        (run[-1].stat().st_mtime, run[-1])
        for path in root.glob("*/config.yaml")
        if (run := Run(path.parent).checkpoints())
    ]
    return Run(max(found)[1].parent.parent) if found else None


def run_of(checkpoint: Path) -> Run | None:
    """The run that a checkpoint lies in, if it does."""
    folder = checkpoint.resolve().parent.parent
    return Run(folder) if checkpoint.parent.name == "checkpoints" and (folder / "config.yaml").exists() else None


def step_of(path: Path) -> int:
    """The step in the name of a checkpoint or state."""
    return int(path.stem.removeprefix("step-"))


def numbered(path: Path, name: str) -> int:
    """The number of a run folder of this name; 0 for anything else."""
    match = re.fullmatch(re.escape(name) + r"-(\d+)", path.name)
    return int(match[1]) if match else 0


def _file(step: int) -> str:
    return f"step-{step:08d}.safetensors"
