"""Pictures for the documentation, made from a study: real beside synthetic, and the report in a browser.

    python benchmarks/pictures.py STUDY OUT_DIR [--chromium PATH]

Writes OUT_DIR/real_beside_synthetic.png and OUT_DIR/report.png. The first holds images of real cases: make it
from public data or from a phantom cohort only, and name the source where it is shown.
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
from scansynth.report.render import write_report
from scansynth.study import Study, open_study

PANEL = 760
"""Side of each grid in the picture, pixels."""

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


def make_pictures(study: Study, out: Path, chromium: str | None) -> list[Path]:
    """Writes the pictures and returns their paths.

    Args:
        study: A study with a synthetic set.
        out: Folder for the pictures; made when it is not there.
        chromium: The browser; none: no screenshot.
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
    return written


def main() -> None:
    """Reads the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("study", type=Path)
    parser.add_argument("out", type=Path)
    parser.add_argument("--chromium", default=shutil.which("chromium"), help="path of the browser")
    options = parser.parse_args()
    for path in make_pictures(open_study(options.study), options.out, options.chromium):
        print(f"wrote {path}")


if __name__ == "__main__":
    main()
