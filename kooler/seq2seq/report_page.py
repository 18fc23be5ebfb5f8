"""The page of the report: which sections there are, and in which order."""

from collections.abc import Mapping, Sequence

from kooler.seq2seq.report_attention import attention_section
from kooler.seq2seq.report_chart import chart_figures
from kooler.seq2seq.report_data import Report
from kooler.seq2seq.report_growth import growing_title
from kooler.seq2seq.report_samples import sample_cards
from kooler.seq2seq.report_scores import headline, score_table
from kooler.seq2seq.report_text import escape
from kooler.seq2seq.report_words import page_language, say

Section = tuple[str, str, str]


def fragments(report: Report) -> dict[str, str]:
    """Writes what fills the template.

    Args:
        report: The data.

    Returns:
        HTML for each place of the template by name.
    """
    return places(
        report.title, report.summary, headline(report.rows), report.language, _sections(report)
    )


def places(
    title: str, summary: str, headline: str, language: str, sections: Sequence[Section]
) -> dict[str, str]:
    """What fills the template.

    Args:
        title: The heading.
        summary: A sentence or two below it.
        headline: HTML above the sections.
        language: Of the texts, as HTML names it.
        sections: Name, heading and HTML of each; one without HTML is left out.

    Returns:
        HTML for each place of the template by name.
    """
    shown = [section for section in sections if section[2]]
    return {
        "page_language": page_language(language),
        "sections_name": say("Sections"),
        "title": escape(title),
        "summary": escape(summary),
        "headline": headline,
        "footer": say(
            "Written by kooler. This page holds everything it shows and loads nothing from "
            "anywhere."
        ),
        "navigation": "".join(
            f'<li><a href="#{name}">{heading}</a></li>' for name, heading, _ in shown
        ),
        "sections": "\n".join(
            f'<section id="{name}" aria-labelledby="{name}-heading">\n'
            f'<h2 id="{name}-heading">{heading}</h2>\n{body}\n</section>'
            for name, heading, body in shown
        ),
    }


def _sections(report: Report) -> list[Section]:
    language = escape(report.language)
    return [
        ("scores", say("Scores"), score_table(report.rows)),
        ("growth", say("Two ends growing together"), growing_title(report.growth, language)),
        ("samples", say("Samples"), sample_cards(report.samples, language)),
        ("attention", say("Attention"), attention_section(report.attention, language)),
        ("curves", say("Training"), chart_figures(report.charts)),
        ("making", say("How it was made"), _facts(report)),
    ]


def _facts(report: Report) -> str:
    parts = (
        (say("Settings"), report.settings),
        (say("Machine"), report.machine),
        (say("Versions"), report.versions),
    )
    tables = "".join(_fact_table(name, values) for name, values in parts if values)
    return f'<div class="facts">{tables}</div>' if tables else ""


def _fact_table(name: str, values: Mapping[str, object]) -> str:
    lines = "".join(
        f"<div><dt>{escape(say(key))}</dt><dd>{escape(value)}</dd></div>"
        for key, value in values.items()
    )
    return f"<div><h3>{name}</h3><dl>{lines}</dl></div>"
