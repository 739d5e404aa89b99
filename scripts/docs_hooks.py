"""What mkdocs.yml cannot say: pages for files outside of docs/, and links that lead to them.

On a code host a page links to ``../byoc/vendor.py`` and is right. A site holds docs/ only, so every
file of the tree that some page links to becomes a page of its own, here and nowhere else::

    README.md            ──▶ index.md                   the home page
    ../CONTRIBUTING.md   ──▶ tree/CONTRIBUTING.md       Markdown, whose links are followed in turn
    ../byoc/vendor.py    ──▶ tree/byoc/vendor.py.md     the text, with colours
    ../examples/cpp      ──▶ tree/examples/cpp.md       what is in the folder

A link to what does not exist is left alone: ``mkdocs build --strict`` names it.
"""

from __future__ import annotations

import logging
import posixpath
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files, InclusionLevel
from mkdocs.structure.pages import Page
from pymdownx.slugs import slugify

ROOT = Path(__file__).resolve().parents[1]
HOME = "README.md"
ALWAYS = (HOME, "CHANGELOG.md", "CONTRIBUTING.md")
"""Files of the tree that have a page whether or not somebody links to them."""

LANGUAGES = {".cc": "cpp", ".h": "cpp", ".py": "python", ".json": "json", ".yaml": "yaml"}
"""Suffix → how its text is coloured; all else is plain."""

_FENCE = re.compile(r"^(```+|~~~+).*?^\1", re.M | re.S)
_LINK = re.compile(r"(\]\()([^)\s#:]+)((?:#[^)\s]*)?\))")

_log = logging.getLogger(f"mkdocs.hooks.{__name__}")


def on_config(config: MkDocsConfig) -> MkDocsConfig:
    """Name anchors as code hosts do, so that one link is right on both."""
    config.mdx_configs.setdefault("toc", {})["slugify"] = slugify(case="lower")
    return config


def on_files(files: Files, *, config: MkDocsConfig) -> Files:
    """Add a page for each file of the tree that a page links to, and those that these link to."""
    docs = Path(config.docs_dir)
    waiting = [ROOT / name for name in ALWAYS]
    for file in files.documentation_pages():
        waiting += _linked(docs / file.src_uri, docs)
    done: set[Path] = set()
    while waiting:
        path = waiting.pop()
        if path in done:
            continue
        done.add(path)
        place = InclusionLevel.INCLUDED if _tree(path) in ALWAYS else InclusionLevel.NOT_IN_NAV
        text = _page_of(path)
        files.append(File.generated(config, _uri(path, docs), content=text, inclusion=place))
        if path.suffix == ".md":
            waiting += _linked(path, docs)
        elif path.is_dir():
            waiting += _inside(path)
    return files


def on_page_markdown(markdown: str, *, page: Page, config: MkDocsConfig, files: Files) -> str:
    """Turn links between files of the tree into links between pages."""
    docs = Path(config.docs_dir)
    origin = _origin(page.file, docs)
    if origin is None:
        return markdown

    def lead(match: re.Match[str]) -> str:
        start, target, end = match.groups()
        path = _resolved(origin, target)
        if path is None or (docs in path.parents and docs in origin.parents):
            return match.group()  # between pages of docs/: mkdocs checks them itself
        here = posixpath.dirname(page.file.src_uri)
        return start + posixpath.relpath(_uri(path, docs), here or ".") + end

    return _outside_of_code(markdown, lambda prose: _LINK.sub(lead, prose))


def on_page_content(html: str, *, page: Page, **_: Any) -> str:
    """Docstrings put "::" before an indented block; in HTML that is one colon, or none."""
    if not page.file.src_uri.startswith("api/"):
        return html
    html = re.sub(r"<p>::</p>\s*(?=<(?:pre|div))", "", html)
    return re.sub(r"\s*::</p>(?=\s*<(?:pre|div))", ":</p>", html)


def _outside_of_code(text: str, change: Callable[[str], str]) -> str:
    """The text, changed everywhere but in fenced blocks."""
    parts, at = [], 0
    for fence in _FENCE.finditer(text):
        parts += [change(text[at : fence.start()]), fence.group()]
        at = fence.end()
    return "".join([*parts, change(text[at:])])


def _linked(path: Path, docs: Path) -> list[Path]:
    """Files outside of docs/ that a Markdown file links to."""
    prose = _FENCE.sub("", path.read_text(encoding="utf-8"))
    found = (_resolved(path, target) for _, target, _ in _LINK.findall(prose))
    return [p for p in found if p is not None and docs not in p.parents]


def _resolved(origin: Path, target: str) -> Path | None:
    """The file of the tree that a link leads to, if it leads to one."""
    path = Path(posixpath.normpath(origin.parent / target))
    if not path.exists() or ROOT not in path.parents:
        return None
    return path


def _inside(folder: Path) -> list[Path]:
    return sorted(p for p in folder.iterdir() if p.is_file())


def _tree(path: Path) -> str:
    return path.relative_to(ROOT).as_posix()


def _uri(path: Path, docs: Path) -> str:
    """Where the page of a file lies in the site."""
    if docs in path.parents:
        return path.relative_to(docs).as_posix()
    name = _tree(path)
    if name == HOME:
        return "index.md"
    return f"tree/{name}" if path.suffix == ".md" else f"tree/{name}.md"


def _origin(file: File, docs: Path) -> Path | None:
    """The Markdown file of the tree that a page shows; None for pages made of other files."""
    if file.src_uri == "index.md":
        return ROOT / HOME
    if not file.src_uri.startswith("tree/"):
        return docs / file.src_uri
    path = ROOT / file.src_uri.removeprefix("tree/")
    return path if path.is_file() else None


def _page_of(path: Path) -> str:
    """The Markdown of the page for a file of the tree."""
    if path.suffix == ".md":
        return path.read_text(encoding="utf-8")
    title = f"---\nsearch:\n  exclude: true\n---\n\n# {_tree(path)}\n\n"
    if path.is_dir():
        lines = [
            f"* [{p.name}]({path.name}/{p.name}{'' if p.suffix == '.md' else '.md'})\n"
            for p in _inside(path)
        ]
        return title + "".join(lines)
    text = path.read_text(encoding="utf-8")
    ticks = "`" * max(4, 1 + max((len(run) for run in re.findall("`+", text)), default=0))
    return f"{title}{ticks}{LANGUAGES.get(path.suffix, 'text')}\n{text}\n{ticks}\n"


def on_post_build(**_: Any) -> None:
    """Say where the site is."""
    _log.info("open build/site/index.html; its search needs a server: scripts/docs serve")
