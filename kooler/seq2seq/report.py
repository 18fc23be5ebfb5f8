"""The report of a run: one HTML file that needs nothing else.

`report.html` carries its style, script and pictures inside and asks no network for anything; a
content security policy forbids it.  It reads on a phone, in the dark, on paper, without JavaScript
and with a screen reader, in English or, for Chinese texts, in Chinese.  The same data make the same
file, byte for byte.

The page is `report_template.html`, whose `{{places}}` are filled by `report_page` with one section
from each of `report_scores`, `report_growth`, `report_samples`, `report_attention`, `report_chart`.
"""

import base64
import hashlib
import re
from collections.abc import Mapping
from importlib.resources import files
from pathlib import Path

from kooler.core.atomic import write_text
from kooler.seq2seq.comparison import ScoreRow, comparison_sentence
from kooler.seq2seq.report_data import (
    Attention,
    Chart,
    Curve,
    Growth,
    GrowthStep,
    Report,
    Sample,
    WrittenToken,
)
from kooler.seq2seq.report_page import fragments
from kooler.seq2seq.report_words import speaking

__all__ = [
    "Attention",
    "Chart",
    "Curve",
    "Growth",
    "GrowthStep",
    "Report",
    "Sample",
    "ScoreRow",
    "WrittenToken",
    "comparison_sentence",
    "report_html",
    "write_report",
]


def write_report(path: str | Path, report: Report) -> None:
    """Writes a report as one self-contained HTML file, whole or not at all.

    Args:
        path: The file to write; its folder must exist.
        report: What to show.

    Raises:
        OSError: If it cannot be written; an older report is then still there.

    Example:
        >>> write_report("run/report.html", Report("News titles", rows=rows, samples=samples))
    """
    write_text(Path(path), report_html(report))


def report_html(report: Report) -> str:
    """Makes the page as a string.

    Args:
        report: What to show.

    Returns:
        A complete HTML document.
    """
    with speaking(report.language):
        return filled_page(fragments(report))


def filled_page(fragments: Mapping[str, str]) -> str:
    """Fills the template.

    Args:
        fragments: HTML for each of its places, but for the hash of its script.
    """
    template = files("kooler.seq2seq").joinpath("report_template.html").read_text("utf-8")
    places = {**fragments, "script_hash": _script_hash(template)}
    # In one pass, so that a title with {{braces}} in it stays what it is.
    return re.sub(r"\{\{(\w+)\}\}", lambda match: places[match[1]], template)


def _script_hash(template: str) -> str:
    """The hash by which the security policy knows the one script that may run."""
    script = template.split("<script>")[1].split("</script>")[0]
    return base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
