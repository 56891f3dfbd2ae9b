"""Draw ``docs/engine.svg``, the way of a batch, of a decision and of a save, from the code: ``python docs/draw_engine.py``.

``docs/engine.txt`` lists the rows. Files, functions, hooks, calls, their order and the imports behind them are read from the package by
``ast``. Where one of them is gone, the script fails and names it.
"""

from __future__ import annotations

import ast
from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import cache
from html import escape
from pathlib import Path

DOCS = Path(__file__).parent
TORCH = "torch.optim"


@dataclass
class Row:
    """A function or a hook, in one way."""

    name: str
    file: str
    depth: int
    note: str
    call: str
    via: str
    writes: str
    reads: str
    to_next: bool
    children: list[Row] = field(default_factory=list)

    @property
    def is_hook(self) -> bool:
        """Whether it is a hook of callbacks."""
        return self.name.startswith("on_")


def rows_of(text: str) -> list[Row]:
    """The rows of a way, each with its caller and what it calls."""
    rows: list[Row] = []
    above: dict[int, Row] = {}
    for line in text.strip().splitlines():
        facts, _, note = line.partition("  # ")
        name, *words = facts.split()
        options = {key: value for key, _, value in (word.partition("=") for word in words if "=" in word)}
        call = next((word[1:] for word in words if word.startswith("@")), "")
        call = call or (f"hook:{name}" if name.startswith("on_") else "." + name.split(".")[1] if "." in name else name)
        file = next((word for word in words if word.endswith(".py") or word == TORCH), "")
        asked = (options.get(key, "") for key in ("via", "writes", "reads"))
        row = Row(name, file, (len(line) - len(line.lstrip())) // 2, note.strip(), call, *asked, to_next=">" in words)
        if row.depth:
            above[row.depth - 1].children.append(row)
        above[row.depth] = row
        rows.append(row)
    return rows


class Code:
    """What the package's files define, import and call.

    Args:
        package: its folder.
        drawn: the functions that have a row of their own; other methods of a class count as parts of those that call them.
    """

    def __init__(self, package: Path, drawn: set[tuple[str, str]]) -> None:
        self.package, self.drawn = package, drawn
        self.tree = cache(lambda file: ast.parse((package / file).read_text()))

    def define(self, file: str, name: str) -> ast.AST:
        """The definition of ``function``, ``Class`` or ``Class.method``."""
        require((self.package / file).exists(), f"there is no file {file}")
        place: ast.AST = self.tree(file)
        for part in name.split("."):
            kinds = (ast.FunctionDef, ast.ClassDef)
            inner = [node for node in getattr(place, "body", ()) if isinstance(node, kinds) and node.name == part]
            require(inner, f"{file} does not define {name}")
            place = inner[0]
        return place

    def imported(self, file: str) -> dict[str, str]:
        """Name -> the module of the package from which a file imports it."""
        nodes = [node for node in ast.walk(self.tree(file)) if isinstance(node, ast.ImportFrom)]
        return {alias.name: str(node.module) for node in nodes for alias in node.names if str(node.module).startswith("torch_rechub")}

    def knows(self, caller: Row, row: Row) -> bool:
        """Whether the caller's file imports or defines what it calls; or is given it as a function by the file that calls it."""
        name, _, member = row.via.partition(".") if row.via else row.name.partition(".")
        if caller.file == row.file and not row.via:
            return True
        module = self.imported(caller.file).get(name)
        if module is None:
            return caller.name.split(".")[0] in self.imported(row.file)
        if row.via:
            file = module.split(".", 1)[1].replace(".", "/") + ".py"
            self.define(file, f"{name}.{member or row.name.split('.')[1]}")
            return True
        return ("torch_rechub." + row.file.removesuffix(".py").replace("/", ".")).startswith(module)

    def calls(self, file: str, name: str, seen: tuple[str, ...] = ()) -> Iterator[str]:
        """The calls of a function in order, as they are spelled; with those of its class's methods that have no row."""
        yield from self._calls(self.define(file, name), file, name.rpartition(".")[0], (*seen, name))

    def _calls(self, node: ast.AST, file: str, owner: str, seen: tuple[str, ...]) -> Iterator[str]:
        if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name) and node.value.id == "self":
            yield from self._inlined(f"{owner}.{node.attr}", file, seen)
            return
        parts = list(ast.iter_child_nodes(node))
        if isinstance(node, ast.Call):  # arguments are evaluated first; a function among them is called later
            later = [part for part in parts[1:] if isinstance(part, ast.Attribute)]
            for part in [part for part in parts[1:] if part not in later]:
                yield from self._calls(part, file, owner, seen)
            spelled = ast.unparse(node.func)
            if node.args and spelled.split(".")[-1] in {"call", "call_all"}:
                spelled = "hook:" + ast.unparse(node.args[0]).strip("'")
            yield spelled
            parts = [node.func, *later]
        for part in parts:
            yield from self._calls(part, file, owner, seen)

    def _inlined(self, method: str, file: str, seen: tuple[str, ...]) -> Iterator[str]:
        owner, _, name = method.partition(".")
        methods = [node.name for node in getattr(self.define(file, owner), "body", ()) if isinstance(node, ast.FunctionDef)]
        if name in methods and method not in seen and (file, method) not in self.drawn:
            yield from self.calls(file, method, seen)


