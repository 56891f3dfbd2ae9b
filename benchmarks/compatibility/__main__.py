"""Trains a DeepFM in the existing package and loads it into ours, and the reverse; prints the largest differences.

    python -m benchmarks.compatibility [--write]

``--write`` writes the small file that ``tests/models/test_existing_weights.py`` reads. The exit status is 1 where the two differ by more
than float rounding.
"""

import argparse
import subprocess
import sys
import tempfile
from pathlib import Path

from safetensors.torch import load_file

from benchmarks.peers import python_of

WORKER = Path(__file__).with_name("deepfm.py")
COMMITTED = Path(__file__).parents[2] / "tests" / "models" / "existing_deepfm.safetensors"
ROUNDING = 1e-6  # of a probability, float32


def run(python, *arguments):
    subprocess.run([python, str(WORKER), *map(str, arguments)], check=True)


def compare(sent, received):
    """The largest differences of weights and of predictions; keys, shapes and dtypes must be equal."""
    kind = {name: (tensor.shape, tensor.dtype) for name, tensor in sent.items()}
    if kind != {name: (tensor.shape, tensor.dtype) for name, tensor in received.items()}:
        raise SystemExit(f"The two write different keys, shapes or types: {sorted(set(sent) ^ set(received))}")
    differences = {name: float((sent[name].double() - received[name].double()).abs().max()) for name in sent}
    return max(gap for name, gap in differences.items() if name != "prediction"), differences["prediction"]


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--write", action="store_true", help="write the file that the tests read")
    write = parser.parse_args().write
    existing, worst = python_of("existing"), 0.0
    with tempfile.TemporaryDirectory() as folder:
        for title, trained_by, read_by in (("existing -> ours", existing, sys.executable), ("ours -> existing", sys.executable, existing)):
            sent, received = Path(folder) / f"{title}.sent", Path(folder) / f"{title}.received"
            run(trained_by, "train", sent)
            run(read_by, "read", sent, received)
            weights, prediction = compare(load_file(sent), load_file(received))
            print(f"{title}: loads strictly; largest difference of weights {weights:.1e}, of predictions {prediction:.1e}")
            worst = max(worst, prediction, weights)
            if write and trained_by == existing:
                COMMITTED.write_bytes(sent.read_bytes())
                print(f"wrote {COMMITTED.name}, {COMMITTED.stat().st_size / 1000:.0f} kB")
    return int(worst > ROUNDING)


if __name__ == "__main__":
    sys.exit(main())
