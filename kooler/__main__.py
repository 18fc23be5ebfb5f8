"""`kooler …` and `python -m kooler …`."""

import sys

from kooler.seq2seq.large_pages import use_large_pages


def main() -> int:
    """Runs the command that the process was called with."""
    use_large_pages()
    from kooler.seq2seq.cli import main as run

    return run()


if __name__ == "__main__":
    sys.exit(main())
