"""Links that lead somewhere in the repository and on the site; no page needs a network."""

from pathlib import Path

import pytest
import yaml
from mkdocs.exceptions import PluginError
from mkdocs.structure.files import File

from tests.test_public_names import ROOMS
from tools import site_hooks

PROJECT = Path(__file__).parents[2]


@pytest.mark.parametrize(
    ("page", "link", "expected"),
    [
        ("lazy.md", "[a](../benchmarks/README.md)", "[a](benchmarks.md)"),
        ("zh/index.md", "[a](../../benchmarks/README.md)", "[a](../benchmarks.md)"),
        ("zh/index.md", "[a](../log.md#the-core)", "[a](../log.md#the-core)"),
        ("adding.md", "[a](../CHANGELOG.md)", "[a](changelog.md)"),
        ("benchmarks.md", "[a](../docs/lazy.md) [b](../README.md)", "[a](lazy.md) [b](index.md)"),
        ("contributing.md", "[a](docs/log.md)", "[a](log.md)"),
        ("steps.md", "[a](#heun) [b](https://keras.io)", "[a](#heun) [b](https://keras.io)"),
        ("seams.md", "![a](assets/seams.svg)", "![a](assets/seams.svg)"),
        ("adding.md", "see [toys](../tests/toys.py).", "see toys."),
    ],
)
def test_a_link_of_the_repository_becomes_one_of_the_site(
    page: str, link: str, expected: str
) -> None:
    assert site_hooks.between_pages(link, page) == expected


@pytest.mark.parametrize(
    "html",
    [
        '<script src="https://cdn.example/a.js">',
        "<script src=//cdn.example/a.js>",
        '<img alt="a" src="http://example.com/a.png">',
        '<link rel="stylesheet" href="https://fonts.example/css">',
    ],
)
def test_a_page_that_needs_a_network_is_refused(html: str) -> None:
    with pytest.raises(PluginError, match=r"^lazy\.md loads from a network: <"):
        site_hooks.on_post_page(f"<p>{html}", page=Page())


def test_a_link_to_another_site_needs_no_network() -> None:
    html = '<a href="https://keras.io">Keras</a> <script src="assets/a.js">'

    assert site_hooks.on_post_page(html, page=Page()) == html


def test_every_room_has_a_page_of_its_names() -> None:
    pages = {path.stem for path in (PROJECT / "docs" / "api").glob("*.md")}

    assert pages == {"index", *ROOMS}


def test_the_workers_shim_is_what_keeps_the_theme_from_fetching_one() -> None:
    settings = yaml.load((PROJECT / "mkdocs.yml").read_text("utf-8"), yaml.SafeLoader)

    (shim,) = settings["extra"]["polyfills"]

    assert "iframe-worker" in shim
    assert (PROJECT / "docs" / shim).is_file()


class Page:
    """As much of a page as the hooks look at."""

    file = File("lazy.md", "docs", "site", use_directory_urls=False)
