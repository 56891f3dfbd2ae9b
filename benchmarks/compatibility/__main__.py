"""Makes models in the existing package and loads their weights into ours, and the reverse; prints the largest differences.

    python -m benchmarks.compatibility [--write]

Each worker beside this file runs in both environments. ``--write`` writes the small files that ``tests/models`` reads. The exit status is 1
where the two differ by more than float rounding, though ``cases.py`` does not say so.
"""

import argparse
import os
import subprocess
import sys
import tempfile
from pathlib import Path

from safetensors.torch import load_file

from benchmarks.compatibility.cases import CASES
from benchmarks.peers import python_of

HERE = Path(__file__).parent
WORKERS = [HERE / name for name in ("deepfm.py", "histories.py")]
TESTS = HERE.parents[1] / "tests" / "models"
ROUNDING = 1e-6  # of a probability, float32


def run(python, worker, *arguments):
    """Run a script with the package of that environment; a PYTHONPATH with ours holds for ours only."""
    environment = {key: value for key, value in os.environ.items() if key != "PYTHONPATH" or python == sys.executable}
    subprocess.run([python, str(worker), *map(str, arguments)], check=True, env=environment)


def compare(sent, received):
    """The largest differences of weights and of predictions; keys, shapes and dtypes must be equal."""
    kind = {name: (tensor.shape, tensor.dtype) for name, tensor in sent.items()}
    if kind != {name: (tensor.shape, tensor.dtype) for name, tensor in received.items()}:
        raise SystemExit(f"The two write different keys, shapes or types: {sorted(set(sent) ^ set(received))}")
    differences = {name: float((sent[name].double() - received[name].double()).abs().max()) for name in sent}
    predictions = {name for name in differences if name.endswith("prediction")}
    return max(gap for name, gap in differences.items() if name not in predictions), max(differences[name] for name in predictions)


def commit(path):
    """Write a file of the existing package where the tests read it."""
    (TESTS / path.name).write_bytes(path.read_bytes())
    print(f"wrote {path.name}, {path.stat().st_size / 1000:.0f} kB")


def exchange(worker, title, trained_by, read_by, folder, write):
    """Exchange the weights of one worker; the largest difference."""
    sent, received = folder / f"existing_{worker.stem}.safetensors", folder / "received"
    run(trained_by, worker, "train", sent)
    run(read_by, worker, "read", sent, received)
    weights, prediction = compare(load_file(sent), load_file(received))
    print(f"{worker.stem}, {title}: strict; largest difference of weights {weights:.1e}, of predictions {prediction:.1e}")
    if write:
        commit(sent)
    return max(weights, prediction)


def exchange_cases(title, trained_by, read_by, folder, write):
    """Exchange the weights of every case of ``cases.py``; the largest difference that is not intended."""
    here = trained_by == sys.executable
    sent, received, worst = folder / "sent", folder / "received", 0.0
    for each in (sent, received):
        each.mkdir()
    run(trained_by, HERE / "ranking.py", "here" if here else "there", "fill", sent)
    run(read_by, HERE / "ranking.py", "there" if here else "here", "read", sent, received)
    for path in sorted(sent.iterdir()):
        both = load_file(path), load_file(received / path.name)
        for name, case in CASES.items():
            one, other = ({key: tensor for key, tensor in each.items() if key.startswith(f"{name}|")} for each in both)
            if not one or (here and not case.back):
                continue
            added = set() if here else set(other) - set(one)  # a weight that the existing package lacks
            weights, prediction = compare(one, {key: tensor for key, tensor in other.items() if key not in added})
            note = "" if case.equal else ", which differ by intention"
            print(f"{name}, {title}: strict; largest difference of weights {weights:.1e}, of predictions {prediction:.1e}{note}")
            worst = max(worst, weights, prediction if case.equal else 0.0)
        if write:
            commit(path)
    return worst


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--write", action="store_true", help="write the files that the tests read")
    write = parser.parse_args().write
    existing, worst = python_of("existing"), 0.0
    for title, trained_by, read_by in (("existing -> ours", existing, sys.executable), ("ours -> existing", sys.executable, existing)):
        for worker in WORKERS:
            with tempfile.TemporaryDirectory() as folder:
                worst = max(worst, exchange(worker, title, trained_by, read_by, Path(folder), write and trained_by == existing))
        with tempfile.TemporaryDirectory() as folder:
            worst = max(worst, exchange_cases(title, trained_by, read_by, Path(folder), write and trained_by == existing))
    return int(worst > ROUNDING)


if __name__ == "__main__":
    sys.exit(main())
