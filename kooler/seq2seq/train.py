"""Training, from files of pairs to a run directory; interrupted anywhere, it goes on as if nothing.

    read pairs → tokenizer → ids on disk → batches by number → Seq2Seq → updates
                                                                  ↓
                           log · evaluations on the dev set · weights to use · checkpoints

What the next update depends on is the state in a checkpoint and the number of the update, nothing
else: batches are looked up by number, dropout draws from seeds that are variables (on PyTorch, from
a generator that is seeded for every update).  So a run that was killed and resumed ends with the
very weights of one that was not (on the same machine, backend and versions; TensorFlow needs
`tf.config.experimental.enable_op_determinism()`, which the command line sets).
"""

import math
import os
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any, NamedTuple

import keras
import numpy as np

from kooler.callbacks import averaged_weights
from kooler.seq2seq.array_files import check_finite
from kooler.seq2seq.batches import EvaluationBatch
from kooler.seq2seq.corpora import Corpora, describe, prepare, with_standard_input
from kooler.seq2seq.counted import counted
from kooler.seq2seq.display import Display, Look, Silence, Step
from kooler.seq2seq.interruption import interruptible
from kooler.seq2seq.leak_meter import leak_meter
from kooler.seq2seq.recipe import build_model, build_optimizer
from kooler.seq2seq.reserved_ids import PAD
from kooler.seq2seq.run_directory import Checkpoint, RunDirectory
from kooler.seq2seq.settings import Settings
from kooler.seq2seq.synchronous import SynchronousBidirectional
from kooler.seq2seq.two_pass import Rounds, decode_both
from kooler.seq2seq.weights import arrays_of, assign, named_weights, training_state
from kooler.seq2seq.writer import Writer

LOG_EVERY = 20  # updates
SAMPLE = 64  # titles of the dev set that an evaluation writes

Files = Sequence[str | os.PathLike[str]]


class Outcome(NamedTuple):
    """How a training ended.

    Attributes:
        update: The number of updates made.
        dev_loss: Nats per token on the dev set, mean of the orders, of the weights to use.
        exact: Exact titles in a sample of the dev set, in percent, at the last evaluation.
        reason: Why it ended, in words.
    """

    update: int
    dev_loss: float
    exact: float
    reason: str


@dataclass
class Progress:
    """What the loop remembers from update to update, beside the variables."""

    update: int = 0
    seconds: float = 0.0  # of training, over all its parts
    best: float = math.inf  # dev loss
    stale: int = 0  # evaluations since the best
    exact: float = 0.0  # percent, at the last evaluation


def train(
    settings: Settings,
    train_paths: Files,
    dev_paths: Files,
    run_directory: str | os.PathLike[str],
    *,
    resume: bool = False,
    display: Display | None = None,
) -> Outcome:
    """Trains a model on files of pairs.

    Args:
        settings: How to build and train it.
        train_paths: Files of pairs to learn from, also folders, patterns and "-" for standard
            input, see `corpus_files.py`; a run that is resumed remembers them.
        dev_paths: Files of pairs to choose the best weights by.
        run_directory: Where everything is written; fresh, or a run to resume.
        resume: Whether to continue from the last checkpoint.
        display: Shows how it goes; None shows nothing.

    Returns:
        How it ended.

    Raises:
        ValueError: If an argument, a file or the directory is not usable.
        FloatingPointError: If the loss is no longer finite; the last checkpoint stays.
        OSError: If the disk is full; the last checkpoint stays.
        KeyboardInterrupt: After Ctrl-C, when a checkpoint is written.

    Example:
        >>> train(Settings(updates=2000), ["pairs.tsv"], ["dev.tsv"], "run")
    """
    run = RunDirectory(run_directory)
    if resume:
        data = _recorded_data(run, settings, train_paths, dev_paths)
    else:
        train_paths, dev_paths = with_standard_input(run, train_paths, dev_paths)
        data = {**describe(train_paths, dev_paths), "backend": keras.backend.backend()}
    with run.locked(), display or Silence() as shown:
        if resume:
            run.keep_settings(settings, data)
            _tell_about_a_start(run, shown)
        else:
            run.begin(settings, data)
        return _Training(run, settings, prepare(run, settings, data, shown.note), shown).to_end()


