"""The command line: it teaches, it complains in one line, and it does what it says."""

import importlib.util
import io
import json
import os
import resource
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from kooler.seq2seq import backend, measure, stream, train
from kooler.seq2seq.cli import main
from kooler.seq2seq.comparison import ScoreRow
from kooler.seq2seq.evaluate import evaluate_titles
from kooler.seq2seq.measure import Measured
from kooler.seq2seq.settings import Settings
from tests.seq2seq.small_run import SETTINGS, small_run, write_pairs

COMMANDS = ("train", "generate", "evaluate", "explain", "serve", "export", "demo")


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    return small_run(tmp_path_factory.mktemp("run"))


@pytest.fixture(autouse=True)
def same_process(monkeypatch):
    """These tests share their process with others, so it is not prepared for a command."""
    monkeypatch.setattr(backend, "prepare_process", lambda name: None)


def complaint(capsys, *arguments):
    """The one line on stderr with which a command fails."""
    code = main([str(argument) for argument in arguments])
    streams = capsys.readouterr()
    assert (code, streams.out) == (2, "")
    assert streams.err.count("\n") == 1
    assert streams.err.startswith("kooler: error: ")
    return streams.err.removeprefix("kooler: error: ").rstrip("\n")


def test_help_teaches_with_examples(capsys):
    assert main([]) == 0
    overview = capsys.readouterr().out
    for command in COMMANDS:
        assert f"\n  {command} " in overview
        assert main([command, "--help"]) == 0
        assert f"\n      kooler {command}" in capsys.readouterr().out  # a line of its own


def test_help_lists_every_setting(capsys):
    main(["train", "--help"])

    text = capsys.readouterr().out
    assert all("--" + name.replace("_", "-") in text for name in Settings().to_dict())


def test_help_comes_at_once():
    before = resource.getrusage(resource.RUSAGE_CHILDREN)

    subprocess.run([sys.executable, "-m", "kooler", "--help"], check=True, capture_output=True)

    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    assert after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime < 0.7


def test_version(capsys):
    assert main(["--version"]) == 0
    assert capsys.readouterr().out == "kooler 0.1.0\n"


@pytest.mark.parametrize("columns", ["20", "200"])
@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["trian"], "No such command 'trian'. Did you mean 'train'?"),
        (["train"], "Missing option '--run'. `kooler train --help` explains the options."),
        (["train", "--run", "x", "--sise", "tiny"], "No such option: --sise"),
        (["train", "--run", "x", "--updates", "many"], "Invalid value for '--updates': "),
        (["train", "--run", "x", "--size", "huge"], "`size` must be one of tiny, small, base, re"),
        (["train", "--run", "x"], "a training needs at least one file of pairs with --train."),
        (["train", "--run", "x", "--train", "absent.tsv", "--dev", "d.tsv"], "absent.tsv: no such"),
        (["train", "--run", "absent", "--resume"], "`absent` is not a run directory, it has no"),
        (["generate", "--run", "absent"], "`absent` is not a run directory, it has no settings"),
        (["generate", "--run", "absent", "--beam-size", "x"], "Invalid value for '--beam-size': "),
        (
            ["train", "--run", "x", "--heads", "3"],
            "`heads` must divide `width`, received heads=3, w",
        ),
        (
            ["train", "--run", "x", "--vocabulary-size", "262"],
            "`vocabulary_size` must be at least 26",
        ),
        (["serve", "--run", "absent"], "`absent` is not a run directory, it has no settings"),
        (
            ["serve", "--run", "x", "--beam-sizes", "1;5"],
            "--beam-sizes must be whole numbers w",
        ),
        (["serve", "--run", "x", "--rows", "0"], "`rows` must be at least 1, received 0."),
        (["demo", "--seed", "-1", "--run", "x"], "`seed` must be at least 0, received seed=-1."),
        (["evaluate", "--run", "absent", "--test", "x.tsv"], "`absent` is not a run directory"),
        (["demo", "--language", "fr", "--run", "x"], '`language` must be "en" or "zh", received '),
    ],
)
def test_wrong_input_is_one_line(arguments, message, columns, capsys, monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COLUMNS", columns)

    assert complaint(capsys, *arguments).startswith(message)
    assert list(tmp_path.iterdir()) == []


def test_wrong_orders_and_files_are_one_line(run, capsys, tmp_path, monkeypatch):
    broken = write_pairs(tmp_path / "broken.tsv", [("no title", "")])

    lines = complaint(capsys, "evaluate", "--run", run.path, "--test", broken)

    assert lines.endswith("broken.tsv:1: the target is empty; --skip-bad-lines skips such lines.")


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ("--order up", "`order` must be one of l2r, r2l, mid, best, received order='up'."),
        ("--beam-size 0", "`beam_size` must be from 1 to 1000, received beam_size=0. 1 is greedy"),
        ("--beam-size 100000", "`beam_size` must be from 1 to 1000, received beam_size=100000."),
        (
            "--length-penalty=-3",
            "`length_penalty` must be from 0 to 10, received length_penalty=-3",
        ),
        ("--max-length 5000", "`max_length` must be below the 4096 positions that the model knows"),
    ],
)
def test_a_search_that_is_not_possible_is_refused_before_anything_is_read(
    run, options, message, capsys, monkeypatch
):
    monkeypatch.setattr(backend, "choose_backend", unexpected)
    arguments = ["--run", run.path, *options.split()]

    assert complaint(capsys, "generate", *arguments).startswith(message)
    assert complaint(capsys, "evaluate", "--test", "absent", *arguments).startswith(message)


