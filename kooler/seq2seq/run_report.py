"""The report of a run: what its log, its test set and its model have to tell, put together."""

import importlib.metadata
import os
import platform
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import keras

from kooler import __version__
from kooler.seq2seq.evaluate import is_exact
from kooler.seq2seq.inside import attention_of, growth_of
from kooler.seq2seq.measure import Measured
from kooler.seq2seq.report import Chart, Curve, Report, Sample, write_report
from kooler.seq2seq.report_words import language_of, say, speaking
from kooler.seq2seq.run_directory import RunDirectory
from kooler.seq2seq.writer import Writer

SAMPLES = 8

Log = Sequence[Mapping[str, Any]]


def write_run_report(
    run: RunDirectory,
    writer: Writer,
    measured: Measured,
    *,
    title: str,
    summary: str = "",
    language: str = "",
    path: Path | None = None,
) -> Path:
    """Writes the report of a run.

    Args:
        run: The run.
        writer: Its model.
        measured: What came out on the test set.
        title: The heading.
        summary: A sentence or two below it.
        language: Of the texts, as HTML names it; if empty, it is guessed from the titles.
        path: The file; None is report.html in the run directory.

    Returns:
        The path of the report.
    """
    language = language or language_of([pair.target for pair in measured.pairs])
    with speaking(language):
        report = Report(
            title=title,
            summary=summary,
            rows=measured.rows,
            samples=_samples(measured),
            charts=_charts(run.log(), run.settings().orders),
            settings=run.settings().to_dict(),
            machine=_machine(run.log()),
            versions=_versions(),
            language=language,
            **_inside(writer, measured, run.settings().orders),
        )
        write_report(path or run.report_path, report)
    return path or run.report_path


def _inside(writer: Writer, measured: Measured, orders: Sequence[str]) -> dict[str, Any]:
    """How one title grows, and where the model looks meanwhile; of an empty title nothing."""
    shown = _clearest(measured)
    text, best = measured.pairs[shown].source, measured.titles[_best_order(measured)][shown]
    if not best:
        return {}
    pictures: dict[str, Any] = {"attention": attention_of(writer, text, best, orders[-1])}
    if "mid" in orders:
        pictures["growth"] = growth_of(writer, text, best, "mid")
    return pictures


def _best_order(measured: Measured) -> str:
    return "best" if "best" in measured.titles else next(iter(measured.titles))


def _orders(measured: Measured) -> list[str]:
    return [row.name for row in measured.rows if row.kind == "model"]


def _clearest(measured: Measured) -> int:
    """A pair to look at closely: the first whose title is right, else the first."""
    titles = measured.titles[_best_order(measured)]
    right = (i for i, pair in enumerate(measured.pairs) if is_exact(titles[i], pair.target))
    return next(right, 0)


def _samples(measured: Measured) -> list[Sample]:
    """The first pairs of the test set, with what each order wrote."""
    orders = _orders(measured)
    return [
        Sample(pair.source, pair.target, {order: measured.titles[order][i] for order in orders})
        for i, pair in enumerate(measured.pairs[:SAMPLES])
    ]


def _charts(log: Log, orders: Sequence[str]) -> list[Chart]:
    dev = [record for record in log if record["event"] == "dev" and not record["averaged"]]
    train = [record for record in log if record["event"] == "train"]
    charts = [
        Chart("On the dev set", "nats per token", [_curve(dev, f"nll_{o}", o) for o in orders]),
        Chart("While learning", "nats per token", [_curve(train, f"nll_{o}", o) for o in orders]),
        Chart("Exact titles of the dev set", "%", [_curve(dev, "exact", orders[-1])]),
        Chart("Learning rate", "", [_curve(train, "learning_rate", "learning rate")]),
    ]
    return [chart for chart in charts if chart.curves[0].x]


def _curve(records: Log, field: str, name: str) -> Curve:
    return Curve(name, [r["update"] for r in records], [float(r[field]) for r in records])


def _machine(log: Log) -> dict[str, object]:
    seconds = max((float(record["seconds"]) for record in log), default=0.0)
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    return {
        "processor": _processor(),
        "cores": cores,
        "system": f"{platform.system()} {platform.machine()}",
        "training": say("{minutes} minutes", minutes=f"{seconds / 60:.1f}"),
    }


def _processor() -> str:
    """The name that Linux knows; elsewhere what Python knows."""
    try:
        lines = Path("/proc/cpuinfo").read_text("utf-8").splitlines()
    except OSError:
        return platform.processor()
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.processor()


def _versions() -> dict[str, object]:
    backend = keras.backend.backend()
    return {
        "kooler": __version__,
        "Python": platform.python_version(),
        "keras": keras.__version__,
        backend: _version(backend),
        "numpy": _version("numpy"),
    }


def _version(package: str) -> str:
    """TensorFlow's package has several names, one for each kind of processor."""
    for name in (package, f"{package}-cpu", f"{package}-macos"):
        try:
            return importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            continue
    return "unknown"
