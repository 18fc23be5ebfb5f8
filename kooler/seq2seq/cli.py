"""The command line: `kooler demo`, `train`, `generate`, `evaluate`, `explain`, `serve`, `export`.

Wrong input ends with one line on stderr, `kooler: error: …`, never wrapped, and exit code 2.  What
is wrong is found before Keras is imported where that is possible, and Keras is imported by the
commands that need it only.  `KOOLER_TRACEBACK=1` shows where an error comes from.
"""

import contextlib
import importlib.util
import os
import shlex
import sys
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import IO, Annotated, Any, TextIO

import typer

from kooler import __version__
from kooler.seq2seq.flags import registered, with_settings
from kooler.seq2seq.harvest.commands import app as corpus
from kooler.seq2seq.interruption import terminable
from kooler.seq2seq.memory import is_out_of_memory

INTERRUPTED = 130  # exit codes as the shell gives them to what a signal ended
BROKEN_PIPE = 141
TERMINATED = 143
# The base of all complaints about options, wherever this version of typer keeps it.
_USAGE_ERROR: type[Any] = next(
    c for c in typer.BadParameter.__mro__ if c.__name__ == "ClickException"
)

_OUT_OF_MEMORY = (
    "there is not enough memory. Lower --beam-size and --max-length where titles are written, "
    "--batch-tokens and the size of the network where they are learned."
)

Run = Annotated[Path, typer.Option("--run", help="The run directory.", metavar="DIRECTORY")]
Order = Annotated[
    str,
    typer.Option(
        help="The end to write from: l2r (left), r2l (right), mid (both ends to the middle), or "
        "best (the candidates of all orders, judged by all orders); fast means mid, standard l2r.",
        metavar="l2r|r2l|mid|best|fast|standard",
    ),
]
BeamSize = Annotated[
    int,
    typer.Option(help="Hypotheses kept at each step, 1 to 1000; 1 is greedy.", metavar="COUNT"),
]
LengthPenalty = Annotated[
    float,
    typer.Option(
        help="0 to 10; above 1 for longer titles, below 1 for shorter ones.", metavar="NUMBER"
    ),
]
MaxLength = Annotated[
    int | None,
    typer.Option(help="Longest title in tokens; as in training if not given.", metavar="COUNT"),
]
Partners = Annotated[
    str,
    typer.Option(
        help="Whom a title being written sees where both directions see each other: the one of its "
        "rank on the other side, or the mean over all of them (recurrent models).",
        metavar="rank|all",
    ),
]

app = typer.Typer(
    name="kooler",
    add_completion=False,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
)


