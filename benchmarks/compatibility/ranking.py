"""One side of the comparison of all cases. This file runs in both environments, with the ``torch_rechub`` that is installed there.

python ranking.py SIDE fill OUT       build, draw weights, write them, inputs and predictions, a file for each model
python ranking.py SIDE read IN OUT    build, load the weights strictly, write the weights again and the predictions on the same inputs

SIDE is "there" in the environment of the existing package, and "here" in ours.
"""

import sys
from pathlib import Path

import torch
from cases import CASES, draw
from safetensors.torch import load_file, save_file

import torch_rechub.models.ranking

N_STEP = 40


def build(case, side):
    torch.manual_seed(0)
    arguments = {**case.arguments(), **(case.there() if side == "there" else {})}
    return getattr(torch_rechub.models.ranking, case.model)(**arguments)


def fill(model):
    """Random weights, so that a part in the wrong position changes the predictions, and the running statistics of a few batches."""
    torch.manual_seed(1)
    with torch.no_grad():
        for weight in model.parameters():
            weight.normal_(std=0.6)
        model.train()
        for step in range(N_STEP):
            model(draw(step + 1))


def weights_and_prediction(name, model, x):
    with torch.no_grad():
        prediction = model.eval()(x)
    weights = {f"{name}|weight:{key}": tensor.detach().clone() for key, tensor in model.state_dict().items()}
    return {**weights, f"{name}|prediction": prediction.contiguous()}


def part(stored, name):
    """The weights of one case."""
    prefix = f"{name}|weight:"
    return {key.removeprefix(prefix): tensor for key, tensor in stored.items() if key.startswith(prefix)}


def main(side, command, *folders):
    x = draw(0)
    for file in sorted({case.model for case in CASES.values()}):
        stored = load_file(Path(folders[0]) / f"existing_{file.lower()}.safetensors") if command == "read" else {}
        written = {f"input:{key}": tensor for key, tensor in x.items()}
        for name, case in CASES.items():
            if case.model != file or (command == "read" and side == "there" and not case.back):
                continue
            model = build(case, side)
            if command == "fill":
                fill(model)
            else:
                model.load_state_dict(part(stored, name), strict=True)
            written.update(weights_and_prediction(name, model, x))
        save_file(written, Path(folders[-1]) / f"existing_{file.lower()}.safetensors")


if __name__ == "__main__":
    main(*sys.argv[1:])
