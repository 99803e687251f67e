"""A picture of the page of `fireflow serve`, taken in an installed Chromium: docs/serve.png, which the README shows.

    python scripts/screenshot.py [BUNDLE] [--picture coffee.png] [-o docs/serve.png]

Needs playwright (`pip install playwright`; no browser of its own) and chromium or google-chrome on the path.
"""

from __future__ import annotations

import argparse
import shutil
import sys
from pathlib import Path

import PIL.Image

from fireflow import Accelerator, Bundle, lower
from fireflow.host.service import Service, make_app
from fireflow.host.service.background import served
from fireflow.quant.zoo import DEFAULT

BROWSERS = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable", "chrome")
WIDTH, HEIGHT, COLOURS = 980, 480, 128
MAX_BYTES = 300_000
FLAGS = ("--no-sandbox", "--use-fake-ui-for-media-stream", "--use-fake-device-for-media-stream")
"""For a container without user namespaces, and a camera without asking."""


def find_browser() -> str | None:
    """The first browser on the path that playwright can drive."""
    return next(filter(None, map(shutil.which, BROWSERS)), None)


def main() -> int:
    """Returns 0 if the picture is small enough for the README."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument(
        "bundle", nargs="?", type=Path, help="by default the shipped 1000-class w4a4 network, lowered"
    )
    parser.add_argument("--picture", type=Path, help="to upload; scikit-image's cup of coffee by default")
    parser.add_argument("-o", "--output", type=Path, default=Path("docs/serve.png"))
    args = parser.parse_args()
    browser = find_browser()
    if browser is None:
        parser.error(f"a browser must be installed: one of {', '.join(BROWSERS)}")
    from skimage.data import data_dir

    picture = args.picture or Path(data_dir) / "coffee.png"
    bundle = lower(DEFAULT) if args.bundle is None else Bundle.load(args.bundle)
    with Accelerator(bundle) as accelerator, served(make_app(Service(accelerator, 16))) as port:
        take(browser, port, picture, args.output)
    size = args.output.stat().st_size
    print(f"{args.output}: {size} bytes")
    return int(size > MAX_BYTES)


def take(browser: str, port: int, picture: Path, output: Path) -> None:
    """Uploads a picture and saves what the page shows."""
    from playwright.sync_api import sync_playwright

    with sync_playwright() as tool:
        opened = tool.chromium.launch(executable_path=browser, args=list(FLAGS))
        page = opened.new_page(viewport={"width": WIDTH, "height": HEIGHT})
        page.goto(f"http://127.0.0.1:{port}/")
        page.set_input_files("#file", str(picture))
        page.wait_for_selector(".row")
        page.wait_for_timeout(500)  # the picture is drawn beside the request
        output.parent.mkdir(parents=True, exist_ok=True)
        page.screenshot(path=str(output))
        opened.close()
    with PIL.Image.open(output) as full:
        small = full.convert("RGB").quantize(COLOURS)
    small.save(output, optimize=True)


if __name__ == "__main__":
    sys.exit(main())
