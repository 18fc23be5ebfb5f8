"""`kooler serve`: a run → titles over HTTP."""

from typing import Annotated, Any

import typer

from kooler.seq2seq.commands.before import check_installed, check_run, run_or_shipped, start_keras
from kooler.seq2seq.commands.ending import say
from kooler.seq2seq.commands.options import RankBy, RunOrShipped


def serve(
    run: RunOrShipped = None,
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
    rank_by: RankBy = "score",
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

    run = run_or_shipped(run)
    sizes = _whole_numbers("--beam-sizes", beam_sizes)
    limits = Limits(beam_sizes=sizes, rows=rows, queue=queue, texts=min(64, queue), seconds=seconds)
    for size in sizes:
        checked: dict[str, Any] = {"length_penalty": 1.0, "max_length": None, "rank_by": rank_by}
        check_run(run, ["best"], beam_size=size, **checked)
    check_installed("serve", "starlette", "uvicorn", "prometheus_client")
    start_keras()
    from kooler.seq2seq.serve.server import serve as start

    if error := start(run, host, port, limits, say, rank_by):
        raise error


def _whole_numbers(option: str, text: str) -> tuple[int, ...]:
    """Numbers with commas between them."""
    try:
        return tuple(int(part) for part in text.split(","))
    except ValueError:
        raise ValueError(
            f"{option} must be whole numbers with commas, like 1,5, received {text!r}."
        ) from None
