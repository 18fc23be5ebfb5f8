"""What a command looks at before it starts Keras, and how it starts it.

A wrong option, a missing file or package is told at once, and not after the seconds that a backend
takes to be imported.
"""

import importlib.util
import os
from collections.abc import Sequence
from pathlib import Path

from kooler.seq2seq.commands.ending import say


def run_or_shipped(run: Path | None) -> Path:
    """The run that was named, or the model that comes with kooler, as it says on stderr."""
    if run:
        return run
    from kooler.seq2seq.shipped import SHIPPED

    say("using the model that comes with kooler, for abstracts in English (--run chooses another).")
    return SHIPPED


def check_run(
    run: Path,
    chosen: Sequence[str],
    n_best: int = 1,
    *,
    beam_size: int,
    length_penalty: float,
    max_length: int | None,
    partners: str = "rank",
    rank_by: str = "score",
) -> None:
    """A look at the run and at the options before Keras starts: what is wrong is told at once."""
    from kooler.seq2seq.rules import Rules, check_ranking, check_search
    from kooler.seq2seq.run_directory import RunDirectory

    directory = RunDirectory(run)
    directory.weights()
    directory.tokenizer()
    settings = directory.settings()
    longest = settings.target_length if max_length is None else max_length
    rules = Rules(beam_size, longest, length_penalty=length_penalty, partners=partners)
    check_ranking(rank_by)
    for order in chosen:
        check_search(rules, order, n_best, settings.orders)


def check_installed(extra: str, *packages: str) -> None:
    """Raises ValueError for what an optional part of kooler needs and does not find."""
    missing = [name for name in packages if importlib.util.find_spec(name) is None]
    if missing:
        raise ValueError(
            f"`kooler {extra}` needs {', '.join(missing)}. Install: pip install 'kooler[{extra}]'."
        )


def start_keras(preferred: str | None = None) -> None:
    """Chooses the backend, as it says on stderr if nobody did; Keras may be imported from now on.

    Args:
        preferred: The backend to take if the environment names none.
    """
    from kooler.seq2seq.backend import choose_backend, prepare_process

    backend, chosen = choose_backend(os.environ, preferred)
    if not chosen:
        say(f"using the {backend} backend (KERAS_BACKEND chooses another).")
    prepare_process(backend)
