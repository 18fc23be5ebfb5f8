"""Words for people: durations, and texts that are safe to show."""


def duration(seconds: float) -> str:
    """For example 1:02:03 or 2:03."""
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{rest:02}" if hours else f"{minutes}:{rest:02}"


def printable(text: str) -> str:
    """A text on one line, in which nothing can steer a terminal."""
    return "".join(character if character.isprintable() else " " for character in text)
