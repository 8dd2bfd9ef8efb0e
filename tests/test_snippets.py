"""Every Python snippet of the guides runs: a page's blocks in order, in one folder, as a reader would type them."""

import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PAGES = [page for page in (ROOT / "README.md", *sorted((ROOT / "hgfctl" / "guide").glob("*.md"))) if page.exists()]
SMALLER = {"20_000": "640", "200_000": "640", "10_000": "200"}
"""Numbers of images and items that a reader waits for, and what they are here."""


def snippets(page: Path) -> list[str]:
    """The ```python blocks of a page, in order, with small sizes."""
    blocks: list[str] = re.findall(r"^```python\n(.*?)^```", page.read_text(encoding="utf-8"), re.MULTILINE | re.DOTALL)
    for many, few in SMALLER.items():
        blocks = [block.replace(many, few) for block in blocks]
    return blocks


@pytest.mark.parametrize("page", [page for page in PAGES if snippets(page)], ids=lambda page: page.name)
def test_a_pages_snippets_run_in_order(page: Path, tmp_path: Path) -> None:
    """Each block is a cell: it sees the names of those before it."""
    cells = [f"exec(compile({block!r}, 'snippet {i + 1}', 'exec'))" for i, block in enumerate(snippets(page))]
    (tmp_path / "page.py").write_text("\n".join(cells), encoding="utf-8")
    command = [sys.executable, "page.py"]
    done = subprocess.run(command, capture_output=True, text=True, cwd=tmp_path, timeout=300, check=False)
    assert done.returncode == 0, done.stderr
