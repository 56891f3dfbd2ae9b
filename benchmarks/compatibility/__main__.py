"""Trains models in the existing package and loads them into ours, and the reverse; prints the largest differences.

    python -m benchmarks.compatibility [--write]

Each file of models beside this one runs in both environments. ``--write`` writes the small files that ``tests/models`` reads. The exit
status is 1 where the two differ by more than float rounding.
"""

import argparse
import subprocess
import sys
import tempfile
from pathlib import Path

from safetensors.torch import load_file

from benchmarks.peers import python_of

WORKERS = [Path(__file__).with_name(name) for name in ("deepfm.py", "histories.py")]
TESTS = Path(__file__).parents[2] / "tests" / "models"
ROUNDING = 1e-6  # of a probability, float32


def run(python, worker, *arguments):
    subprocess.run([python, str(worker), *map(str, arguments)], check=True)


def compare(sent, received):
    """The largest differences of weights and of predictions; keys, shapes and dtypes must be equal."""
    kind = {name: (tensor.shape, tensor.dtype) for name, tensor in sent.items()}
    if kind != {name: (tensor.shape, tensor.dtype) for name, tensor in received.items()}:
        raise SystemExit(f"The two write different keys, shapes or types: {sorted(set(sent) ^ set(received))}")
    differences = {name: float((sent[name].double() - received[name].double()).abs().max()) for name in sent}
    predictions = {name for name in differences if name.endswith("prediction")}
    return max(gap for name, gap in differences.items() if name not in predictions), max(differences[name] for name in predictions)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--write", action="store_true", help="write the file that the tests read")
    write = parser.parse_args().write
    existing, worst = python_of("existing"), 0.0
    with tempfile.TemporaryDirectory() as folder:
        for worker in WORKERS:
            for title, trained_by, read_by in (
                ("existing -> ours", existing, sys.executable),
                ("ours -> existing", sys.executable, existing),
            ):
                sent, received = Path(folder) / f"{worker.stem} {title}.sent", Path(folder) / f"{worker.stem} {title}.received"
                run(trained_by, worker, "train", sent)
                run(read_by, worker, "read", sent, received)
                weights, prediction = compare(load_file(sent), load_file(received))
                print(f"{worker.stem}, {title}: strict; largest difference of weights {weights:.1e}, of predictions {prediction:.1e}")
                worst = max(worst, prediction, weights)
                if write and trained_by == existing:
                    committed = TESTS / f"existing_{worker.stem}.safetensors"
                    committed.write_bytes(sent.read_bytes())
                    print(f"wrote {committed.name}, {committed.stat().st_size / 1000:.0f} kB")
    return int(worst > ROUNDING)


if __name__ == "__main__":
    sys.exit(main())