def require(condition: object, sentence: str) -> None:
    """End with a sentence that says what the code does not have."""
    if not condition:
        raise SystemExit(f"docs/draw_engine.py: {sentence}. Correct docs/engine.txt, which says what is drawn.")


def verify(ways: dict[str, list[Row]], package: Path) -> None:
    """Compare what is drawn with the code."""
    rows = [row for way in ways.values() for row in way]
    code = Code(package, {(row.file, row.name) for row in rows})
    verify_hooks({row.name for row in rows if row.is_hook}, code)
    for row in rows:
        if row.file not in {"", TORCH}:
            code.define(row.file, row.name)
        for name in filter(None, (row.writes, row.reads)):
            source = ast.unparse(code.define(row.file, row.name))
            require(f"requests.{name}" in source or f"current.{name}" in source, f"{row.name} does not use requests.{name}")
        calls = iter([row.name] if row.is_hook else code.calls(row.file, row.name) if row.children else ())
        for child in row.children:
            called = any(f".{call}".endswith("." + child.call.removeprefix(".")) for call in calls)
            if row.is_hook:
                called = child.name.endswith(f".{row.name}") and "Callback" in code.imported(child.file)
            require(called, f"{row.name} does not call {child.call}, or not in this order")
            of_callbacks = row.is_hook or child.is_hook or child.call.startswith("hook:")
            require(of_callbacks or child.file == TORCH or code.knows(row, child), f"{row.file} does not import {child.via or child.name}")


def verify_hooks(drawn: set[str], code: Code) -> None:
    """All hooks of callbacks are drawn, and the engine calls each."""
    lists = [node.value for node in code.tree("basic/callback/base.py").body if "HOOKS" in ast.unparse(node).split(" = ")[0].split()]
    require(lists, "basic/callback/base.py does not define HOOKS")
    missing = set(ast.literal_eval(lists[0])) ^ drawn
    require(not missing, f"the hooks that are drawn are not those of HOOKS: {sorted(missing)}")
    files = [path for room in ("engine", "trainers") for path in (code.package / room).glob("*.py") if path.name != "describe.py"]
    source = "".join(path.read_text() for path in files)
    for hook in sorted(drawn):
        code.define("basic/callback/base.py", f"Callback.{hook}")
        require(f'("{hook}")' in source or f', "{hook}")' in source, f"nothing calls {hook}")


