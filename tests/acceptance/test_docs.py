"""Laws of the documentation: every code block runs, every link is valid, and the two languages correspond."""

import ast
import re
import tomllib
from pathlib import Path

import pytest
from mktestdocs import check_md_file
from mktestdocs.__main__ import grab_code_blocks

ROOT = Path(__file__).parents[2]
PAGES = sorted([*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md")])
WITH_CODE = [page for page in PAGES if grab_code_blocks(page.read_text(), lang="python")]
PAIRS = [(page, ROOT / "docs" / "zh" / page.name) for page in sorted((ROOT / "docs" / "en").glob("*.md"))]
PAIRS.append((ROOT / "README.md", ROOT / "README_zh.md"))
HEADING = re.compile(r"^(#+) ", re.MULTILINE)
#: What a Chinese page must not say (a pattern of its text, inline code aside) -> the one term for it.
TERMS = {
    "耐心": "早停轮数",
    r"\bpatience\b(?!=)": "早停轮数, or `patience` for the argument",
    "检查(?!点)": "验证 for a pass over validation data, 校验 for arguments and values",
    "校验集": "验证集",
    "(?<!触发)(?<!早)提前停止|早期停止": "早停",
    "学习率(计划|日程|安排)": "学习率调度",
    "存档|快照|检测点": "检查点",
    "显卡内存|GPU 内存|图形内存": "显存",
    "批大小|批量大小|批尺寸": "批次大小",
    "时期|纪元|轮次": "epoch",
    "嵌入向量表|内嵌": "嵌入表",
    "惩罚项|罚项": "正则项",
    "早停器|停止器": "`EarlyStopper`",
    "最佳|最好的权重": "最优",
    "被杀|杀死": "被强制终止",
    "逐位相同|逐比特": "逐位一致",
    "文件夹": "目录",
    "行权重": "样本权重",
    "您": "你",
    "自上而下": "从上到下",
    "(?<!日志)记录器": "日志记录器",
}
GLOSSARY = ROOT / "docs" / "zh" / "glossary.md"
#: How our library must not be installed: on the package index its name is that of the existing package.
BY_NAME = re.compile(r"pip install [\"']?torch.rechub\b")
LINK = re.compile(r"\]\((?!https?://)([^)#]*)(#[^)]*)?\)")


def name_of(page: Path) -> str:
    return str(page.relative_to(ROOT))


def prose_of(page: Path) -> str:
    """A page without its code."""
    return re.sub(r"```.*?```", "", page.read_text(), flags=re.DOTALL)


def code_of(page: Path) -> list[str]:
    """Each block's syntax tree, without comments and with empty strings: what two languages must have in common."""
    trees = [ast.parse(block) for block in grab_code_blocks(page.read_text(), lang="python")]
    for tree in trees:
        for node in ast.walk(tree):
            if isinstance(node, ast.Constant) and isinstance(node.value, str):
                node.value = ""
    return [ast.dump(tree) for tree in trees]


def anchor_of(heading: str) -> str:
    """The anchor that a heading gets on a Git host."""
    return "#" + re.sub(r"[^\w\- ]", "", heading.strip().lower()).replace(" ", "-")


@pytest.mark.parametrize("page", WITH_CODE, ids=name_of)
def test_docs_code_blocks_run(page: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """The blocks of a page run from top to bottom as one script, without a warning, in an empty folder."""
    monkeypatch.chdir(tmp_path)
    check_md_file(page, memory=True)


def test_docs_that_claim_to_run_are_run():
    """The pages that say that their blocks run are among those that are run here."""
    expected = {"README.md", "README_zh.md", *(f"docs/{language}/{page.name}" for language in ("en", "zh") for page, _ in PAIRS[:-1])}
    assert expected <= {name_of(page) for page in WITH_CODE}


@pytest.mark.parametrize(("english", "chinese"), PAIRS, ids=[name_of(page) for page, _ in PAIRS])
def test_docs_languages_have_the_same_code(english: Path, chinese: Path):
    """A page has the same code blocks in both languages, comments and strings aside."""
    assert code_of(english) == code_of(chinese)


@pytest.mark.parametrize(("english", "chinese"), PAIRS, ids=[name_of(page) for page, _ in PAIRS])
def test_docs_languages_have_the_same_headings(english: Path, chinese: Path):
    """A page has as many headings of each level, in the same order, in both languages; and as many rows in its tables."""
    assert HEADING.findall(prose_of(english)) == HEADING.findall(prose_of(chinese))
    assert prose_of(english).count("\n|") == prose_of(chinese).count("\n|")


@pytest.mark.parametrize("page", [ROOT / "README.md", ROOT / "README_zh.md"], ids=name_of)
def test_docs_readme_installs_this_library(page: Path):
    """The first command of the README is ``make demo``, and no command installs by the name, which is that of the existing package."""
    commands = [block.strip() for block in re.findall(r"```text\n(.*?)```", page.read_text(), re.DOTALL)]
    assert commands[0] == "make demo"
    assert any("pip install ." in block for block in commands)
    assert not any(BY_NAME.search(block) for block in commands)


def test_docs_and_messages_do_not_install_by_name():
    """No page but the READMEs and the changes, which explain it, and no message tells to install by the name on the package index."""
    sources = [file for folder in ("torch_rechub", "examples", "benchmarks", "tests") for file in (ROOT / folder).rglob("*.py")]
    files = {*sources, *PAGES} - {ROOT / "README.md", ROOT / "README_zh.md", ROOT / "CHANGELOG.md", Path(__file__)}
    assert [name_of(file) for file in sorted(files) if BY_NAME.search(file.read_text())] == []


def libraries_of(file: Path):
    """The libraries that a source file asks for, by the name that its error gives to pip."""
    for node in ast.walk(ast.parse(file.read_text())):
        if isinstance(node, ast.Call) and ast.unparse(node.func) in {"import_library", "missing_library", "require"}:
            given = [argument.value for argument in node.args if isinstance(argument, ast.Constant)]
            if ast.unparse(node.func) == "missing_library":
                yield from given[1:2]
            else:
                yield from given[2:3] or [module.split(".")[0] for module in given[:1]]


def test_docs_install_libraries_that_pyproject_names():
    """Each library that a message or a page installs by its name is one of those that pyproject.toml lists."""
    extras = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["optional-dependencies"]
    known = {re.split(r"[\[>=]", requirement)[0] for requirements in extras.values() for requirement in requirements}
    asked = {library for file in ROOT.glob("torch_rechub/**/*.py") for library in libraries_of(file)}
    shown = {library for page in PAGES for library in re.findall(r"`pip install (\w+)`", page.read_text())}
    assert asked >= {"numba", "pandas", "matplotlib", "pyarrow", "tensorboard", "tensorboardX", "mlflow", "wandb", "swanlab", "aim"}
    assert (asked | shown) - known == set()


@pytest.mark.parametrize("page", [page for pair in PAIRS[:-1] for page in pair], ids=name_of)
def test_docs_page_begins_with_an_example(page: Path):
    """A page says in a few lines what it is for, and shows code before its first long table; it has at most 225 lines."""
    before, _, after = page.read_text().partition("\n```")
    assert before.count("\n") <= 30
    assert before.count("\n|") <= 9
    assert (before + after).count("\n") < 225


@pytest.mark.parametrize("page", [chinese for _, chinese in PAIRS], ids=name_of)
def test_docs_chinese_pages_use_one_term_for_one_thing(page: Path):
    """A Chinese page has none of the words that stand for a thing which has a term of its own; comments of code are held to it too."""
    comments = "\n".join(re.findall(r"#.*", "\n".join(grab_code_blocks(page.read_text(), lang="python"))))
    text = re.sub(r"`[^`]*`", "", prose_of(page)) + comments
    assert {pattern: TERMS[pattern] for pattern in TERMS if re.search(pattern, text)} == {}


def terms_of_glossary() -> list[list[str]]:
    """The rows of the glossary: what the English pages say, what the Chinese pages say, and what they do not say."""
    rows = re.findall(r"^\| (.*?) \| (.*?) \|(.*?)\|$", GLOSSARY.read_text(), re.MULTILINE)
    return [[cell.strip() for cell in row] for row in rows if row[0] != "English"]


def test_docs_glossary_is_that_of_the_pages():
    """The glossary has each term of TERMS once, and each word that it advises against is found by a pattern of TERMS."""
    rows = terms_of_glossary()
    terms = [term for row in rows for term in re.split("[；，、]", row[1])]
    assert len(terms) == len(set(terms)) > 50
    assert [row[2] for row in rows if any(not any(re.search(p, word) for p in TERMS) for word in filter(None, row[2].split("、")))] == []
    replaced = {re.split("[, ]", term)[0] for term in TERMS.values()}
    assert {term for term in replaced if not any(each.startswith(term) for each in terms)} == set()


def test_docs_languages_have_the_same_pages():
    """Every page is there in both languages; only the glossary is Chinese alone."""
    assert {page.name for page, _ in PAIRS[:-1]} | {GLOSSARY.name} == {page.name for page in GLOSSARY.parent.glob("*.md")}


@pytest.mark.parametrize("page", PAGES, ids=name_of)
def test_docs_links_are_valid(page: Path):
    """A link within the project names a file that exists, and an anchor a heading of it."""
    for target, anchor in LINK.findall(prose_of(page)):
        file = (page.parent / target).resolve() if target else page
        assert file.exists(), f"{name_of(page)}: {target}"
        if anchor:
            headings = re.findall(r"^#+ (.*)$", prose_of(file), re.MULTILINE)
            assert anchor in map(anchor_of, headings), f"{name_of(page)}: {target}{anchor}"
