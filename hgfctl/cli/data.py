"""`hgfctl data`."""

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from hgfctl.cli import console
from hgfctl.errors import RequestError

if TYPE_CHECKING:
    import numpy as np

    from hgfctl.engine.data.dataset import Finite
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
    json: Annotated[bool, typer.Option("--json", help="Print one JSON object in place of the path.")] = False,
) -> None:
    """Crop, resize (Lanczos) and pack images into one zip, in the form that EDM and StyleGAN read.

    The same images make the same bytes. Prints the zip's path.
    """
    from hgfctl.engine.data.image_zip import write_zip

    if out.suffix != ".zip":
        raise RequestError(f"--out {out}: name a file that ends in .zip")
    size = None if resolution is None else _size(resolution)
    skipped: list[str] = []
    with console.progress() as bar:
        task = bar.add_task(f"preparing {out.name}", total=None)

        def watched() -> Iterator[tuple["np.ndarray", int | None]]:
            for done, total, pixels, label in _images(source, size, skip_bad, skipped):
                bar.update(task, completed=done, total=total)
                yield pixels, label

        count = write_zip(out, watched())
    _tell(skipped)
    console.note(f"{count} images")
    console.result(out, {"output": str(out), "num": count, "skipped": len(skipped)}, json)


@app.command()
def inspect(
    source: Source,
    out: Annotated[
        Path | None, typer.Option(help="The contact sheet (PNG); <SRC>-sheet.png here when left out.")
    ] = None,
    json: Annotated[bool, typer.Option("--json", help="Print one JSON object in place of the table.")] = False,
) -> None:
    """Count, size, classes, mean, standard deviation, damaged files, and a contact sheet."""
    from hgfctl.engine.data.inspection import inspect as look
    from hgfctl.engine.figures.samples import samples_figure

    with console.working("reading"):
        found = look(_finite(source, skip_bad=True))
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


def _images(
    source: str, size: tuple[int, int] | None, skip_bad: bool, skipped: list[str]
) -> Iterator[tuple[int, int, "np.ndarray", int | None]]:
    """Number so far, number in all, pixels (H, W, C), class; streamed, where the images lie in files."""
    import numpy as np
    import torch
    from PIL import Image

    from hgfctl.engine.data.decoding import resized
    from hgfctl.engine.data.image_stores import store
    from hgfctl.engine.data.images import decode_all, usual_size
    from hgfctl.engine.data.locate import kind_of, locate

    if kind_of(source) == "folder":
        files = store(locate(source))
        found = {name: p if isinstance(p, str) else p.shape for name, p in decode_all(files, size)}
        sizes = [shape for shape in found.values() if not isinstance(shape, str)]
        usual, grey = usual_size(sizes), all(shape[2] == 1 for shape in sizes)
        bad = {
            name: shape if isinstance(shape, str) else "is of another size than most; --resolution N makes them one"
            for name, shape in found.items()
            if isinstance(shape, str) or shape[:2] != usual
        }
        skipped += [f"{files.where(name)}: {problem}" for name, problem in bad.items()]
        if len(bad) == len(found) or (bad and not skip_bad):
            raise RequestError(
                f"{len(bad)} of {len(found)} images cannot be used: {skipped[0]}\n--skip-bad leaves such images out"
            )
        kept = [name for name in files.names if name not in bad]
        known = files.labels(kept)
        labels = known[0] if known else [None] * len(kept)
        good = ((name, p) for name, p in decode_all(files, size, 1 if grey else 3) if not isinstance(p, str))
        usable = (pixels for name, pixels in good if name not in bad)
        for done, (pixels, label) in enumerate(zip(usable, labels, strict=True), 1):
            yield done, len(kept), pixels, label
        return
    data = _finite(source, skip_bad)
    if len(data.shape) != 3:
        raise RequestError(f"{source} holds vectors of shape {data.shape}, not images")
    for i in range(len(data)):
        x, kinds = data.at(torch.tensor([i]))
        pixels = ((x[0] + 1) * 127.5).round().clamp(0, 255).byte().permute(1, 2, 0).numpy()
        if size is not None:
            image = resized(Image.fromarray(pixels.squeeze(-1) if pixels.shape[2] == 1 else pixels), *size)
            pixels = np.asarray(image).reshape(*size, -1)
        yield i + 1, len(data), pixels, None if kinds is None else int(kinds[0])


def _finite(source: str, skip_bad: bool) -> "Finite":
    from hgfctl.engine.data import DATA
    from hgfctl.engine.data.dataset import Finite
    from hgfctl.engine.data.locate import kind_of

    kind = kind_of(source)
    options: dict[str, Any] = {} if kind == source else {"path": source}
    if kind == "folder":
        options["skip_bad"] = skip_bad
    data = DATA.build(kind, options)
    if not isinstance(data, Finite):
        raise RequestError(f"data '{source}' is a law, not a set: its items are drawn afresh and without end")
    return data


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
