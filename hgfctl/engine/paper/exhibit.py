"""An exhibit: pictures, what they show, and what was measured; kept in a folder, and found there again."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from hgfctl.engine.figures.picture import Picture
from hgfctl.storage.atomic import replacing


@dataclass(frozen=True)
class Plate:
    """One picture of an exhibit.

    Args:
        file: its name.
        alt: what can be seen, for those who cannot see it.
    """

    file: str
    alt: str


@dataclass(frozen=True)
class Said:
    """What is said of an exhibit; plain text.

    Args:
        title: its heading.
        caption: paragraphs.
        measured: (what, its value), each measured in this very run.
        plates: its pictures.
        facts: the numbers, for programs.
    """

    title: str
    caption: Sequence[str]
    measured: Sequence[tuple[str, str]]
    plates: Sequence[Plate]
    facts: Mapping[str, Any]


@dataclass(frozen=True)
class Exhibit:
    """With a picture for each plate."""

    said: Said
    pictures: Sequence[Picture]

    def timed(self, seconds: float) -> "Exhibit":
        """With what making it took among its facts."""
        return replace(self, said=replace(self.said, facts={**self.said.facts, "seconds": round(seconds, 3)}))


def keep(folder: Path, name: str, exhibit: Exhibit, origin: Mapping[str, Any]) -> None:
    """Writes the pictures, and last of all <name>.json, which says that they are whole.

    Args:
        folder: to write to.
        name: of the exhibit.
        exhibit: itself.
        origin: all that it depends on.

    Raises:
        HgfctlError: a file cannot be written.
    """
    for plate, picture in zip(exhibit.said.plates, exhibit.pictures, strict=True):
        picture.save(folder / plate.file)
    with replacing(folder / f"{name}.json") as partial:
        partial.write_text(json.dumps({"origin": origin, **asdict(exhibit.said)}, indent=1), encoding="utf-8")


def kept(folder: Path, name: str, origin: Mapping[str, Any]) -> Said | None:
    """What `keep` wrote, if it is whole and depends on the same things."""
    try:
        found = json.loads((folder / f"{name}.json").read_text(encoding="utf-8"))
        if found.pop("origin") != json.loads(json.dumps(origin)):
            return None
        plates = [Plate(**plate) for plate in found.pop("plates")]
        measured = [(str(what), str(value)) for what, value in found.pop("measured")]
        said = Said(plates=plates, measured=measured, **found)
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return None
    return said if all((folder / plate.file).is_file() for plate in plates) else None
