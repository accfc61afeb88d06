"""Pictures for the documentation, made from a study: real beside synthetic, and the report in a browser.

    python benchmarks/pictures.py STUDY OUT_DIR [--release RELEASE] [--chromium PATH]

Writes OUT_DIR/real_beside_synthetic.png and OUT_DIR/report.png; with a release of the study also those of the tutorial:
the training, the gallery, and the public report. Some hold images of real cases: make them from public data or from a
phantom cohort only, and name the source where they are shown.
"""

from __future__ import annotations

import argparse
import base64
import io
import shutil
from pathlib import Path

from PIL import Image, ImageDraw, ImageFont

from scansynth.report.collect import GRID_SIDE, GridPair, collect
from scansynth.report.figures.pictures import GROUND, Picture, montage, shrink_factor
from scansynth.report.gallery import write_gallery
from scansynth.report.render import write_report
from scansynth.study import GRIDS, PAGE, Study, open_study

PANEL = 760
"""Side of each grid in the picture, pixels."""

CORNER = 256
"""Side of what is shown of a grid of the training, pixels."""

VIEW = {"width": 1280, "height": 900}
"""Window of the screenshot, in CSS pixels."""


def _image(picture: Picture) -> Image.Image:
    return Image.open(io.BytesIO(base64.b64decode(picture.uri.split(",", 1)[1])))


def _panel(picture: Picture) -> Image.Image:
    image = _image(picture)
    height = round(image.height * PANEL / image.width)
    return image.resize((PANEL, height), Image.Resampling.LANCZOS)


def beside(pair: GridPair) -> Image.Image:
    """Real images on the left, synthetic ones on the right, in the same window and at the same scale."""
    factor = shrink_factor(pair.real.shape[1], 2, GRID_SIDE**2)
    panels = [_panel(montage(images, GRID_SIDE, factor)) for images in (pair.real, pair.synthetic)]
    font = ImageFont.load_default(size=26)
    edge, head = 20, 56
    canvas = Image.new("L", (2 * PANEL + 3 * edge, head + panels[0].height + edge), GROUND)
    pen = ImageDraw.Draw(canvas)
    for column, (encoders, title) in enumerate(zip(panels, ("Real", "Synthetic"), strict=True)):
        left = edge + column * (PANEL + edge)
        pen.text((left, head / 2), title, font=font, fill=225, anchor="lm")
        canvas.paste(encoders, (left, head))
    return canvas


def screenshot(page_file: Path, target: Path, chromium: str) -> None:
    """The top of the report, as a browser on a worklist shows it."""
    from playwright.sync_api import sync_playwright  # noqa: PLC0415 - only this picture needs a browser

    with sync_playwright() as play:
        browser = play.chromium.launch(executable_path=chromium, args=["--no-sandbox", "--disable-gpu"])
        page = browser.new_page(viewport=VIEW, device_scale_factor=1.5, color_scheme="light")
        page.goto(page_file.as_uri())
        page.screenshot(path=str(target))
        browser.close()


def through_training(run: Path) -> Image.Image:
    """A corner of the first, a middle and the last grid of the same noise, in a row."""
    grids = sorted((run / GRIDS).glob("*.png"))
    chosen = [Image.open(grids[place]) for place in (0, (len(grids) - 1) // 2, len(grids) - 1)]
    side, edge = CORNER, 12
    canvas = Image.new("L", (len(chosen) * (side + edge) - edge, side), 255)
    for column, grid in enumerate(chosen):
        canvas.paste(grid.crop((0, 0, side, side)), (column * (side + edge), 0))
    return canvas


def for_tutorial(study: Study, release: Path, out: Path, chromium: str) -> list[Path]:
    """Writes the pictures of the tutorial, and the gallery of the study."""
    through_training(study.run()).save(out / "tutorial-training.png", optimize=True)
    screenshot(write_gallery(study), out / "tutorial-gallery.png", chromium)
    screenshot(release / "report" / PAGE, out / "tutorial-public.png", chromium)
    return [out / f"tutorial-{name}.png" for name in ("training", "gallery", "public")]


def make_pictures(study: Study, out: Path, chromium: str | None, release: Path | None = None) -> list[Path]:
    """Writes the pictures and returns their paths.

    Args:
        study: A study with a synthetic set.
        out: Folder for the pictures; made when it is not there.
        chromium: The browser; none: no screenshot.
        release: A release of the study; none: the pictures of the tutorial are left out.
    """
    out.mkdir(parents=True, exist_ok=True)
    written = []
    found = collect(study).synthetic
    if found and found.grids:
        written.append(out / "real_beside_synthetic.png")
        beside(found.grids[-1]).save(written[-1], optimize=True)
    if chromium:
        written.append(out / "report.png")
        screenshot(write_report(study), written[-1], chromium)
    if chromium and release:
        written += for_tutorial(study, release, out, chromium)
    return written


def main() -> None:
    """Reads the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("study", type=Path)
    parser.add_argument("out", type=Path)
    parser.add_argument("--release", type=Path, help="a release of the study, for the pictures of the tutorial")
    parser.add_argument("--chromium", default=shutil.which("chromium"), help="path of the browser")
    options = parser.parse_args()
    for path in make_pictures(open_study(options.study), options.out, options.chromium, options.release):
        print(f"wrote {path}")


if __name__ == "__main__":
    main()
