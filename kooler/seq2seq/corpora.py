"""The data of a run, ready to be used: a tokenizer, and two corpora as token ids on disk.

All of it lies in the run directory.  What is there is used again, if it was made from files of the
same content, so a training that resumes starts at once, and does not even need its files.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple, cast

from kooler.seq2seq.batches import Batches, EvaluationBatch, evaluation_batches
from kooler.seq2seq.corpus import Pair, Report, corpus_fingerprint, read_pairs
from kooler.seq2seq.corpus_files import (
    check_standard_input,
    corpus_files,
    is_standard_input,
    keep_standard_input,
)
from kooler.seq2seq.counted import counted
from kooler.seq2seq.distillation import distilled
from kooler.seq2seq.run_directory import RunDirectory
from kooler.seq2seq.settings import Settings
from kooler.seq2seq.spool import Spool
from kooler.seq2seq.tokenizer import Kind, Tokenizer

KINDS = ("train", "dev")


class Corpora(NamedTuple):
    """The data of a run.

    Attributes:
        tokenizer: Text to ids and back.
        train: The batches to learn from, by the number of the update.
        dev: The pairs to choose the best weights by.
        settings: Of the run.
    """

    tokenizer: Tokenizer
    train: Batches
    dev: Spool
    settings: Settings

    def dev_batches(self) -> Iterator[EvaluationBatch]:
        """Every pair of the dev set once."""
        return evaluation_batches(self.dev, batch_tokens=self.settings.batch_tokens)

    def dev_pairs(self, count: int) -> list[Pair]:
        """The first pairs of the dev set as text, as far as the model sees it."""
        return decoded(self.dev, self.tokenizer, range(min(count, len(self.dev))))


def with_standard_input(
    run: RunDirectory, train: Sequence[Any], dev: Sequence[Any]
) -> tuple[Sequence[Any], Sequence[Any]]:
    """The files of a fresh run; standard input, where it is named, becomes a file in the run.

    Raises:
        ValueError: If a file is missing, or the run directory is not fresh; nothing is read then.
    """
    _check_given(train, dev)
    check_standard_input([*train, *dev])
    if not any(map(is_standard_input, [*train, *dev])):
        return train, dev
    with run.locked():
        run.check_fresh()
        folder = run.corpus_path
        return keep_standard_input(train, folder), keep_standard_input(dev, folder)


def describe(train: Sequence[Any], dev: Sequence[Any]) -> dict[str, Any]:
    """What a run remembers of its files: where they are, and what is in them.

    Raises:
        CorpusError: If a file is missing, or there is none.
    """
    _check_given(train, dev)
    files = {kind: corpus_files(paths) for kind, paths in zip(KINDS, (train, dev), strict=True)}
    return {
        kind: {
            "files": [str(path.absolute()) for path in paths],
            "fingerprint": corpus_fingerprint(paths),
        }
        for kind, paths in files.items()
    }


def prepare(
    run: RunDirectory, settings: Settings, data: Mapping[str, Any], tell: Callable[[str], None]
) -> Corpora:
    """Reads the files of a run, or what was made of them before.

    Args:
        run: Where everything is kept.
        settings: How to make tokens.
        data: What `describe` returned.
        tell: Gets sentences about what was done, and about lines and texts that did not fit.
    """
    tokenizer = _tokenizer(run, settings, data, tell)
    train = _spool(run, settings, data, tokenizer, "train", tell)
    dev = _spool(run, settings, data, tokenizer, "dev", tell)
    batches = Batches(
        train,
        batch_tokens=settings.batch_tokens,
        seed=settings.seed,
        maximum_shapes=settings.maximum_shapes,
    )
    tell(f"{counted(len(train), 'pair')} to learn from: {batches.summary()}.")
    return Corpora(tokenizer, batches, dev, settings)


def decoded(spool: Spool, tokenizer: Tokenizer, numbers: Sequence[int]) -> list[Pair]:
    """Pairs of a spool as text."""
    rows = (spool[number] for number in numbers)
    return [Pair(*(tokenizer.decode(ids.tolist()) for ids in row)) for row in rows]


def _check_given(train: Sequence[Any], dev: Sequence[Any]) -> None:
    for kind, paths in zip(KINDS, (train, dev), strict=True):
        if not paths:
            raise ValueError(f"a training needs at least one file of pairs with --{kind}.")


def _tokenizer(
    run: RunDirectory, settings: Settings, data: Mapping[str, Any], tell: Callable[[str], None]
) -> Tokenizer:
    if not run.tokenizer_path.exists():
        tell("learning the vocabulary …")
        pairs = _pairs(settings, data, "train", Report())
        texts = (text for pair in pairs for text in pair)
        kind, size = cast(Kind, settings.tokenizer), settings.vocabulary_size
        tokenizer = Tokenizer.train(texts, size, kind, settings.lower_case)
        tokenizer.save(run.tokenizer_path)
    return run.tokenizer()


def _spool(
    run: RunDirectory,
    settings: Settings,
    data: Mapping[str, Any],
    tokenizer: Tokenizer,
    kind: str,
    tell: Callable[[str], None],
) -> Spool:
    report = Report()
    pairs: Iterator[Pair] = _pairs(settings, data, kind, report)
    fingerprint = data[kind]["fingerprint"] + tokenizer.fingerprint
    if kind == "train" and settings.teacher:
        pairs = distilled(pairs, settings.teacher)
        fingerprint += f" taught by {settings.teacher}"
    spool = Spool.build(
        run.data_path / kind,
        pairs,
        tokenizer.encode_batch,
        fingerprint=fingerprint,
        vocabulary_size=tokenizer.size,
        source_length=settings.source_length,
        target_length=settings.target_length,
        long_targets="drop" if kind == "train" else "cut",
    )
    for line in (*report.lines(), *spool.lines()):
        tell(f"{kind}: {line}")
    return spool


def _pairs(
    settings: Settings, data: Mapping[str, Any], kind: str, report: Report
) -> Iterator[Pair]:
    """The pairs of the files, opened when the first one is asked for."""
    files = data[kind]["files"]
    if corpus_fingerprint(files) != data[kind]["fingerprint"]:
        raise ValueError(
            f"the {kind} files of the run have changed since it was started ({', '.join(files)}). "
            "Restore them, or train in a fresh run directory."
        )
    yield from read_pairs(files, skip_bad_lines=settings.skip_bad_lines, report=report)