app.add_typer(corpus, short_help="Makes pairs of texts and titles from what you have.")


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs a command.

    Args:
        arguments: The arguments; None takes those of the process.

    Returns:
        The exit code: 0, 1 for a training that diverged, 2 for wrong input and for too little
        memory, 130 after Ctrl-C, 143 after SIGTERM.
    """
    given = list(sys.argv[1:] if arguments is None else arguments) or ["--help"]
    try:
        code = typer.main.get_command(app).main(given, "kooler", standalone_mode=False)
        return code if isinstance(code, int) else 0
    except _USAGE_ERROR as error:
        return _fail(_usage_message(error))
    except (ValueError, OSError, FloatingPointError) as error:
        if os.environ.get("KOOLER_TRACEBACK"):
            raise
        return _fail(_message(error), 1 if isinstance(error, FloatingPointError) else 2)
    except (MemoryError, RuntimeError) as error:
        if os.environ.get("KOOLER_TRACEBACK") or not is_out_of_memory(error):
            raise
        return _fail(_OUT_OF_MEMORY)
    except (KeyboardInterrupt, typer.Abort):
        return INTERRUPTED


def _command(function: Callable[..., None]) -> Callable[..., None]:
    """Registers a command whose help keeps the lines of the docstring as they are."""
    return registered(app, function)


def _version(wanted: bool) -> None:
    if wanted:
        print(f"kooler {__version__}")
        raise typer.Exit


@app.callback(
    help="Learns to write titles, from the left, from the right, and from both ends.\n\n\b\n"
    "See it work, in a few minutes and without any data:\n"
    "    kooler demo\n"
    "Train on your own pairs of texts and titles, then use and measure what was learned:\n"
    "    kooler train --train pairs.tsv --dev dev.tsv --run runs/first\n"
    "    kooler generate --run runs/first < texts.txt\n"
    "    kooler evaluate --run runs/first --test test.tsv"
)
def _kooler(
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Show the version.")
    ] = False,
) -> None:
    pass


@_command
@with_settings
def train(
    run: Run,
    train: Annotated[
        list[Path] | None,
        typer.Option(
            "--train",
            help="Pairs to learn from: .tsv (source TAB target), .jsonl "
            '({"source": …, "target": …}), .csv or .parquet (columns source and target), all but '
            "the last also with .gz, .xz or .zst. A file, a folder of such files or one that "
            "HuggingFace's save_to_disk wrote, a 'pattern*', or - for standard input (-.jsonl, if "
            "not .tsv). Give it several times for several.",
            metavar="FILE",
        ),
    ] = None,
    dev: Annotated[
        list[Path] | None,
        typer.Option("--dev", help="Pairs to choose the best weights by.", metavar="FILE"),
    ] = None,
    resume: Annotated[
        bool, typer.Option("--resume", help="Continue the run from its last checkpoint.")
    ] = False,
    **given: Any,
) -> None:
    r"""Learns from pairs of texts and titles.

    The run directory keeps all that is needed to use the model, and checkpoints:
        kooler train --train pairs.tsv --dev dev.tsv --run runs/first
    A larger network, several files, at most half an hour:
        kooler train --train a.tsv --train b.jsonl.gz --dev dev.tsv --run runs/second \
            --size small --minutes 30
    All Parquet files of a folder; pairs from a pipe, which are kept in the run directory:
        kooler train --train 'shards/train-*.parquet' --dev dev.csv --run runs/third
        zcat *.tsv.gz | kooler train --train - --dev dev.tsv --run runs/fourth
    Continue after Ctrl-C, a crash or a power cut, to the same weights as without it:
        kooler train --run runs/first --resume
    Continue, and train longer than planned:
        kooler train --run runs/first --resume --updates 40000
    Chinese titles, character by character:
        kooler train --train zh.tsv --dev zh_dev.tsv --run runs/zh --tokenizer characters
    """
    from kooler.seq2seq.run_directory import RunDirectory
    from kooler.seq2seq.settings import Settings

    if resume:
        directory = RunDirectory(run)
        settings = directory.settings().resumed_with(given)
        _start_keras(directory.data()["backend"])
    else:
        settings = Settings(**given)
        _start_keras()
    from kooler.seq2seq.display import make_display
    from kooler.seq2seq.train import train as start

    with _stopped(lambda: _way_to_continue(run)):
        start(settings, train or (), dev or (), run, resume=resume, display=make_display())


@_command
def generate(
    run: Run,
    order: Order = "best",
    beam_size: BeamSize = 5,
    n_best: Annotated[
        int,
        typer.Option(help="Titles a text, one line each; at most --beam-size.", metavar="COUNT"),
    ] = 1,
    length_penalty: LengthPenalty = 1.0,
    max_length: MaxLength = None,
    partners: Partners = "rank",
    jsonl: Annotated[
        bool,
        typer.Option("--jsonl", help="Write one JSON object a text, with scores and orders."),
    ] = False,
    texts: Annotated[
        list[Path] | None,
        typer.Option(
            "--input",
            help="Texts from here and not from stdin; may be given several times: .txt (a text a "
            "line), .tsv (what is before the tab), .jsonl, .csv, .parquet (what is named source), "
            "also compressed, folders, and patterns.",
            metavar="FILE",
        ),
    ] = None,
    output: Annotated[
        Path | None,
        typer.Option(
            help="Write the titles here, whole or not at all, and not to stdout.", metavar="FILE"
        ),
    ] = None,
) -> None:
    """Writes a title for each text, in the same order: for each line of stdin, or of files.

    One title a line:
        kooler generate --run runs/first < texts.txt > titles.txt
    From both ends at once, and fast:
        kooler generate --run runs/first --order fast --beam-size 1 < texts.txt
    The three best titles of each text, with their scores:
        kooler generate --run runs/first --n-best 3 --jsonl < texts.txt
    For the texts of a corpus, into a file that is there when all are written:
        kooler generate --run runs/first --input test.parquet --output titles.txt
    An empty line gives an empty title.
    """
    from kooler.core.atomic import check_place
    from kooler.seq2seq.source_texts import read_texts

    options: dict[str, Any] = {
        "beam_size": beam_size,
        "length_penalty": length_penalty,
        "max_length": max_length,
        "partners": partners,
    }
    _check_search(run, [order], n_best, **options)
    source = read_texts(texts) if texts else sys.stdin
    if output:
        check_place(output)
    _start_keras()
    from kooler.seq2seq.stream import write_titles

    with _stopped(lambda: _what_is_missing(output)), _target(output) as target:
        cut = write_titles(run, source, target, jsonl=jsonl, order=order, n_best=n_best, **options)
    if cut:
        _say(cut)


@_command
def evaluate(
    run: Run,
    test: Annotated[
        list[Path],
        typer.Option("--test", help="Pairs to measure with, as for training.", metavar="FILE"),
    ],
    order: Annotated[
        list[str] | None,
        typer.Option(
            help="An order to measure; several if given several times, all if never.",
            metavar="l2r|r2l|mid|best|fast|standard",
        ),
    ] = None,
    beam_size: BeamSize = 5,
    length_penalty: LengthPenalty = 1.0,
    max_length: MaxLength = None,
    partners: Partners = "rank",
    output: Annotated[
        Path | None,
        typer.Option(help="Write the titles of the last order measured here.", metavar="FILE"),
    ] = None,
    report: Annotated[
        Path | None,
        typer.Option(help="Write a report with pictures as one HTML file.", metavar="FILE"),
    ] = None,
    skip_bad_lines: Annotated[
        bool, typer.Option("--skip-bad-lines", help="Leave out lines that cannot be read.")
    ] = False,
    tokenize: Annotated[
        str,
        typer.Option(
            help="Tokens of BLEU; none for text whose tokens are separated by spaces already.",
            metavar="auto|13a|intl|zh|char|none",
        ),
    ] = "auto",
    join_subwords: Annotated[
        bool, typer.Option("--join-subwords", help="Remove `@@ ` from both sides before scoring.")
    ] = False,
) -> None:
    """Measures titles, beside baselines that need no learning.

    All orders, on pairs that the training has not seen:
        kooler evaluate --run runs/first --test test.tsv
    One order, and keep what it wrote:
        kooler evaluate --run runs/first --test test.tsv --order l2r --output titles.txt
    A page with curves, samples and pictures:
        kooler evaluate --run runs/first --test test.tsv --report report.html
    """
    from kooler.core.atomic import check_place
    from kooler.seq2seq.evaluate import check_bleu_tokenizer

    options: dict[str, Any] = {
        "beam_size": beam_size,
        "length_penalty": length_penalty,
        "max_length": max_length,
        "partners": partners,
    }
    _check_search(run, order or ["best"], **options)
    check_bleu_tokenizer(tokenize)
    for path in (output, report):
        if path:
            check_place(path)
    _start_keras()
    from kooler.seq2seq.measure import measure, table

    with _stopped(lambda: "Nothing was measured."), _stdout():
        measured = measure(
            run,
            test,
            order or (),
            skip_bad_lines=skip_bad_lines,
            tokenize=tokenize,
            join_subwords=join_subwords,
            **options,
        )
        for note in measured.notes:
            _say(note)
        print(table(measured.rows))
        if output:
            titles = measured.titles[_last_order(measured.rows)]
            output.write_text("".join(f"{title}\n" for title in titles), "utf-8")
        if report:
            _write_report(run, measured, report)


def _write_report(run: Path, measured: Any, path: Path) -> None:
    from kooler.seq2seq.run_directory import RunDirectory
    from kooler.seq2seq.run_report import write_run_report
    from kooler.seq2seq.writer import Writer

    name = run.resolve().name
    write_run_report(RunDirectory(run), Writer.load(run), measured, title=name, path=path)


def _last_order(rows: Sequence[Any]) -> str:
    return str([row.name for row in rows if row.kind == "model"][-1])


@_command
def explain(
    run: Run,
    text: Annotated[
        str | None,
        typer.Option(help="The text; the first line of stdin if not given.", metavar="TEXT"),
    ] = None,
    output: Annotated[Path, typer.Option(help="The page to write.", metavar="FILE")] = Path(
        "explain.html"
    ),
    beam_size: BeamSize = 5,
    max_length: MaxLength = None,
) -> None:
    """Draws how the title of one text is written, as one HTML page.

    Both ends growing, the beams of all orders, and where the model looks:
        kooler explain --run runs/first --text "…" --output explain.html
    """
    from kooler.core.atomic import check_place

    options: dict[str, Any] = {"beam_size": beam_size, "max_length": max_length}
    _check_search(run, ["best"], beam_size=beam_size, length_penalty=1.0, max_length=max_length)
    check_place(output)
    text = _first_line(sys.stdin) if text is None else text
    _start_keras()
    from kooler.seq2seq.explain import explain as explained
    from kooler.seq2seq.explain import write_explanation
    from kooler.seq2seq.writer import Writer

    with _stopped(lambda: "Nothing was written."):
        write_explanation(output, explained(Writer.load(run), text, **options))
    _say(f"`{output}` shows it; open it in a browser.")


@_command
def serve(
    run: Run,
    host: Annotated[
        str, typer.Option(help="Address to listen on; 0.0.0.0 for every machine.", metavar="HOST")
    ] = "127.0.0.1",
    port: Annotated[int, typer.Option(help="Port; 0 takes a free one.", metavar="PORT")] = 8000,
    beam_sizes: Annotated[
        str,
        typer.Option(help="What a request may choose from, with commas.", metavar="COUNT,…"),
    ] = "5",
    rows: Annotated[
        int, typer.Option(help="Most texts that the model reads at once.", metavar="COUNT")
    ] = 16,
    queue: Annotated[
        int, typer.Option(help="Most texts that wait; more are refused.", metavar="COUNT")
    ] = 256,
    seconds: Annotated[
        float, typer.Option(help="Longest time from request to answer.", metavar="SECONDS")
    ] = 10.0,
) -> None:
    """Serves titles over HTTP, with a page where one sees them being written.

    On this machine alone, at http://127.0.0.1:8000:
        kooler serve --run runs/first
    Ask it:
        curl -d '{"text": "…"}' -H 'content-type: application/json' 127.0.0.1:8000/generate
    For a whole network, greedy or with five hypotheses:
        kooler serve --run runs/first --host 0.0.0.0 --beam-sizes 1,5
    """
    from kooler.seq2seq.serve.limits import Limits

    sizes = _whole_numbers("--beam-sizes", beam_sizes)
    limits = Limits(beam_sizes=sizes, rows=rows, queue=queue, texts=min(64, queue), seconds=seconds)
    for size in sizes:
        _check_search(run, ["best"], beam_size=size, length_penalty=1.0, max_length=None)
    _check_installed("serve", "starlette", "uvicorn", "prometheus_client")
    _start_keras()
    from kooler.seq2seq.serve.server import serve as start

    if error := start(run, host, port, limits, _say):
        raise error


@_command
def export(
    run: Run,
    output: Annotated[
        Path, typer.Option(help="The folder to make; missing or empty.", metavar="DIRECTORY")
    ],
    test: Annotated[
        list[Path] | None,
        typer.Option("--test", help="Pairs to measure with, for the card.", metavar="FILE"),
    ] = None,
    beam_size: BeamSize = 5,
) -> None:
    """Makes a folder to give away: weights, tokenizer, settings, and a model card.

    With the scores on pairs that the training has not seen, beside baselines:
        kooler export --run runs/first --output model --test test.tsv
    What takes a run directory takes the folder:
        kooler generate --run model < texts.txt
    """
    from kooler.seq2seq.model_card import check_empty, export_run

    _check_search(run, ["best"], beam_size=beam_size, length_penalty=1.0, max_length=None)
    check_empty(output)
    measured = None
    with _stopped(lambda: "Nothing was written."):
        if test:
            _start_keras()
            from kooler.seq2seq.measure import measure

            measured = measure(run, test, beam_size=beam_size)
        export_run(run, output, measured)
    _say(f"`{output}` holds the model. Write a licence into its README.md before you publish it.")


@_command
def demo(
    language: Annotated[str, typer.Option(help="Language of the briefs.", metavar="en|zh")] = "en",
    run: Annotated[
        Path | None,
        typer.Option(
            "--run",
            help="Run directory; runs/demo, or a next one, if not given.",
            metavar="DIRECTORY",
        ),
    ] = None,
    seed: Annotated[
        int, typer.Option(help="Other briefs, and other weights; from 0 on.", metavar="COUNT")
    ] = 0,
    minutes: Annotated[
        float | None,
        typer.Option(
            help="Stop the training after this long; it takes about 4 minutes on two cores.",
            metavar="MINUTES",
        ),
    ] = None,
) -> None:
    """Learns to write headlines of made-up news, and shows them.

    Nothing is downloaded; two processor cores are enough:
        kooler demo
    Briefs in Chinese:
        kooler demo --language zh
    It leaves a run directory that the other commands understand, with a report.html:
        kooler generate --run runs/demo < briefs.txt
    """
    _start_keras()
    from kooler.seq2seq.demo import demonstrate

    with _stopped(lambda: "The demo did not finish."), _stdout():
        demonstrate(language, run, seed, minutes)


def _check_search(
    run: Path,
    chosen: Sequence[str],
    n_best: int = 1,
    *,
    beam_size: int,
    length_penalty: float,
    max_length: int | None,
    partners: str = "rank",
) -> None:
    """A look at the run and at the options before Keras starts: what is wrong is told at once."""
    from kooler.seq2seq.rules import Rules, check_search
    from kooler.seq2seq.run_directory import RunDirectory

    directory = RunDirectory(run)
    directory.weights()
    directory.tokenizer()
    settings = directory.settings()
    longest = settings.target_length if max_length is None else max_length
    rules = Rules(beam_size, longest, length_penalty=length_penalty, partners=partners)
    for order in chosen:
        check_search(rules, order, n_best, settings.orders)


def _first_line(stream: IO[str]) -> str:
    from kooler.seq2seq.corpus import read_sources

    return next(read_sources(stream, "stdin"), "")


def _whole_numbers(option: str, text: str) -> tuple[int, ...]:
    """Numbers with commas between them."""
    try:
        return tuple(int(part) for part in text.split(","))
    except ValueError:
        raise ValueError(
            f"{option} must be whole numbers with commas, like 1,5, received {text!r}."
        ) from None


def _check_installed(extra: str, *packages: str) -> None:
    """Raises ValueError for what an optional part of kooler needs and does not find."""
    missing = [name for name in packages if importlib.util.find_spec(name) is None]
    if missing:
        raise ValueError(
            f"`kooler {extra}` needs {', '.join(missing)}. Install: pip install 'kooler[{extra}]'."
        )


def _start_keras(preferred: str | None = None) -> None:
    from kooler.seq2seq.backend import choose_backend, prepare_process

    backend, chosen = choose_backend(os.environ, preferred)
    if not chosen:
        _say(f"using the {backend} backend (KERAS_BACKEND chooses another).")
    prepare_process(backend)


@contextlib.contextmanager
def _stopped(advice: Callable[[], str]) -> Iterator[None]:
    """Ctrl-C and SIGTERM end the command with a sentence instead of a traceback, or of silence."""
    try:
        with terminable():
            yield
    except (KeyboardInterrupt, SystemExit) as stop:
        _say(f"interrupted. {advice()}")
        raise typer.Exit(TERMINATED if isinstance(stop, SystemExit) else INTERRUPTED) from None


def _way_to_continue(run: Path) -> str:
    from kooler.seq2seq.run_directory import RunDirectory

    if not RunDirectory(run).settings_path.exists():
        return "Nothing was kept; start again with the same command."
    return f"Continue with: kooler train --run {shlex.quote(str(run))} --resume"


def _what_is_missing(output: Path | None) -> str:
    if output:
        return f"`{output}` was not written."
    return "The titles of the remaining texts were not written."


@contextlib.contextmanager
def _target(output: Path | None) -> Iterator[TextIO]:
    """Where titles go: stdout, or a file that takes its place when all are written."""
    if output is None:
        with _stdout():
            yield sys.stdout
        return
    from kooler.core.atomic import replacing

    with replacing(output) as part, part.open("w", encoding="utf-8") as target:
        try:
            yield target
            target.flush()
        except OSError as error:
            if error.filename or error.errno is None:
                raise
            raise ValueError(
                f"`{output}` cannot be written ({error.strerror}); it is as it was."
            ) from None


@contextlib.contextmanager
def _stdout() -> Iterator[None]:
    """What becomes of titles that nobody takes.

    A reader that has seen enough (`| head`) ends the command silently; a full disk is an error.
    """
    try:
        yield
        sys.stdout.flush()
    except BrokenPipeError:
        _drop_output()
        raise typer.Exit(BROKEN_PIPE) from None
    except OSError as error:
        if error.filename or error.errno is None:  # a file, and it has been named
            raise
        _drop_output()
        raise ValueError(
            f"stdout cannot be written ({error.strerror}). What was written so far may be cut."
        ) from None


def _drop_output() -> None:
    """Python flushes stdout once more at exit; that must not fail again."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def _usage_message(error: Any) -> str:
    command = getattr(getattr(error, "ctx", None), "command_path", "kooler")
    text: str = error.format_message().rstrip(".")
    return f"{text}. `{command} --help` explains the options."


def _message(error: Exception) -> str:
    if isinstance(error, OSError) and error.strerror:
        return f"{error.filename}: {error.strerror}" if error.filename else error.strerror
    return str(error)


def _fail(message: str, code: int = 2) -> int:
    _say(f"error: {message}")
    return code


def _say(text: str) -> None:
    """One line on stderr, whatever the text holds and however wide the terminal is."""
    line = " ".join("".join(c if c.isprintable() else " " for c in text).split())
    print(f"kooler: {line}", file=sys.stderr, flush=True)