WIDTH, LEFT, COLUMN, INDENT, CHAR = 1180, 30, 384, 17, 7.25
LIGHT = {"ink": "#1f2328", "soft": "#59636e", "line": "#b7bfc8", "page": "#ffffff", "frame": "#d1d9e0"}
DARK = {"ink": "#e6edf3", "soft": "#9198a1", "line": "#545d68", "page": "#0d1117", "frame": "#3d444d"}
ROOMS = {  # room -> its color on a light and on a dark page
    "trainers": ("#8250df", "#bc8cff"),
    "engine": ("#0969da", "#58a6ff"),
    "data": ("#1a7f37", "#3fb950"),
    "basic": ("#9a6700", "#d29922"),
    "storage": ("#cf222e", "#ff7b72"),
    "torch": ("#59636e", "#9198a1"),
}
MONO = "ui-monospace,SFMono-Regular,Menlo,Consolas,'DejaVu Sans Mono',monospace"
SANS = "system-ui,-apple-system,'Segoe UI','Helvetica Neue',Arial,'DejaVu Sans',sans-serif"


def style() -> str:
    """The typefaces, and the colors of a light and of a dark page."""

    def colors(tones: dict[str, str], i: int) -> str:
        rooms = "".join(f".{room}{{fill:{both[i]}}}.{room}.pill{{stroke:{both[i]}}}" for room, both in ROOMS.items())
        page = f".page{{fill:{tones['page']};stroke:{tones['frame']}}}.rule{{stroke:{tones['frame']}}}"
        lines = f".line{{stroke:{tones['line']}}}.next{{stroke:{tones['soft']}}}.head{{fill:{tones['soft']}}}"
        return f"{page}{lines}.ink{{fill:{tones['ink']}}}.soft{{fill:{tones['soft']}}}{rooms}"

    text = f"text{{font:10.5px {SANS}}}.name{{font:12px {MONO}}}.bold{{font-weight:600}}.title{{font:600 17px {SANS}}}"
    text += f".tag{{font:10.5px {MONO}}}.pill+text{{text-anchor:middle}}"
    shapes = ".line,.next{fill:none;stroke-width:1.25}.pill{fill-opacity:.1;stroke-opacity:.55}"
    return f"<style>{text}{shapes}{colors(LIGHT, 0)}@media (prefers-color-scheme:dark){{{colors(DARK, 1)}}}</style>"


def room_of(row: Row) -> str:
    """The room of its file; hooks belong to ``basic``."""
    return "basic" if row.is_hook else row.file.split("/")[0].split(".")[0]


def place(ways: list[list[Row]]) -> dict[int, tuple[float, float]]:
    """Where the dot of each row is, by its id."""
    at: dict[int, tuple[float, float]] = {}
    for i, way in enumerate(ways):
        y = 78.0
        for n, row in enumerate(way):
            y += 16 if n and row.depth == 0 else 0
            at[id(row)] = (LEFT + i * COLUMN + row.depth * INDENT + 6, y)
            y += 25 if row.is_hook else 35
    return at


def draw_row(row: Row, x: float, y: float) -> str:
    """A dot, the function, its file and its note; or the label of a hook."""
    room = room_of(row)
    if row.is_hook:
        width = round(len(row.name) * 6.35 + 18)
        box = f'<rect class="{room} pill" x="{x - 4:g}" y="{y - 9:g}" width="{width}" height="18" rx="9"/>'
        return f'{box}<text class="tag {room}" x="{x - 4 + width / 2:g}" y="{y + 3.5:g}">{row.name}</text>'
    owner, dot, method = row.name.rpartition(".")
    name = f'<tspan class="soft">{owner}{dot}</tspan><tspan class="bold">{method}</tspan>'
    tag = f"&#8594; requests.{row.writes}" if row.writes else f"&#8592; requests.{row.reads}" if row.reads else ""
    note = f'<tspan class="soft"> &#183; {escape(row.note)}</tspan>' if row.note else ""
    parts = [
        f'<circle class="{room}" cx="{x:g}" cy="{y:g}" r="3.5"/>',
        f'<text class="name ink" x="{x + 11:g}" y="{y + 4:g}">{name}</text>',
        f'<text class="{room}" x="{x + 11:g}" y="{y + 17.5:g}">{row.file}{note}</text>',
    ]
    if tag:
        parts.append(f'<text class="tag soft" x="{x + 23 + len(row.name) * CHAR:g}" y="{y + 4:g}">{tag}</text>')
    return "".join(parts)


