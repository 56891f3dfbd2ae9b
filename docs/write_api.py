"""Write ``docs/en/api/``, the reference of all public names, from their docstrings: ``python docs/write_api.py`` or ``make docs``.

Each public module has a page: the names of its ``__all__`` with signature, docstring and public members. A name that several modules
export is described on the page of the first one and linked from the others.
"""

from __future__ import annotations

import importlib
import inspect
import re
import textwrap
from collections.abc import Iterator
from enum import Enum
from functools import cache
from pathlib import Path
from types import ModuleType
from typing import Any, ForwardRef

FOLDER = Path(__file__).parent / "en" / "api"
PACKAGE = "torch_rechub"
#: The public modules, in the order of the index. tests/acceptance/test_api_reference.py finds one that is missing.
MODULES = [
    *("trainers", "data", "datasets", "models.ranking", "optim"),
    *("basic.features", "basic.callback", "basic.callback.early_stopping", "basic.callback.schedules", "basic.metric", "basic.tracking"),
    *(
        "basic.layers",
        "basic.activation",
        "basic.initializers",
        "basic.loss_func",
        "basic.batch",
        "engine",
        "testing",
        "kernels",
        "utils.data",
    ),
]
SECTION = re.compile(r"^(Args|Attributes|Example|Examples|Note|Raises|Returns|Shape|Yields):$", re.MULTILINE)
ROLE = re.compile(r":(?:class|func|meth|mod|attr|data):`~?([^`]+)`")
HEAD = "<!-- Written by docs/write_api.py from the docstrings: change them, then run make docs. -->\n\n"


def module_of(name: str) -> ModuleType:
    """The module of a page."""
    return importlib.import_module(f"{PACKAGE}.{name}")


def homes() -> dict[int, str]:
    """The page that describes each public object, by the object's identity."""
    pages: dict[int, str] = {}
    for page in MODULES:
        for name in module_of(page).__all__:
            pages.setdefault(id(getattr(module_of(page), name)), page)
    return pages


@cache
def page_of_name() -> dict[str, str]:
    """The page of each public name, for links in prose."""
    return {name: page for page in reversed(MODULES) for name in module_of(page).__all__}


def link(role: re.Match[str]) -> str:
    """A reference to an object: a link where it has a section, else code."""
    name = role[1].removeprefix(PACKAGE + ".")
    last = name.split(".")[-1]
    page = page_of_name().get(last)
    if name in MODULES:
        return f"[{name}]({name}.md)"
    return f"[{last}]({page}.md#{last.lower()})" if page else f"`{name}`"


def inline(text: str) -> str:
    """A docstring's markup as Markdown: references become links, double backticks code; angle brackets stay what they are."""
    text = ROLE.sub(link, text).replace("``", "`")
    parts = re.split(r"(`[^`]*`)", text)
    return "".join(part if part.startswith("`") else part.replace("<", "&lt;") for part in parts)


def entries(body: str) -> Iterator[str]:
    """The lines of a section of names: ``name: meaning`` becomes a point of a list."""
    for line in textwrap.dedent(body).strip("\n").splitlines():
        entry = re.match(r"(\*{0,2}\w[\w., *]*): (.*)", line)
        if entry and not line.startswith(" "):
            names = ", ".join(f"`{name}`" for name in entry[1].split(", "))
            yield f"- {names}: {inline(entry[2])}"
        else:
            yield "  " + inline(line.strip())


def section(title: str, body: str) -> str:
    """One section of a docstring as Markdown."""
    if title.startswith("Example"):
        return f"```pycon\n{textwrap.dedent(body).strip()}\n```\n"
    if title in {"Args", "Attributes", "Raises"}:
        return f"**{title}**\n\n" + "\n".join(entries(body)) + "\n"
    return f"**{title}**: {inline(textwrap.dedent(body).strip())}\n"


def markdown_of(docstring: str | None) -> str:
    """A docstring as Markdown: its text, then its sections in their order."""
    first, *rest = SECTION.split(inspect.cleandoc(docstring or ""))
    text = inline(first.strip()) + "\n"
    for title, body in zip(rest[::2], rest[1::2], strict=True):
        lines = body.strip("\n").splitlines()
        inside = next((i for i, line in enumerate(lines) if line and not line.startswith(" ")), len(lines))
        text += "\n" + section(title, "\n".join(lines[:inside]))
        if lines[inside:]:
            text += "\n" + inline("\n".join(lines[inside:]).strip()) + "\n"
    return text


def default_of(value: Any) -> str:
    """A default value as it is written in code."""
    if inspect.isclass(value) or inspect.isroutine(value):
        return value.__qualname__
    text = repr(value)
    return "..." if text.startswith("<") else text


def signature_of(name: str, thing: Any) -> str:
    """A call with all its arguments, types and defaults; one argument a line where they are many."""
    if inspect.isclass(thing) and issubclass(thing, Enum):
        return "\n".join(f"{name}.{member.name}" for member in thing)
    if getattr(thing, "_is_protocol", False):
        return f"class {name}(Protocol)"
    arguments: list[str] = []
    keyword_only = False
    signature = inspect.signature(thing)
    for parameter in signature.parameters.values():
        if parameter.name == "self":
            continue
        if parameter.kind is parameter.VAR_POSITIONAL:
            keyword_only = True
        if parameter.kind is parameter.KEYWORD_ONLY and not keyword_only:
            arguments, keyword_only = [*arguments, "*"], True
        arguments.append(argument_of(parameter))
    no_return = inspect.isclass(thing) or signature.return_annotation is signature.empty
    returns = "" if no_return else f" -> {type_of(signature.return_annotation)}"
    line = f"{name}({', '.join(arguments)}){returns}"
    return line if len(line) <= 100 else f"{name}(\n" + "".join(f"    {argument},\n" for argument in arguments) + f"){returns}"