def test_what_the_server_needs_and_does_not_find_is_told(run, capsys, monkeypatch):
    find = importlib.util.find_spec
    absent = ("starlette", "uvicorn")
    monkeypatch.setattr(importlib.util, "find_spec", lambda n: None if n in absent else find(n))
    monkeypatch.setattr(backend, "choose_backend", unexpected)

    assert complaint(capsys, "serve", "--run", run.path) == (
        "`kooler serve` needs starlette, uvicorn. Install: pip install 'kooler[serve]'."
    )


def test_the_server_serves_in_the_way_that_was_asked_for(run, monkeypatch):
    """Up to the writer that it makes; there the start is broken off."""
    pytest.importorskip("starlette")
    from kooler.seq2seq.serve import server

    class BrokenOff(Exception):
        pass

    def writer(model, rows, beam_sizes, rank_by):
        raise BrokenOff(rows, beam_sizes, rank_by)

    monkeypatch.setattr(server, "ShapedWriter", writer)
    asked = ["--rows", "3", "--beam-sizes", "1,4", "--rank-by", "consensus"]

    with pytest.raises(BrokenOff) as caught:
        main(["serve", "--run", str(run.path), "--port", "0", *asked])
    assert caught.value.args == (3, (1, 4), "consensus")


def test_more_titles_than_hypotheses_are_refused(run, capsys):
    refused = complaint(capsys, "generate", "--run", run.path, "--n-best", "3", "--beam-size", "1")

    assert refused == (
        "`n_best` must be from 1 to `beam_size`, received n_best=3, beam_size=1. Raise `beam_size`."
    )


@pytest.mark.parametrize("option", ["--output", "--report"])
def test_a_place_that_takes_no_file_is_told_before_the_measuring(run, option, capsys, monkeypatch):
    monkeypatch.setattr(backend, "choose_backend", unexpected)
    evaluate = ["evaluate", "--run", run.path, "--test", "t.tsv", option]

    absent, folder = (complaint(capsys, *evaluate, path) for path in ("/absent/file", run.path))

    assert absent.startswith("`/absent/file` cannot be written (No such file or directory). Name")
    assert folder.endswith("run` cannot be written, it is a directory. Name a file in it.")


@pytest.mark.parametrize("command", ["generate", "explain --text t"])
def test_a_place_for_what_is_written_is_looked_at_first(run, command, capsys, monkeypatch):
    monkeypatch.setattr(backend, "choose_backend", unexpected)

    refused = complaint(capsys, *command.split(), "--run", run.path, "--output", "/absent/file")

    assert refused.startswith("`/absent/file` cannot be written (No such file or directory).")


def test_a_folder_in_use_is_told_before_the_measuring(run, capsys, monkeypatch):
    monkeypatch.setattr(backend, "choose_backend", unexpected)
    export = ["export", "--run", run.path, "--test", "t.tsv", "--output", run.path]

    assert "must be missing or an empty folder" in complaint(capsys, *export)


