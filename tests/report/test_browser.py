"""The page in a real browser: no message on its console, nothing wider than the screen. Skipped where none is."""

import shutil
import subprocess
from html import escape
from pathlib import Path

import pytest
from PIL import Image

from sslbolts.report import write_report
from tests.report.folders import make_run

BROWSER = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
pytestmark = pytest.mark.skipif(BROWSER is None, reason="no chromium is installed")


def browse(page: Path, *options: str) -> subprocess.CompletedProcess:
    quiet = ["--headless=new", "--no-sandbox", "--disable-gpu", "--enable-logging=stderr", "--virtual-time-budget=2000"]
    profile = f"--user-data-dir={page.parent / 'profile'}"
    return subprocess.run(
        [BROWSER, *quiet, profile, *options, page.resolve().as_uri()], capture_output=True, text=True, timeout=120
    )


@pytest.fixture(params=[1, 2], ids=["one run", "two runs"])
def page(request, tmp_path) -> Path:
    long = "/".join(["averylongnamewithoutanyspace"] * 4)
    folders = [make_run(tmp_path / f"run{number}", model=f"Net{number}") for number in range(request.param)]
    (folders[0] / "run.json").write_text(f'{{"command": "sslbolts fit --ckpt_path={long}/{long}", "model": "{long}"}}')
    Image.new("RGB", (2600, 900), "white").save(folders[0] / "wide.png")
    return write_report(folders, tmp_path / "report.html")


def test_the_console_stays_empty_and_the_page_is_drawn(page, tmp_path):
    picture = tmp_path / "page.png"
    done = browse(page, "--window-size=1400,1000", f"--screenshot={picture}")
    assert "CONSOLE" not in done.stderr
    with Image.open(picture) as drawn:
        assert len(drawn.convert("RGB").getcolors(maxcolors=10**6)) > 20


def test_nothing_is_wider_than_the_screen(page, tmp_path):
    frame, widths = tmp_path / "frame.html", (390, 400, 1400)
    measure = (
        "const found = [];"
        "function measure(frame) {"
        "const page = frame.contentDocument.documentElement;"
        "const bar = page.querySelector('nav ul'), box = bar.getBoundingClientRect();"
        "const cut = [...bar.children].filter(item => item.getBoundingClientRect().right > box.right + 0.5);"
        "found.push(`${frame.width}: ${page.scrollWidth - page.clientWidth + cut.length}`);"
        "document.title = 'overflow ' + found.sort().join(', ') }"
    )
    attributes = f'height="800" style="border: 0" onload="measure(this)" srcdoc="{escape(page.read_text())}"'
    frames = [f'<iframe width="{width}" {attributes}></iframe>' for width in widths]
    frame.write_text(f"<script>{measure}</script>{''.join(frames)}")
    assert "<title>overflow 1400: 0, 390: 0, 400: 0</title>" in browse(frame, "--dump-dom").stdout
