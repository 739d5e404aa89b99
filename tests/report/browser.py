"""A headless Chromium for tests of the page. `CHROMIUM` names the program, else PATH has it."""

import html
import json
import os
import re
import shutil
import subprocess
import tempfile
from urllib.parse import quote

NAMES = ("chromium", "chromium-browser", "google-chrome", "chrome")
MISSING = (
    "needs Chromium: apt-get install chromium, or set CHROMIUM to the program of one that is there"
)
FLAGS = (
    "--headless", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", "--no-first-run",
    "--disable-background-networking", "--disable-component-update", "--disable-sync",
    "--disable-extensions", "--hide-scrollbars", "--window-size=1500,900",
)  # fmt: skip


def chromium():
    """The program, or None."""
    wanted = os.environ.get("CHROMIUM")
    return shutil.which(wanted) if wanted else next(filter(None, map(shutil.which, NAMES)), None)


class Page:
    """A page as it is after its script ran: `dom` as text, `check` what the page says of itself."""

    def __init__(self, dom):
        self.dom = dom
        found = re.search(r'<output id="check"[^>]*>(.*?)</output>', dom, re.S)
        assert found, "the page's script did not come to its end"
        self.check = json.loads(html.unescape(found[1]))

    def part(self, element):
        """Visible words of the element of an id, tags left out."""
        start = self.dom.index(f'id="{element}"')
        tag = re.search(r"<(\w+)[^<]*$", self.dom[:start])[1]
        end = self.dom.index(f"</{tag}>", start)
        inner = self.dom[self.dom.index(">", start) + 1 : end]
        return re.sub(r"\s+", " ", html.unescape(re.sub(r"<[^>]*>", " ", inner))).strip()


def open_page(path, fragment="", *flags, patience=120):
    """Open a file, wait until its script is done, and read it."""
    with tempfile.TemporaryDirectory() as profile:
        done = subprocess.run(
            [
                chromium(), *FLAGS, *flags, f"--user-data-dir={profile}",
                "--virtual-time-budget=10000", "--dump-dom",
                f"file://{quote(str(path))}#{fragment}",
            ],
            capture_output=True, text=True, timeout=patience, check=False,
        )  # fmt: skip
    assert done.returncode == 0, done.stderr[-2000:]
    return Page(done.stdout)