def _recorded_data(
    run: RunDirectory, settings: Settings, train_paths: Files, dev_paths: Files
) -> dict[str, Any]:
    """What the run was started on; a resumed run must not differ in it."""
    data = run.data()
    run.settings().resumed_with(settings.to_dict())
    if data["backend"] != keras.backend.backend():
        raise ValueError(
            f"the run was started with KERAS_BACKEND={data['backend']}, received "
            f"{keras.backend.backend()}. Resume it with the same backend."
        )
    given = {"train": train_paths, "dev": dev_paths}
    for kind, paths in given.items():
        if paths and describe(paths, paths)[kind]["fingerprint"] != data[kind]["fingerprint"]:
            raise ValueError(
                f"the run was started on other {kind} files than {', '.join(map(str, paths))}. "
                f"Resume it without --{kind}, or train in a fresh run directory."
            )
    return data


def _tell_about_a_start(run: RunDirectory, display: Display) -> None:
    if not run.checkpoints():
        display.note(
            f"`{run.path}` has no checkpoint yet, so the training starts at the beginning."
        )


class _Training:
    """The loop, with all that it needs at hand."""

    def __init__(
        self, run: RunDirectory, settings: Settings, data: Corpora, display: Display
    ) -> None:
        self.run, self.settings, self.data, self.display = run, settings, data, display
        self.model = build_model(settings, data.tokenizer.size)
        self.model.compile(optimizer=build_optimizer(settings))
        self.state = training_state(self.model)
        self.writer = Writer(self.model, data.tokenizer, settings.source_length)
        self.examples = data.dev_pairs(SAMPLE)
        self.progress = self._last_progress()
        self.rounds = self._rounds()
        self.learning_rate = float(self.model.optimizer.learning_rate)

    def to_end(self) -> Outcome:
        """Makes updates until one of the limits of the settings is met."""
        self.display.note(
            f"{self.model.count_params():,} weights, "
            f"{counted(self.progress.update, 'update')} so far."
        )
        with interruptible(lambda: self.display.note("stopping …")) as interruption:
            while not (reason := self._reason_to_end()):
                self._advance()
                if interruption:
                    self._save_checkpoint()
                    interruption.stop()
        return self._finish(reason)

    def _last_progress(self) -> Progress:
        """Takes up the last checkpoint, if there is one."""
        updates = self.run.checkpoints()
        self.run.rewind_log(updates[-1] if updates else 0)
        if not updates:
            return Progress()
        checkpoint = self.run.checkpoint(updates[-1])
        assign(self.state, checkpoint.arrays)
        progress = Progress(**checkpoint.facts)
        if not self.run.weights_path.exists():  # removed by hand: the next evaluation is the best
            progress.best = math.inf
        return progress

    def _rounds(self) -> Rounds | None:
        """What a synchronous model has written for the pairs, where it stopped."""
        if not isinstance(self.model, SynchronousBidirectional) or self.model.leaky:
            return None
        spools = {"train": self.data.train.spool, "dev": self.data.dev}
        every = self.settings.decode_every * self.data.train.updates_per_epoch
        rounds = Rounds(self.run.data_path, spools, every)
        rounds.take_up(self.progress.update)
        return rounds

    def _reason_to_end(self) -> str | None:
        settings, progress = self.settings, self.progress
        if progress.update >= settings.updates:
            return f"update {settings.updates:,} was the last one planned"
        if settings.minutes and progress.seconds >= 60 * settings.minutes:
            return f"the time limit of {settings.minutes:g} min is over"
        if settings.patience and progress.stale >= settings.patience:
            return f"the dev loss has not improved in {counted(progress.stale, 'evaluation')}"
        return None

    def _advance(self) -> None:
        """One update, and whatever is due after it."""
        settings, progress = self.settings, self.progress
        began = time.monotonic()
        batch = self._batch()
        seed_torch(settings.seed, progress.update)
        logs = self.model.train_on_batch(batch, return_dict=True)
        progress.update += 1
        self._show(logs, batch)
        if progress.update % LOG_EVERY == 0:
            self._log(logs)
        if progress.update % settings.evaluate_every == 0:
            self._evaluate()
        progress.seconds += time.monotonic() - began
        if progress.update % settings.checkpoint_every == 0:
            self._save_checkpoint()

    def _batch(self) -> dict[str, np.ndarray]:
        """The pairs of the next update, in the second pass with their other streams."""
        update = self.progress.update
        if self.rounds and self.rounds.begins(update):
            self._begin_round(self.rounds)
        batch = self.data.train[update]
        if not (self.rounds and self.rounds.is_second_pass):
            return batch
        pairs = self.data.train.pairs(update)
        return {**batch, **self.rounds.beside("train", pairs, len(batch["source"]))}

    def _begin_round(self, rounds: Rounds) -> None:
        """Writes the other streams anew; what was best alone is no measure for two together."""
        together = rounds.is_second_pass
        self.display.note("writing the other side of every pair …")
        with averaged_weights(self.model):
            rounds.begin(
                self.progress.update, lambda rows: decode_both(self.model, rows, together=together)
            )
        if not together:
            self.progress.best, self.progress.stale = math.inf, 0

    def _finish(self, reason: str) -> Outcome:
        """Sees to it that the weights to use are the best that there are."""
        progress = self.progress
        if progress.update not in self.run.checkpoints():
            self._save_checkpoint()
        if progress.update % self.settings.evaluate_every or not self.run.weights_path.exists():
            self._evaluate()
        self._try_average()
        self.run.append_log({"event": "end", "reason": reason, **asdict(progress)})
        self.display.note(f"{reason[0].upper()}{reason[1:]}. Dev loss {progress.best:.4f}.")
        return Outcome(progress.update, progress.best, progress.exact, reason)

    def _show(self, logs: Mapping[str, float], batch: Mapping[str, np.ndarray]) -> None:
        settings, progress = self.settings, self.progress
        if not math.isfinite(logs["loss"]):
            raise self._diverged(f"the loss became {logs['loss']}")
        tokens = sum(int(np.count_nonzero(ids)) for ids in batch.values())
        left = settings.minutes and 60 * settings.minutes - progress.seconds
        self.display.step(
            Step(progress.update, settings.updates, logs["loss"], tokens, self.learning_rate, left)
        )

    def _log(self, logs: Mapping[str, float]) -> None:
        """One line about the updates since the last one; the metrics of Keras are means."""
        self.learning_rate = float(self.model.optimizer.learning_rate)
        self.run.append_log(
            {
                "event": "train",
                "update": self.progress.update,
                "seconds": round(self.progress.seconds, 3),
                "learning_rate": self.learning_rate,
                **{name: float(value) for name, value in logs.items()},
            }
        )

    def _evaluate(self, averaged: Sequence[int] = ()) -> None:
        """Measures the weights on the dev set, and keeps them if they are the best so far."""
        progress = self.progress
        losses = self._dev_losses()
        look = self._look(losses, len(averaged))
        loss = sum(look.nll.values()) / len(look.nll)
        progress.exact = look.exact
        progress.stale += 1
        if loss < progress.best:
            progress.best, progress.stale = loss, 0
            facts = {"update": progress.update, "dev_loss": loss, "averaged": list(averaged)}
            self.run.save_weights(arrays_of(named_weights(self.model)), facts)
        self.run.append_log(
            {
                "event": "dev",
                "update": progress.update,
                "seconds": round(progress.seconds, 3),
                "loss": loss,
                **{f"nll_{name}": value for name, value in losses.items()},
                "exact": look.exact,
                "title": look.title,
                "averaged": list(averaged),
            }
        )
        self.display.look(look)
        if "open" in losses and len(self.settings.orders) == 2:
            meter = leak_meter({f"nll_{name}": value for name, value in losses.items()})
            self.display.note(meter.sentence() + ".")

    def _look(self, losses: dict[str, float], averaged: int) -> Look:
        texts = [pair.source for pair in self.examples]
        written = self.writer.write(texts, order=self._order(), beam_size=1)
        titles = [found[0].text for found in written]
        pairs = zip(self.examples, titles, strict=True)
        as_read = self.writer.tokenizer.as_read
        exact = 100 * sum(pair.target == as_read(title) for pair, title in pairs) / len(titles)
        nll = {order: losses[order] for order in self.settings.orders}
        return Look(self.progress.update, nll, exact, *self.examples[0], titles[0], averaged)

    def _order(self) -> str:
        """The order that shows what the model can do so far."""
        together = self.settings.leaky or (self.rounds and self.rounds.is_second_pass)
        return "best" if together else self.settings.orders[-1]

    def _dev_losses(self) -> dict[str, float]:
        """Nats per token on the dev set, by order, and what else the model reports."""
        names = (*self.settings.orders, *self.model.own_losses)
        sums, tokens = np.zeros(len(names)), np.zeros(len(names))
        for batch in self.data.dev_batches():
            pairs = {"source": batch.source, "target": batch.target}
            if self.rounds and self.rounds.is_second_pass:
                pairs |= self.rounds.beside("dev", batch.indices, len(batch.source))
            logs = self.model.test_on_batch(pairs, return_dict=True)  # of this batch alone
            counts = _token_counts(batch, names)
            sums += counts * np.array([float(logs[f"nll_{name}"]) for name in names])
            tokens += counts
        return dict(zip(names, (sums / np.maximum(tokens, 1)).tolist(), strict=True))

    def _save_checkpoint(self) -> None:
        """Writes a checkpoint; the last regular ones, of which the average is made, stay."""
        arrays = arrays_of(self.state)
        try:
            check_finite(arrays)
        except FloatingPointError as error:
            raise self._diverged(str(error)) from None
        update = self.progress.update
        keep = self._regular(self.run.checkpoints())[-max(self.settings.average - 1, 1) :]
        self.run.save_checkpoint(Checkpoint(update, arrays, asdict(self.progress)), keep)

    def _try_average(self) -> None:
        """Takes the mean of the last checkpoints, if it is better on the dev set."""
        updates = self._regular(self.run.checkpoints())[-self.settings.average :]
        if len(updates) < 2:
            return
        weights = named_weights(self.model)
        sums = {name: np.zeros(tuple(weight.shape)) for name, weight in weights.items()}
        for update in updates:
            arrays = self.run.checkpoint(update).arrays
            for name in sums:
                sums[name] += arrays[f"model/{name}"]
        means = {name: (total / len(updates)).astype("float32") for name, total in sums.items()}
        assign(weights, means)
        self._evaluate(averaged=updates)

    def _regular(self, updates: Sequence[int]) -> list[int]:
        """Without those that Ctrl-C caused, so that an interruption changes no average."""
        every, last = self.settings.checkpoint_every, self.settings.updates
        return [update for update in updates if update % every == 0 or update == last]

    def _diverged(self, cause: str) -> FloatingPointError:
        updates = self.run.checkpoints()
        kept = f"The checkpoint of update {updates[-1]} is kept" if updates else "There is none yet"
        return FloatingPointError(
            f"{cause} at update {self.progress.update}, so the training has diverged. {kept}. "
            "Start a fresh run with a lower learning rate, a longer warm-up or a lower clipnorm."
        )


def seed_torch(seed: int, update: int) -> None:
    """On PyTorch, Keras's dropout draws from PyTorch's own generator instead of a seed variable.

    So that the state of a training stays in its variables, that generator starts anew with every
    update.
    """
    if keras.backend.backend() == "torch":
        import torch

        torch.manual_seed(int(np.random.SeedSequence([seed, update]).generate_state(1)[0]))


def _token_counts(batch: EvaluationBatch, names: Sequence[str]) -> np.ndarray:
    """The tokens that each loss of a dev batch is the mean of, without those of empty sources: the
    first half of each target, the second half, or, in an order, all and EOS."""
    written = batch.target[(batch.source != PAD).any(axis=1)]
    lengths = (written != PAD).sum(axis=1)
    halves = {"open": (lengths + 1) // 2, "shown": lengths // 2}
    return np.array([halves.get(name, lengths + 1).sum() for name in names])
