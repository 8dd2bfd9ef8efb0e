"""`hgfctl data`."""

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from hgfctl.cli import console, options
from hgfctl.errors import RequestError

if TYPE_CHECKING:
    import numpy as np

    from hgfctl.engine.data.inspection import Inspection

app = typer.Typer(
    help="Make one zip of your images, or look at what you have.", no_args_is_help=True, rich_markup_mode=None
)

Source = Annotated[
    str,
    typer.Argument(
        metavar="SRC",
        help="A folder or zip of images (class folders or dataset.json are the labels), an .npz or .npy file, "
        "CIFAR-10's archive, or the name of a data set that comes with hgfctl, such as digits.",
    ),
]
SkipBad = Annotated[bool, typer.Option("--skip-bad", help="Leave out images that cannot be used, and count them.")]


@app.command()
def prepare(
    source: Source,
    out: Annotated[Path, typer.Option(help="The zip to write.")],
    resolution: Annotated[
        str | None, typer.Option(metavar="64|64x48", help="Side, or width x height, in pixels; as it is when left out.")
    ] = None,
    skip_bad: SkipBad = False,
    json: options.Json = False,
) -> None:
    """Crop, resize (Lanczos) and pack images into one zip, in the form that EDM and StyleGAN read.

    The same images make the same bytes. Prints the zip's path.
    """
    from hgfctl.engine.data.image_zip import write_zip
    from hgfctl.engine.data.preparing import prepared

    if out.suffix != ".zip":
        raise RequestError(f"--out {out}: name a file that ends in .zip")
    size = None if resolution is None else _size(resolution)
    with console.progress() as bar:
        task = bar.add_task(f"preparing {out.name}", total=None)
        ready = prepared(source, size, skip_bad)

        def watched() -> "Iterator[tuple[np.ndarray, int | None]]":
            for done, image in enumerate(ready.images, 1):
                bar.update(task, completed=done, total=ready.count)
                yield image

        count = write_zip(out, watched())
    _tell(ready.skipped)
    console.note(f"{count} images")
    console.result(out, {"output": str(out), "num": count, "skipped": len(ready.skipped)}, json)


@app.command()
def inspect(
    source: Source,
    out: Annotated[
        Path | None, typer.Option(help="The contact sheet (PNG); <SRC>-sheet.png here when left out.")
    ] = None,
    json: options.Json = False,
) -> None:
    """Count, size, classes, mean, standard deviation, damaged files, and a contact sheet."""
    from hgfctl.engine.data.inspection import inspect as look
    from hgfctl.engine.data.preparing import finite
    from hgfctl.engine.figures.samples import samples_figure

    with console.working("reading"):
        found = look(finite(source, skip_bad=True))
    sheet = out or Path(f"{Path(source.rstrip('/')).name.split('.')[0] or 'data'}-sheet.png")
    samples_figure(*found.sheet).save(sheet)
    facts = {
        "count": found.count,
        "shape": list(found.shape),
        "classes": found.classes,
        "class_names": found.class_names,
        "mean": found.mean,
        "sd": found.sd,
        "root_mean_square": found.root_mean_square,
        "damaged": found.skipped,
        "sheet": str(sheet),
    }
    console.result(_table(found, sheet), facts, json)


def _table(found: "Inspection", sheet: Path) -> str:
    def numbers(values: list[float]) -> str:
        return "  ".join(f"{value:.4f}" for value in values)

    rows = [("items", f"{found.count:,} of shape {tuple(found.shape)}")]
    if found.classes:
        names = found.class_names or [str(i) for i in range(len(found.classes))]
        shown = [f"{name} {count:,}" for name, count in zip(names, found.classes, strict=True)][:20]
        more = f", and {len(names) - 20} more" if len(names) > 20 else ""
        rows.append(("classes", f"{len(names)}: {', '.join(shown)}{more}"))
    else:
        rows.append(("classes", "none"))
    rows += [
        ("mean", numbers(found.mean)),
        ("sd", numbers(found.sd)),
        (
            "sd for flows",
            f"{found.root_mean_square:.4f} (root mean square; training measures it unless flow.sd is set)",
        ),
        ("damaged", str(len(found.skipped))),
        *(("", line) for line in found.skipped[:20]),
        ("sheet", str(sheet)),
    ]
    return "\n".join(f"{name:14}{text}" for name, text in rows)


def _size(text: str) -> tuple[int, int]:
    """ "64" or "64x48" (width x height) -> (height, width)."""
    parts = text.lower().split("x")
    if len(parts) > 2 or not all(part.isdigit() and int(part) > 0 for part in parts):
        raise RequestError(f"--resolution {text}: a side such as 64, or width x height such as 64x48")
    return int(parts[-1]), int(parts[0])


def _tell(skipped: list[str]) -> None:
    for line in skipped[:10]:
        console.note(f"skipped {line}")
    if skipped:
        console.note(f"skipped {len(skipped)} images in all")
