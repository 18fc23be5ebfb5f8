"""What may be asked of a server, and what becomes of more.

    too large a body                             413
    too many texts, too long a text              422
    more texts waiting than the queue holds      503, with the seconds after which to try again
    no answer within the time of a request       504

Whatever a request asks for is refused before the model sees it, so that the work of an answer has
a bound, and the memory of the server too.
"""

from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True)
class Limits:
    """The limits of a server.

    Args:
        beam_sizes: What a request may choose from; each is compiled before the first request.
        texts: Most texts of a request.
        characters: Longest text.
        body_bytes: Largest body.
        queue: Most texts that wait; of all requests together.
        seconds: From the last byte of a request to its answer.
        rows: Most texts that the model reads at once.
        gather: Seconds that the first text of a batch waits for others.

    Raises:
        ValueError: For a limit that nothing could pass.
    """

    beam_sizes: tuple[int, ...] = (5,)
    texts: int = 64
    characters: int = 20_000
    body_bytes: int = 1_000_000
    queue: int = 256
    seconds: float = 10.0
    rows: int = 16
    gather: float = 0.005

    def __post_init__(self) -> None:
        for name in ("texts", "characters", "body_bytes", "queue", "rows"):
            if getattr(self, name) < 1:
                raise ValueError(f"`{name}` must be at least 1, received {getattr(self, name)}.")
        if not 0 < self.seconds < float("inf"):
            raise ValueError(f"`seconds` must be above 0 and finite, received {self.seconds}.")
        if not self.beam_sizes or len(set(self.beam_sizes)) != len(self.beam_sizes):
            raise ValueError(
                f"`beam_sizes` must name each size once and at least one, received "
                f"{','.join(map(str, self.beam_sizes)) or 'none'}."
            )
        if self.queue < self.texts:
            raise ValueError(
                f"`queue` must hold the texts of one request, received queue={self.queue}, "
                f"texts={self.texts}. Raise the one or lower the other."
            )


class Refusal(Exception):
    """A request that gets no titles.

    Args:
        status: The status of the answer.
        message: What is wrong, and the way out.
        field: The part of the body that is wrong, None for all of it.
        retry_after: Seconds after which to try again.
    """

    def __init__(
        self,
        status: int,
        message: str,
        field: str | None = None,
        retry_after: int | None = None,
    ) -> None:
        super().__init__(message)
        self.status = status
        self.message = message
        self.field = field
        self.retry_after = retry_after