def argument_of(parameter: inspect.Parameter) -> str:
    """``name: type = default`` of one argument."""
    stars = {parameter.VAR_POSITIONAL: "*", parameter.VAR_KEYWORD: "**"}.get(parameter.kind, "")
    annotation = "" if parameter.annotation is parameter.empty else f": {type_of(parameter.annotation)}"
    default = "" if parameter.default is parameter.empty else f" = {default_of(parameter.default)}"
    return f"{stars}{parameter.name}{annotation}{default}"


def type_of(annotation: Any) -> str:
    """An annotation, as it is written in code."""
    if isinstance(annotation, ForwardRef):
        annotation = annotation.__forward_arg__
    text = annotation if isinstance(annotation, str) else inspect.formatannotation(annotation)
    return re.sub(r"\b(?:[a-z_]\w*\.)+(?=[A-Z])", "", text)


def described_bases(thing: type, known: dict[int, str]) -> list[type]:
    """The public classes of ours that a class inherits from: their members are on their own page."""
    return [base for base in thing.__mro__[1:] if id(base) in known]


def members_of(thing: type, known: dict[int, str]) -> Iterator[tuple[str, Any]]:
    """The public methods and properties that a class defines itself or inherits from classes that have no description."""
    elsewhere = {name for base in described_bases(thing, known) for parent in base.__mro__ for name in vars(parent)}
    seen: set[str] = set()
    for owner in thing.__mro__:
        if owner.__module__.startswith(PACKAGE) and (owner is thing or id(owner) not in known):
            for name, member in vars(owner).items():
                inherited = owner is not thing and name in elsewhere
                if not name.startswith("_") and name not in seen and not inherited and is_described(member, owner):
                    seen.add(name)
                    yield name, member


def is_described(member: Any, owner: type) -> bool:
    """Whether a member is a method or property with a docstring, written in that class.

    torch puts a wrapped ``step`` of the base class into the class of an optimizer when the first one is made.
    """
    function = member.__func__ if isinstance(member, (classmethod, staticmethod)) else member
    code = function.fget if isinstance(function, property) else function
    return inspect.isfunction(code) and bool(function.__doc__) and code.__qualname__.startswith(owner.__qualname__ + ".")


def member_text(owner: str, name: str, member: Any) -> str:
    """The section of one method or property."""
    if isinstance(member, property):
        returns = inspect.signature(member.fget).return_annotation if member.fget else inspect.Signature.empty
        call = name if returns is inspect.Signature.empty else f"{name}: {type_of(returns)}"
    else:
        call = signature_of(name, member.__func__ if isinstance(member, (classmethod, staticmethod)) else member)
    return f"### {owner}.{name}\n\n```py\n{call}\n```\n\n{markdown_of(member.__doc__)}"


def thing_text(name: str, thing: Any, page: str, known: dict[int, str]) -> str:
    """The section of one public name."""
    home = known[id(thing)]
    if home != page:
        return f"## {name}\n\nSee [{home}.{name}]({home}.md#{name.lower()}).\n"
    if not (inspect.isclass(thing) or inspect.isroutine(thing)):
        return f"## {name}\n\n```py\n{name} = {type_of(thing)}\n```\n"
    text = f"## {name}\n\n```py\n{signature_of(name, thing)}\n```\n\n"
    if inspect.isclass(thing):
        bases = [f"[{base.__name__}]({known[id(base)]}.md#{base.__name__.lower()})" for base in described_bases(thing, known)]
        text += f"Inherits from {', '.join(bases)}.\n\n" if bases else ""
    text += markdown_of(thing.__doc__)
    if inspect.isclass(thing):
        text += "".join("\n" + member_text(name, member_name, member) for member_name, member in members_of(thing, known))
    return text


def first_sentence(thing: Any) -> str:
    """The first line of a docstring, for a table."""
    described = inspect.isclass(thing) or inspect.isroutine(thing) or inspect.ismodule(thing)
    return inline(inspect.cleandoc(thing.__doc__ or "").split("\n")[0]).replace("|", "\\|") if described else "a type"


def page_text(page: str, known: dict[int, str]) -> str:
    """The page of one module."""
    module = module_of(page)
    names = {name: getattr(module, name) for name in sorted(module.__all__, key=str.lower)}
    text = HEAD + f"# {PACKAGE}.{page}\n\n{markdown_of(module.__doc__)}\n| Name | What it is |\n|---|---|\n"
    text += "".join(f"| [{name}](#{name.lower()}) | {first_sentence(thing)} |\n" for name, thing in names.items())
    return text + "".join("\n" + thing_text(name, thing, page, known) for name, thing in names.items())


def reference() -> dict[str, str]:
    """The text of each file of the reference, by its name."""
    known = homes()
    index = (
        HEAD
        + "# API reference\n\nAll public names, from their docstrings. The [guide](../../README.md) shows how they are used together.\n"
    )
    index += "\n| Module | What it holds |\n|---|---|\n"
    index += "".join(f"| [{PACKAGE}.{page}]({page}.md) | {first_sentence(module_of(page))} |\n" for page in MODULES)
    return {"README.md": index, **{f"{page}.md": page_text(page, known) for page in MODULES}}


def main() -> None:
    """Write the files; a file of a module that is gone is deleted."""
    FOLDER.mkdir(parents=True, exist_ok=True)
    files = reference()
    for name, text in files.items():
        (FOLDER / name).write_text(text)
    for path in FOLDER.glob("*.md"):
        if path.name not in files:
            path.unlink()


if __name__ == "__main__":
    main()
