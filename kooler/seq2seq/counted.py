"""Numbers of things in sentences: `1 update`, `2,000 updates`."""


def counted(number: int, thing: str) -> str:
    """A number with its thing, in the plural where there is not one of them.

    Args:
        number: How many.
        thing: A noun whose plural ends in s.

    Example:
        >>> counted(2000, "update")
        '2,000 updates'
    """
    return f"{number:,} {thing}{'' if number == 1 else 's'}"
