"""kooler makes Keras cooler."""

__version__ = "0.1.0"
