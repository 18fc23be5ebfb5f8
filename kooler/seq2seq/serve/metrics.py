"""What a server counts, in the format of Prometheus; every server counts for itself."""

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram
from prometheus_client.exposition import CONTENT_TYPE_LATEST, generate_latest

SECONDS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0)
TEXTS = (1, 2, 4, 8, 16, 32, 64)


class Metrics:
    """The numbers of one server.

    Attributes:
        requests: Answers by path and status.
        seconds: From request to answer, by path.
        titles: Texts that got their titles.
        waiting: Texts in the queue.
        batch_texts: How many texts were written together.
        batch_seconds: How long that took.
        ready: Whether titles are written.
    """

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        registry = self.registry
        self.requests = Counter(
            "kooler_requests", "Answers.", ["path", "status"], registry=registry
        )
        self.seconds = Histogram(
            "kooler_request_seconds",
            "From request to answer.",
            ["path"],
            buckets=SECONDS,
            registry=registry,
        )
        self.titles = Counter("kooler_texts", "Texts that got their titles.", registry=registry)
        self.waiting = Gauge("kooler_waiting_texts", "Texts in the queue.", registry=registry)
        self.batch_texts = Histogram(
            "kooler_batch_texts", "Texts written together.", buckets=TEXTS, registry=registry
        )
        self.batch_seconds = Histogram(
            "kooler_batch_seconds",
            "Time to write a batch.",
            buckets=SECONDS,
            registry=registry,
        )
        self.ready = Gauge("kooler_ready", "Whether titles are written.", registry=registry)

    def page(self) -> tuple[bytes, str]:
        """All numbers as Prometheus reads them, and the media type."""
        return generate_latest(self.registry), CONTENT_TYPE_LATEST