def draw_lines(row: Row, at: dict[int, tuple[float, float]]) -> str:
    """The lines from a function down to those that it calls."""
    x, y = at[id(row)]
    paths: list[str] = []
    for child in row.children:
        to_x, to_y = at[id(child)]
        start = f"M{x:g} {y + 7:g}V{to_y - 6:g}q0 6 6 6" if child is row.children[-1] else f"M{x:g} {to_y:g}"
        paths.append(f"{start}H{to_x - 7:g}")
    return f'<path class="line" d="{"".join(paths)}"/>' if paths else ""


def draw_next(row: Row, first: Row, at: dict[int, tuple[float, float]]) -> str:
    """The arrow from a row to the column where its way goes on."""
    (x, y), (to_x, to_y) = at[id(row)], at[id(first)]
    x += len(row.name) * (6.35 if row.is_hook else CHAR) + 19
    gutter = to_x - 24
    path = f"M{x:g} {y:g}H{gutter - 7:g}q7 0 7 -7V{to_y + 7:g}q0 -7 7 -7h3"
    return f'<path class="next" d="{path}"/><path class="head" d="M{to_x - 7:g} {to_y:g}l-8 -4v8z"/>'


def draw(ways: dict[str, list[Row]]) -> str:
    """The picture as SVG."""
    at = place(list(ways.values()))
    height = max(y for _, y in at.values()) + 86
    box = f'xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {height:g}"'
    parts = [f'<svg {box} role="img"><title>{", ".join(ways)}</title>', style()]
    parts.append(f'<rect class="page" x=".5" y=".5" width="{WIDTH - 1}" height="{height - 1:g}" rx="10"/>')
    for i, (title, rows) in enumerate(ways.items()):
        x = LEFT + i * COLUMN
        parts.append(f'<text class="title ink" x="{x}" y="38">{title}</text><path class="rule" d="M{x} 52.5h{COLUMN - 48}"/>')
        parts += [draw_lines(row, at) for row in rows]
        parts += [draw_row(row, *at[id(row)]) for row in rows]
    last = [row for rows in ways.values() for row in rows if row.to_next]
    parts += [draw_next(row, rows[0], at) for row, rows in zip(last, list(ways.values())[1:], strict=True)]
    parts.append(draw_legend(height - 30))
    return "\n".join(filter(None, parts)) + "\n</svg>\n"


def draw_legend(y: float) -> str:
    """What dots, labels and lines mean."""
    parts, x = [f'<path class="rule" d="M{LEFT} {y - 26:g}H{WIDTH - LEFT}"/>'], LEFT + 6.0
    for room in ROOMS:
        parts.append(f'<circle class="{room}" cx="{x:g}" cy="{y:g}" r="3.5"/>')
        parts.append(f'<text class="{room}" x="{x + 9:g}" y="{y + 3.5:g}">{room}</text>')
        x += 70
    parts.append(f'<rect class="basic pill" x="{x:g}" y="{y - 9:g}" width="56" height="18" rx="9"/>')
    parts.append(f'<text class="tag basic" x="{x + 28:g}" y="{y + 3.5:g}">on_...</text>')
    words = "a hook of callbacks &#160;&#160;&#160; A function calls those that are indented below it, from top to bottom."
    parts.append(f'<text class="soft" x="{x + 66:g}" y="{y + 3.5:g}">{words}</text>')
    return "".join(parts)


def picture(package: Path = DOCS.parent / "torch_rechub") -> str:
    """The picture; SystemExit, which names what is gone, where the code is another."""
    texts = (part.split("\n", 1) for part in (DOCS / "engine.txt").read_text().split("\n# ")[1:])
    ways = {title: rows_of(text) for title, text in texts}
    verify(ways, package)
    return draw(ways)


if __name__ == "__main__":
    (DOCS / "engine.svg").write_text(picture())
