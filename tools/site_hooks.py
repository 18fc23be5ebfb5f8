"""What MkDocs does for us beside its own work, called by `make docs` (see mkdocs.yml).

Some pages of the site lie outside of docs/, and links between all of them are those of the
repository, so that they lead somewhere in both.  The figures of the benchmarks are drawn from the
tables that one reads.  A page that would load anything from a network fails the build.
"""

import posixpath
import re
from pathlib import Path
from typing import Any

from mkdocs.exceptions import PluginError
from mkdocs.structure.files import File

from tools.plot_benchmarks import draw_all, with_pictures

PROJECT = Path(__file__).resolve().parents[1]
ELSEWHERE = {  # page of the site: file of the repository
    "benchmarks.md": "benchmarks/README.md",
    "changelog.md": "CHANGELOG.md",
    "contributing.md": "CONTRIBUTING.md",
}
ALSO_KNOWN_AS = {"README.md": "index.md", "README.zh.md": "zh/index.md"}
LINK = re.compile(r"\[([^\]]*)\]\(([^)#:\s]+)((?:#[^)\s]*)?)\)")
LOADED = re.compile(r'<(?:script|img|iframe|source)\b[^>]*\bsrc="?(?:https?:)?//[^" >]*', re.I)
STYLED = re.compile(
    r'<link\b[^>]*\brel="?(?:stylesheet|preconnect|preload)[^>]*(?:https?:)?//', re.I
)


def on_files(files: Any, config: Any) -> Any:
    """Adds the pages from elsewhere, and the pictures."""
    for page, source in ELSEWHERE.items():
        files.append(File.generated(config, page, abs_src_path=str(PROJECT / source)))
    benchmarks = (PROJECT / ELSEWHERE["benchmarks.md"]).read_text("utf-8")
    for name, picture in draw_all(benchmarks).items():
        files.append(File.generated(config, f"plots/{name}", content=picture))
    return files


def on_page_markdown(markdown: str, page: Any, **_: Any) -> str:
    """Turns links between files into links between pages."""
    site_page = page.file.src_uri
    markdown = between_pages(markdown, site_page)
    return with_pictures(markdown) if site_page == "benchmarks.md" else markdown


def on_post_page(output: str, page: Any, **_: Any) -> str:
    """Raises PluginError for a page that needs a network."""
    if found := LOADED.search(output) or STYLED.search(output):
        raise PluginError(f"{page.file.src_uri} loads from a network: {found[0]}")
    return output


def between_pages(markdown: str, site_page: str) -> str:
    """The text of a page with the links of the repository as links of the site."""
    source = ELSEWHERE.get(site_page, f"docs/{site_page}")

    def replaced(link: re.Match[str]) -> str:
        text, target, anchor = link.groups()
        page = page_of(posixpath.normpath(posixpath.join(posixpath.dirname(source), target)))
        if page is None:
            return text
        return f"[{text}]({posixpath.relpath(page, posixpath.dirname(site_page))}{anchor})"

    return LINK.sub(replaced, markdown)


def page_of(path: str) -> str | None:
    """The page that shows a file of the repository; None for code, which the site does not hold."""
    pages = {source: page for page, source in ELSEWHERE.items()} | ALSO_KNOWN_AS
    if path.startswith("docs/"):
        return path.removeprefix("docs/")
    return pages.get(path)