def test_an_unknown_way_to_count_bleu_is_told_before_the_measuring(run, capsys, monkeypatch):
    monkeypatch.setattr(backend, "choose_backend", unexpected)

    refused = complaint(capsys, "evaluate", "--run", run.path, "--test", "t", "--tokenize", "13b")

    assert refused.startswith("`tokenize` must be one of auto, 13a, intl, zh, char, none, received")


def test_an_unknown_backend_is_one_line(run):
    command = [sys.executable, "-m", "kooler", "generate", "--run", str(run.path)]
    environment = {**os.environ, "KERAS_BACKEND": "typo"}

    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)

    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr == (
        "kooler: error: KERAS_BACKEND must be one of jax, torch, tensorflow, received 'typo'. "
        "Unset it to take what is installed.\n"
    )


def test_a_tokenizer_that_is_missing_is_told_at_once(run, tmp_path, capsys, monkeypatch):
    monkeypatch.setattr(backend, "choose_backend", unexpected)
    shutil.copytree(run.path, tmp_path / "copy")
    (tmp_path / "copy" / "tokenizer.json").unlink()

    assert complaint(capsys, "generate", "--run", tmp_path / "copy").endswith(
        "tokenizer.json`: No such file or directory; "
        "`kooler train --resume` makes it again from the training files."
    )


@pytest.mark.parametrize(
    "error", [MemoryError(), RuntimeError("RESOURCE_EXHAUSTED: Out of memory allocating 9 bytes")]
)
def test_too_little_memory_is_one_line_with_a_way_out(error, monkeypatch, capsys):
    monkeypatch.setattr(train, "train", raising(error))

    assert "there is not enough memory. Lower --beam-size" in complaint(
        capsys, "train", "--train", "a.tsv", "--dev", "d.tsv", "--run", "r"
    )


def test_a_traceback_is_there_for_those_who_want_it(monkeypatch):
    monkeypatch.setenv("KOOLER_TRACEBACK", "1")

    with pytest.raises(ValueError, match="is not a run directory"):
        main(["generate", "--run", "absent"])


def test_train_gets_the_settings_and_the_files(monkeypatch):
    calls = []
    monkeypatch.setattr(train, "train", lambda *given, **options: calls.append((given, options)))

    code = main(
        [
            "train",
            "--train",
            "a.tsv",
            "--train",
            "b.tsv",
            "--dev",
            "d.tsv",
            "--run",
            "r",
            "--orders",
            "mid",
            "--learning-rate",
            "0.01",
            "--copy-prior",
        ]
    )

    ((settings, *files), options) = calls[0]
    assert code == 0
    assert settings == Settings(orders=("mid",), learning_rate=0.01, copy_prior=True)
    assert files == [[Path("a.tsv"), Path("b.tsv")], [Path("d.tsv")], Path("r")]
    assert options["resume"] is False


def test_resuming_needs_the_run_only_and_takes_what_may_change(run, monkeypatch, capsys):
    calls = []
    monkeypatch.setattr(train, "train", lambda *given, **options: calls.append((given, options)))
    chosen = []
    monkeypatch.setattr(
        backend,
        "choose_backend",
        lambda environment, preferred: chosen.append(preferred) or ("", 1),
    )

    code = main(["train", "--run", str(run.path), "--resume", "--updates", "77"])
    refused = complaint(capsys, "train", "--run", run.path, "--resume", "--dropout", "0.5")

    ((settings, *files), options) = calls[0]
    assert code == 0
    assert settings == Settings(**SETTINGS, updates=77)
    assert files == [(), (), run.path]
    assert options["resume"] is True
    assert chosen == ["none"]  # the backend that the run remembers
    assert refused.startswith(
        "`dropout` was 0.1 when the run started, received dropout=0.5, and cannot"
    )


