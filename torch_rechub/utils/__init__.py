"""The old import paths: re-exports only, which nothing inside the library imports."""

__all__: list[str] = []
