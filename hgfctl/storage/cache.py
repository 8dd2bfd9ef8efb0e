"""Files that hgfctl fetches or makes once: HGFCTL_CACHE, or ~/.cache/hgfctl."""

import hashlib
import os
import urllib.request
from dataclasses import dataclass
from pathlib import Path

from hgfctl.errors import HgfctlError
from hgfctl.storage.atomic import replacing

TIMEOUT = 30
"""Seconds that a server may be silent."""


@dataclass(frozen=True)
class Published:
    """A file that its authors publish.

    Args:
        name: of the file.
        url: where it comes from.
        size: in bytes.
        sha256: its checksum.
    """

    name: str
    url: str
    size: int
    sha256: str

    @property
    def place(self) -> Path:
        """Where it is kept, and where a user may put it by hand."""
        return cache_folder() / "weights" / self.name

    def found(self) -> Path | None:
        """The file, if it is in the cache.

        Raises:
            HgfctlError: it is there, and damaged.
        """
        for path in (self.place, cache_folder() / self.name):
            if path.exists():
                verify(path, self.sha256)
                return path
        return None

    def fetched(self, instead: str) -> Path:
        """The file, from the cache or downloaded; it appears when it is whole and its checksum right.

        Args:
            instead: what a user can do without it.

        Raises:
            HgfctlError: it cannot be had; with all that is needed to fetch it by hand.
        """
        path = self.found()
        if path:
            return path
        with replacing(self.place) as partial:
            try:
                with urllib.request.urlopen(self.url, timeout=TIMEOUT) as answer, partial.open("wb") as file:
                    while block := answer.read(1 << 20):
                        file.write(block)
            except OSError as error:
                raise HgfctlError(
                    f"no {self.name} in {cache_folder()}, and {self.url} does not answer ({reason(error)})\n"
                    f"put it ({self.size:,} bytes, SHA-256 {self.sha256}) at {self.place}; {instead}"
                ) from None
            verify(partial, self.sha256, self.url)
        return self.place


def cache_folder() -> Path:
    """The folder that HGFCTL_CACHE names, else ~/.cache/hgfctl."""
    return Path(os.environ.get("HGFCTL_CACHE") or "~/.cache/hgfctl").expanduser()


def sha256(path: Path) -> str:
    """The SHA-256 of a file's content.

    Raises:
        HgfctlError: it cannot be read.
    """
    try:
        with path.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    except OSError as error:
        raise HgfctlError(f"cannot read {path}: {error.strerror}") from None


def verify(path: Path, expected: str, where: str = "") -> None:
    """Raises HgfctlError unless a file has this SHA-256."""
    digest = sha256(path)
    if digest != expected:
        raise HgfctlError(f"{where or path} is damaged: its SHA-256 is {digest}, not {expected}; fetch it again")


def reason(error: Exception) -> str:
    """An error in a few words."""
    text = str(getattr(error, "reason", None) or error or type(error).__name__)
    return text.splitlines()[0]
