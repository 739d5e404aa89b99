"""The pages hold together: links and anchors, navigation, and every public name in the reference.

`scripts/docs` proves more, by building the site; what stands here needs none of its packages.
"""

from __future__ import annotations

import re
from pathlib import Path

import pytest
import yaml

import byoc
import byoc.vendor

ROOT = Path(__file__).parents[1]
DOCS = ROOT / "docs"
PAGES = sorted(
    [*DOCS.rglob("*.md"), *ROOT.glob("*.md"), *(ROOT / "vendor_templates").rglob("*.md")]
)
REFERENCE = sorted((DOCS / "api").glob("*.md"))


def prose(path: Path) -> str:
    """A page without its code."""
    return re.sub(r"^```.*?^```", "", path.read_text(encoding="utf-8"), flags=re.M | re.S)


def anchors(path: Path) -> set[str]:
    """What code hosts and the site call the headings of a page."""
    found: dict[str, int] = {}
    for heading in re.findall(r"^#+ +(.*?) *$", prose(path), re.M):
        text = re.sub(r"\[([^]]*)\]\([^)]*\)", r"\1", heading).replace("`", "")
        slug = re.sub(r"[^\w\- ]", "", text.lower()).strip().replace(" ", "-")
        found[slug] = found.get(slug, 0) + 1
    return set(found)


@pytest.mark.parametrize("page", PAGES, ids=lambda p: str(p.relative_to(ROOT)))
def test_links_and_anchors_lead_somewhere(page):
    text = re.sub(r"`[^`\n]*`", "", prose(page))
    for target, anchor in re.findall(r"\]\(([^)#:\s]*)(?:#([^)\s]*))?\)", text):
        path = page.parent / target if target else page
        assert path.exists(), f"{page.name} links to {target}, which is not there"
        if anchor:
            known = anchors(path)
            assert anchor in known, f"{page.name}: no {anchor!r} in {target}; there is {known}"


def leaves(nav: object) -> list[str]:
    """Pages of a navigation."""
    if isinstance(nav, str):
        return [nav]
    return [p for part in (nav.values() if isinstance(nav, dict) else nav) for p in leaves(part)]


def test_the_navigation_has_every_page_once():
    nav = leaves(yaml.safe_load((ROOT / "mkdocs.yml").read_text(encoding="utf-8"))["nav"])
    inside = [p for p in nav if p != "index.md" and not p.startswith("tree/")]
    assert sorted(inside) == sorted(p.relative_to(DOCS).as_posix() for p in DOCS.rglob("*.md"))
    outside = [p.removeprefix("tree/") for p in nav if p.startswith("tree/")]
    assert all((ROOT / p).exists() or (ROOT / p.removesuffix(".md")).exists() for p in outside)


def test_every_public_name_is_in_the_reference_once():
    named = [n for p in REFERENCE for n in re.findall(r"^::: (\S+)", p.read_text(), re.M)]
    assert len(named) == len(set(named))
    assert {n.removeprefix("byoc.") for n in named} >= set(byoc.__all__)
    for name in set(byoc.vendor.__all__) - set(byoc.__all__):
        assert f"byoc.vendor.{name}" in named
