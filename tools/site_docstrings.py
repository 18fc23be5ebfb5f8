"""What Griffe, which reads our docstrings for the site, has to be told (see mkdocs.yml)."""

from typing import Any

from griffe import Extension


class Examples(Extension):
    """Calls the section `Example:` by the only name that Griffe knows it by."""

    def on_object(self, *, obj: Any, **_: Any) -> None:
        """Corrects one docstring."""
        if obj.docstring and not obj.is_alias:
            obj.docstring.value = obj.docstring.value.replace("\nExample:\n", "\nExamples:\n")
