"""What all pictures by matplotlib share: a figure without a window, fonts for every script, text that stays text in SVG files."""

from __future__ import annotations

import logging
import warnings
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from torch_rechub.optional_libraries import import_library
from torch_rechub.types import FilePath

if TYPE_CHECKING:
    from matplotlib.figure import Figure  # pyright: ignore[reportMissingImports]

__all__ = ["new_figure", "readable_text", "use_fonts_with_all_characters"]

logger = logging.getLogger(__name__)

#: Fonts that are tried first where a name has characters that matplotlib's own font lacks; then every other installed font.
PREFERRED_FONTS = (
    *("Noto Sans CJK SC", "Noto Sans SC", "Source Han Sans SC", "Microsoft YaHei", "PingFang SC", "Hiragino Sans GB", "SimHei"),
    *("WenQuanYi Micro Hei", "WenQuanYi Zen Hei", "Arial Unicode MS", "Noto Sans CJK JP"),
)


def new_figure(caller: str, figsize: tuple[float, float]) -> Figure:
    """An empty figure that opens no window.

    Args:
        caller: what needs matplotlib, for the error.
        figsize: width and height in inches.

    Raises:
        ImportError: when matplotlib is not installed.
    """
    figure: Figure = import_library("matplotlib.figure", caller).Figure(figsize=figsize, layout="constrained")
    return figure


def use_fonts_with_all_characters(figure: Figure) -> str:
    """Add installed fonts for the characters that the default font lacks, such as Chinese ones; returns those that no font has."""
    from matplotlib import font_manager, rcParams  # pyright: ignore[reportMissingImports]
    from matplotlib.text import Text  # pyright: ignore[reportMissingImports]

    texts: list[Any] = figure.findobj(Text)
    characters = {letter for text in texts for letter in text.get_text() if ord(letter) > 127}
    missing = characters - _characters_of(font_manager.findfont(font_manager.FontProperties(family=rcParams["font.family"])))
    if not missing:
        return ""
    chosen: list[str] = []
    fonts = sorted(font_manager.fontManager.ttflist, key=lambda font: _rank(font.name))
    for font in fonts:
        if missing and font.name not in chosen and missing & _characters_of(font.fname):
            chosen.append(font.name)
            missing -= _characters_of(font.fname)
    for text in texts if chosen else ():
        text.set_fontfamily([*rcParams["font.family"], *chosen])
    return "".join(sorted(missing))


def _rank(name: str) -> int:
    return PREFERRED_FONTS.index(name) if name in PREFERRED_FONTS else len(PREFERRED_FONTS)


def _characters_of(file: str) -> set[str]:
    """The characters that a font file has; none where matplotlib cannot read the file."""
    from matplotlib.ft2font import FT2Font  # pyright: ignore[reportMissingImports]

    try:
        return {chr(code) for code in FT2Font(file).get_charmap()}
    except (OSError, RuntimeError):
        return set()


@contextmanager
def readable_text(figure: Figure, path: FilePath) -> Generator[None, None, None]:
    """Text of any script while a figure is written. An SVG file keeps its text as text; what cannot be drawn is named in one warning."""
    from matplotlib import rc_context  # pyright: ignore[reportMissingImports]

    is_svg = Path(path).suffix.lower() in {".svg", ".svgz"}
    missing = use_fonts_with_all_characters(figure)
    if missing and not is_svg:
        logger.warning(
            "%s: no installed font has the characters %r, which are drawn as boxes. Install a font that has them, such as Noto Sans CJK, "
            "or write an .svg file, whose text every browser draws in its own fonts.",
            path,
            missing,
        )
    with rc_context({"svg.fonttype": "none"}), warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="Glyph .* missing")
        yield
