"""`kooler …` and `python -m kooler …`."""

import sys

from kooler.seq2seq.cli import main

if __name__ == "__main__":
    sys.exit(main())
