"""The pages as a site: every link of theirs leads somewhere, every page is in the navigation, and a
browser needs no other server.
"""

from __future__ import annotations

import re
import shutil
import subprocess
from pathlib import Path
from urllib.parse import unquote

import pytest

from tests.support import browser
from tests.support.command import CHECKOUT, Once, command

NARROW = 390  # pixels, of a phone


def build(site: Path) -> None:
    done = command("-m", "sphinx", "-q", "-W", "--keep-going", "-c", "docs", "-d", site.with_name("doctrees"), ".", site)
    assert done.returncode == 0, done.stderr


@pytest.fixture(scope="module")
def site(once: Once) -> Path:
    """Built as `make docs` does, where a link or an anchor that leads nowhere is an error."""
    return once("site", build)


def test_every_page_of_git_is_one_of_the_site(site: Path) -> None:
    if shutil.which("git") is None or not (CHECKOUT / ".git").exists():
        pytest.skip("needs git and a git checkout")
    tracked = subprocess.run(["git", "ls-files", "*.md"], cwd=CHECKOUT, capture_output=True, text=True, check=True).stdout
    assert [page for page in tracked.splitlines() if not (site / page).with_suffix(".html").is_file()] == []


def test_its_first_page_is_found_without_a_name(site: Path) -> None:
    [place] = re.findall(r"url=([^\"]+)", (site / "index.html").read_text("utf-8"))
    assert (site / place).is_file()


def test_every_address_in_a_page_is_a_file_of_the_site(site: Path) -> None:
    missing = set()
    for page in site.rglob("*.html"):
        for address in re.findall(r"(?:href|src)=\"([^\"#?]+)", page.read_text("utf-8")):
            if not address.startswith(("http:", "https:", "mailto:", "data:")) and not (page.parent / unquote(address)).exists():
                missing.add(f"{page.relative_to(site)}: {address}")
    assert missing == set()


@pytest.mark.skipif(shutil.which("chromium") is None, reason="needs Chromium: apt-get install chromium")
@pytest.mark.parametrize("page", ["README", "docs/commands", "docs/reliability"])
def test_a_page_fits_a_phone_and_asks_nobody(site: Path, tmp_path: Path, page: str) -> None:
    with browser.opened(site / f"{page}.html", tmp_path / "profile", width=NARROW) as opened:
        assert opened.evaluate("document.documentElement.scrollWidth - innerWidth") <= 0
        assert (opened.requested, opened.errors) == ([], [])