@pytest.mark.parametrize(("number", "expected"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_a_signal_says_how_to_go_on(number, expected, monkeypatch, capsys, tmp_path):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(train, "train", lambda *given, **options: os.kill(os.getpid(), number))
    Path("my run").mkdir()
    arguments = ["train", "--train", "a.tsv", "--dev", "d.tsv", "--run", "my run"]

    early = main(arguments)
    Path("my run", "settings.json").touch()
    late = main(arguments)

    assert early == late == expected
    assert capsys.readouterr().err.splitlines() == [
        "kooler: interrupted. Nothing was kept; start again with the same command.",
        "kooler: interrupted. Continue with: kooler train --run 'my run' --resume",
    ]


def test_a_training_that_diverged_is_no_wrong_input(monkeypatch, capsys):
    monkeypatch.setattr(train, "train", raising(FloatingPointError("the loss became nan")))

    assert main(["train", "--train", "a.tsv", "--dev", "d.tsv", "--run", "r"]) == 1
    assert capsys.readouterr().err.endswith("kooler: error: the loss became nan\n")


def test_an_error_of_ours_is_not_hidden(monkeypatch):
    monkeypatch.setattr(train, "train", raising(TypeError("a bug")))

    with pytest.raises(TypeError, match="a bug"):
        main(["train", "--train", "a.tsv", "--dev", "d.tsv", "--run", "r"])


def test_a_message_is_one_line_in_which_nothing_steers_the_terminal(monkeypatch, capsys):
    monkeypatch.setattr(train, "train", raising(ValueError("two\nlines \x1b[31m火")))

    main(["train", "--train", "a.tsv", "--dev", "d.tsv", "--run", "r"])

    assert capsys.readouterr().err.endswith("kooler: error: two lines [31m火\n")


def test_the_backend_is_named_when_nobody_chose_it(run, monkeypatch, capsys):
    monkeypatch.setattr(backend, "choose_backend", lambda *given: ("jax", False))
    monkeypatch.setattr(stream, "write_titles", lambda *given, **options: None)

    main(["generate", "--run", str(run.path)])

    assert capsys.readouterr().err == (
        "kooler: using the jax backend (KERAS_BACKEND chooses another).\n"
    )


def test_generate_tells_what_was_cut(run, monkeypatch, capsys):
    calls = []

    def write_titles(*given, **options):
        calls.append((given[0], options))
        return "2 of 9 texts were cut."

    monkeypatch.setattr(stream, "write_titles", write_titles)

    assert main(["generate", "--run", str(run.path), "--n-best", "4", "--max-length", "5"]) == 0

    assert capsys.readouterr().err == "kooler: 2 of 9 texts were cut.\n"
    assert calls == [
        (
            run.path,
            {"jsonl": False, "order": "best", "beam_size": 5, "n_best": 4, "length_penalty": 1.0}
            | {"max_length": 5, "partners": "rank", "rank_by": "score"},
        )
    ]


@pytest.fixture
def echoing(monkeypatch):
    """`write_titles` that writes the texts."""

    def write_titles(run, texts, target, **options):
        target.writelines(f"{text.strip()}\n" for text in texts)

    monkeypatch.setattr(stream, "write_titles", write_titles)


def test_generate_takes_texts_from_files(run, echoing, tmp_path, capsys):
    pairs = write_pairs(tmp_path / "pairs.tsv", [("a text", "its title"), ("b", "c")])
    place = tmp_path / "titles.txt"

    assert main(["generate", "--run", str(run.path), "--input", str(pairs)]) == 0
    assert capsys.readouterr().out == "a text\nb\n"
    given = ["--input", str(pairs), "--input", str(pairs), "--output", str(place)]
    assert main(["generate", "--run", str(run.path), *given]) == 0
    assert capsys.readouterr().out == ""
    assert place.read_text() == "a text\nb\na text\nb\n"


def test_generate_leaves_a_file_as_it_was_when_it_fails(run, echoing, tmp_path, capsys):
    texts, place = tmp_path / "texts.txt", tmp_path / "titles.txt"
    texts.write_bytes(b"a\n\xff\n")
    place.write_text("before")

    given = ["--run", str(run.path), "--input", str(texts), "--output", str(place)]
    assert "texts.txt:2: invalid UTF-8" in complaint(capsys, "generate", *given)
    assert place.read_text() == "before"
    assert sorted(tmp_path.glob("*titles*")) == [place]


def test_generate_looks_at_files_before_anything_starts(run, monkeypatch, tmp_path, capsys):
    monkeypatch.setattr("kooler.seq2seq.backend.prepare_process", unexpected)
    common = ["generate", "--run", str(run.path)]

    absent = complaint(capsys, *common, "--input", str(tmp_path / "absent.txt"))
    folder = complaint(capsys, *common, "--output", str(tmp_path))

    assert "absent.txt: no such file" in absent
    assert "cannot be written, it is a directory" in folder


def test_a_reader_that_has_seen_enough_ends_it_silently(run):
    command = generating(run, "    for _ in range(100_000): target.write('a title\\n')")
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as writer:
        first = writer.stdout.readline()
        writer.stdout.close()

        assert first == b"a title\n"
        assert (writer.wait(), writer.stderr.read()) == (141, b"")


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="this system has no /dev/full")
def test_a_full_disk_behind_stdout_is_one_line(run):
    command = generating(run, "    target.write('a title\\n')")

    with Path("/dev/full").open("w") as full:
        done = subprocess.run(command, stdout=full, stderr=subprocess.PIPE, check=False)

    assert (done.returncode, done.stderr.decode()) == (
        2,
        "kooler: error: stdout cannot be written (No space left on device). "
        "What was written so far may be cut.\n",
    )


def test_evaluate_prints_the_table_and_keeps_the_titles(run, monkeypatch, capsys, tmp_path):
    calls = []

    def fake(*given, **options):
        calls.append((given[1:], options))
        return measured()

    monkeypatch.setattr(measure, "measure", fake)

    code = main(
        f"evaluate --run {run.path} --test t.tsv --order mid --order l2r "
        f"--tokenize none --join-subwords --output {tmp_path / 'titles.txt'}".split()
    )

    streams = capsys.readouterr()
    assert code == 0
    assert streams.out.splitlines()[0].split()[0] == "exact"
    assert streams.err == "kooler: a note\n"
    assert (tmp_path / "titles.txt").read_text("utf-8") == "of l2r\nb\n"
    ((given, options),) = calls
    assert given == ([Path("t.tsv")], ["mid", "l2r"])
    assert (options["tokenize"], options["join_subwords"], options["beam_size"]) == (
        "none",
        True,
        5,
    )


def test_from_files_to_titles(tmp_path, monkeypatch, capsys):
    pairs = [(f"the text of number {i} is here", f"title {i}") for i in range(12)]
    files = {name: write_pairs(tmp_path / f"{name}.tsv", pairs[:6]) for name in ("train", "dev")}
    settings = SETTINGS | {"orders": "mid", "updates": 2}
    flags = [f"--{name.replace('_', '-')}={value}" for name, value in settings.items()]
    greedy = ["--order=mid", "--beam-size=1"]
    run = ["--run", str(tmp_path / "run")]

    trained = main(["train", f"--train={files['train']}", f"--dev={files['dev']}", *run, *flags])
    capsys.readouterr()
    monkeypatch.setattr(sys, "stdin", io.StringIO("a text\n\n火 🎉\n"))
    generated = main(["generate", *run, *greedy, "--jsonl"])
    titles = [json.loads(line)["titles"] for line in capsys.readouterr().out.splitlines()]
    report = tmp_path / "report.html"
    evaluated = main(["evaluate", *run, f"--test={files['dev']}", *greedy, f"--report={report}"])

    assert (trained, generated, evaluated) == (0, 0, 0)
    assert [[title["order"] for title in found] for found in titles] == [["mid"]] * 3
    assert titles[1][0]["title"] == ""
    assert "mid" in capsys.readouterr().out
    assert report.exists()


def generating(run, body):
    """The command `kooler generate` in a process without Keras, with a body for `write_titles`."""
    script = (
        "import sys, types\n"
        "from kooler.seq2seq import backend, cli\n"
        "backend.prepare_process = lambda name: None\n"
        f"def write_titles(run, source, target, **options):\n{body}\n"
        "stream = types.ModuleType('stream')\n"
        "stream.write_titles = write_titles\n"
        "sys.modules['kooler.seq2seq.stream'] = stream\n"
        "sys.exit(cli.main(['generate', '--run', sys.argv[1]]))"
    )
    return [sys.executable, "-c", script, str(run.path)]


def unexpected(*given):
    raise AssertionError("this is not the time to start Keras")


def measured():
    scores = evaluate_titles(["a", "b"], ["a", "b"])
    rows = [ScoreRow("mid", "model", scores), ScoreRow("l2r", "model", scores)]
    rows.append(ScoreRow("lead", "baseline", scores))
    return Measured([], rows, {"mid": ["a", "b"], "l2r": ["of l2r", "b"]}, ["a note"])


def raising(error):
    def call(*given, **options):
        raise error

    return call
