"""The behaviour of trainers in case of faults, which are caused and observed; writes the results into the reliability pages.

    python -m benchmarks.reliability [names of libraries ...]

Each library runs in its own environment, which is made at its first use. Raw results go to
``benchmarks/results/reliability.json``; with names, only those libraries run again. It takes ten minutes, plus the environments.
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path

from benchmarks.peers import python_of
from benchmarks.reliability.table import LIBRARIES, markdown

ROOT = Path(__file__).parents[2]
RESULTS = ROOT / "benchmarks" / "results" / "reliability.json"
BEGIN, END = "<!-- reliability: begin -->", "<!-- reliability: end -->"
ALONE = ("first_nan", "no_trigger", "patience", "missing", "negative_better", "negative_worse", "ctrl_c")
AT_A_SAVE = ("killed", "killed_of_two", "full")
VERSION = "import sys, importlib.metadata as m; print(m.version(sys.argv[1]), m.version('torch'))"


class Library:
    """One library's interpreter and script, and a folder for the files of its runs."""

    def __init__(self, name, folder):
        self.python = sys.executable if name == "ours" else python_of(name)
        self.worker = Path(__file__).parent / "peers" / f"ask_{name}.py"
        self.environment = os.environ | {"OMP_NUM_THREADS": "1"} | ({"PYTHONPATH": str(ROOT)} if name == "ours" else {})
        self.folder = folder

    def run(self, *arguments):
        done = subprocess.run(
            [self.python, *map(str, arguments)],
            capture_output=True,
            text=True,
            timeout=300,
            check=False,
            env=self.environment,
            cwd=self.folder,
        )
        return done.returncode, done.stdout, done.stderr

    def ask(self, question, folder):
        """The result of one question; or how the process ended where it gave none."""
        status, said, errors = self.run(self.worker, question, self.folder / folder)
        results = [line for line in said.splitlines() if line.startswith("ANSWER ")]
        if results:
            return json.loads(results[-1].removeprefix("ANSWER "))
        return {"ended": status, "errors": (errors.splitlines() or [""])[-1][-200:] if status > 0 else ""}

    def resume(self):
        """An uninterrupted run, one that ends in the middle of an epoch, and one that resumes from its last save."""
        uninterrupted, _, resumed = (
            self.ask(question, folder)
            for question, folder in (("uninterrupted", "uninterrupted"), ("interrupted", "interrupted"), ("again", "interrupted"))
        )
        if "weights" not in uninterrupted or "weights" not in resumed:
            failed = resumed if "weights" in uninterrupted else uninterrupted
            return {"possible": "has no attribute 'long'" not in failed["errors"], "errors": failed["errors"]}
        pairs = [(float.fromhex(a), float.fromhex(b)) for a, b in zip(uninterrupted["weights"], resumed["weights"], strict=True)]
        difference = max(abs(a - b) for a, b in pairs)
        return {
            "possible": True,
            "same_bits": uninterrupted["weights"] == resumed["weights"],
            "apart": difference,
            "steps_again": resumed["steps"],
        }

    def results(self):
        results = {question: self.ask(question, question) for question in ALONE}
        for question in AT_A_SAVE:
            results[question] = {"run": self.ask(question, question), "left": self.ask("saved", question)}
        return results | {"resume": self.resume()}


def versions_of(name, library):
    package = {"ours": "torch-rechub", "existing": "torch-rechub", "ignite": "pytorch-ignite", "composer": "mosaicml"}.get(name, name)
    return library.run("-c", VERSION, package)[1].split()


def ask(name):
    with tempfile.TemporaryDirectory() as folder:
        try:
            library = Library(name, Path(folder))
        except RuntimeError as error:
            return {"absent": str(error)[-400:]}
        text = json.dumps({"versions": versions_of(name, library), "answers": library.results()})
        return json.loads(text.replace(folder, "..."))


def write_between(page, text):
    before, after = page.read_text().split(BEGIN)[0], page.read_text().split(END)[1]
    page.write_text(f"{before}{BEGIN}\n{text}\n{END}{after}")


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("names", nargs="*", help=", ".join(LIBRARIES))
    parser.add_argument("--table", action="store_true", help="run no library; write the pages from the results at hand")
    arguments = parser.parse_args()
    if not set(arguments.names) <= set(LIBRARIES):
        parser.error(f"the libraries are {', '.join(LIBRARIES)}")
    results = json.loads(RESULTS.read_text()) if RESULTS.is_file() else {}
    for name in [] if arguments.table else arguments.names or LIBRARIES:
        print(f"running {name} ...", file=sys.stderr, flush=True)
        results[name] = ask(name)
        RESULTS.write_text(json.dumps(results, indent=1, sort_keys=True) + "\n")
    for language in ("en", "zh"):
        write_between(ROOT / "docs" / language / "reliability.md", markdown(results, language))
    print(markdown(results, "en"))


if __name__ == "__main__":
    main()
