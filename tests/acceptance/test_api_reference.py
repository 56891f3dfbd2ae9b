"""Laws of docs/en/api: every public name has a section there, and the committed pages are those of the code."""

import importlib
import importlib.util
import pkgutil
import re
import sys
from pathlib import Path

import pytest
import torch

import torch_rechub
from torch_rechub.optim import Adam

ROOT = Path(__file__).parents[2]
#: Modules that hold no names for users: parts that the library uses itself, data files, and packages that only hold modules.
INTERNAL = {
    "arguments",
    "logs",
    "optional_libraries",
    "torch_private",
    "types",
    "storage",
    "report",
    "basic",
    "models",
    "utils",
    "engine.identity",
    "datasets.adult",
    "basic.saves",
    "basic.normalization",
}


@pytest.fixture(scope="module")
def write_api():
    spec = importlib.util.spec_from_file_location("write_api", ROOT / "docs" / "write_api.py")
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    yield module
    del sys.modules[spec.name]


def public_modules():
    """Packages, and modules that lie directly in a package without names of its own."""
    for module in pkgutil.walk_packages(torch_rechub.__path__, "torch_rechub."):
        name = module.name.removeprefix("torch_rechub.")
        parent = name.rpartition(".")[0]
        if name not in INTERNAL and (module.ispkg or parent in {"", "basic", "utils"}):
            yield name


def test_api_reference_is_up_to_date(write_api):
    """The committed pages are those that the script writes, and there are no others; what has run in the process before changes nothing."""
    Adam([torch.nn.Parameter(torch.zeros(1))])  # torch now wraps the step of its class
    committed = {path.name: path.read_text() for path in write_api.FOLDER.iterdir()}
    expected = write_api.reference()
    assert set(committed) == set(expected), "run: make docs"
    for name, text in expected.items():
        assert committed[name] == text, f"{name} is not that of the docstrings. Run: make docs"


def test_api_reference_has_every_public_name(write_api):
    """Every public module has a page, and every name of its ``__all__`` a section there."""
    assert sorted(write_api.MODULES) == sorted(public_modules())
    for page, text in write_api.reference().items():
        if page != "README.md":
            module = importlib.import_module(f"torch_rechub.{page.removesuffix('.md')}")
            assert set(re.findall(r"^## (.*)$", text, re.MULTILINE)) == set(module.__all__), page


def test_api_reference_shows_arguments_sections_and_examples(write_api):
    """Arguments, errors and examples of a docstring appear as lists and blocks; markup of docstrings and addresses do not."""
    pages = write_api.reference()
    assert "- `n_epoch`: epochs at most." in pages["trainers.md"]
    assert "### Trainer.fit\n" in pages["trainers.md"]
    assert "### CTRTrainer.fit\n" not in pages["trainers.md"], "inherited members are described once"
    assert "[EarlyStopper](#earlystopper)" in pages["basic.callback.md"]
    for page, text in pages.items():
        prose = re.sub(r"```.*?```", "", text, flags=re.DOTALL)
        assert not re.search(r"``|:class:|:func:|:meth:|:mod:| at 0x|<factory>", prose), page
        assert not re.search(r" at 0x|<factory>|ForwardRef", text), page


def test_api_reference_follows_a_docstring(write_api):
    """A docstring in each of its sections becomes Markdown."""

    def scale(x: float, *, by: float = 2.0) -> float:
        """Scale ``x``; see :class:`~torch_rechub.trainers.Trainer`.

        Args:
            x: a number < 1
                or none.
            by: the factor.

        Raises:
            ValueError: when ``by`` is 0.

        Example:
            >>> scale(1.0)
            2.0
        """
        return x * by

    assert write_api.signature_of("scale", scale) == "scale(x: float, *, by: float = 2.0) -> float"
    assert write_api.markdown_of(scale.__doc__) == (
        "Scale `x`; see [Trainer](trainers.md#trainer).\n\n"
        "**Args**\n\n- `x`: a number &lt; 1\n  or none.\n- `by`: the factor.\n\n"
        "**Raises**\n\n- `ValueError`: when `by` is 0.\n\n```pycon\n>>> scale(1.0)\n2.0\n```\n"
    )
