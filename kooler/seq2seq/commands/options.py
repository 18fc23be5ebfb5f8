"""Options that several commands have."""

from pathlib import Path
from typing import Annotated

import typer

Run = Annotated[Path, typer.Option("--run", help="The run directory.", metavar="DIRECTORY")]
RunOrShipped = Annotated[
    Path | None,
    typer.Option(
        "--run",
        help="The run directory; if not given, the model that comes with kooler, which writes "
        "titles for abstracts of computer science in English.",
        metavar="DIRECTORY",
    ),
]
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
RankBy = Annotated[
    str,
    typer.Option(
        help="Which candidate is taken: the likeliest by its score, or the one most like all "
        "others (consensus).",
        metavar="score|consensus",
    ),
]
Partners = Annotated[
    str,
    typer.Option(
        help="Whom a title being written sees where both directions see each other: the one of its "
        "rank on the other side, or the mean over all of them (recurrent models).",
        metavar="rank|all",
    ),
]
