"""One side of the comparison of models with histories. It runs in both environments, with the ``torch_rechub`` that is installed there.

python histories.py train OUT      build, train a few steps, write weights, inputs and predictions
python histories.py read IN OUT    build, load the weights strictly, write the weights again and the predictions on the same inputs

In this package Dice is another function and padding has no weight in DIN (docs/en/migration.md). So that all else is compared, DIN reads
histories without padding, and our side computes Dice as the existing package does.
"""

import inspect
import sys

import torch
from safetensors.torch import load_file, save_file

from torch_rechub.basic.activation import Dice
from torch_rechub.basic.features import SequenceFeature, SparseFeature
from torch_rechub.models.ranking import BST, DIEN, DIN

N_ROW, N_STEP, LENGTH = 16, 60, 5
IS_OURS = "n_neuron" in inspect.signature(Dice).parameters


def dice_of_rows(self, x, mask=None):
    """Dice of the existing package: the statistics are those of the neurons of a row."""
    mean = x.mean(1, keepdim=True)
    variance = ((x - mean) ** 2 + self.epsilon).sum(1, keepdim=True)
    p = torch.sigmoid((x - mean) / variance.sqrt())
    return x * (p + (1 - p) * self.alpha)


def history(name, target, vocab_size, width):
    return SequenceFeature(name, vocab_size, width, pooling="concat", shared_with=target, padding_idx=0)


def build():
    """The three models, each with two histories."""
    user = SparseFeature("user", vocab_size=12, embed_dim=4)
    item, shop = (SparseFeature(name, size, 4, padding_idx=0) for name, size in (("item", 15), ("shop", 7)))
    clicked = [history("items", "item", 15, 4), history("shops", "shop", 7, 4)]
    skipped = [history("other_items", "item", 15, 4), history("other_shops", "shop", 7, 4)]
    network = {"dims": [8, 4], "dropout": 0.1}
    return {
        "DIN": DIN([user], clicked, [item, shop], network, {"dims": [6], "activation": "sigmoid", "use_softmax": True}),
        "DIEN": DIEN([user], clicked, skipped, [item, shop], network),
        "BST": BST([user], clicked, [item, shop], network, nhead=2, max_seq_len=LENGTH + 1),
    }


def draw(name, seed):
    """Histories padded at their end, one of which is empty; those of DIN have no padding."""
    chance = torch.Generator().manual_seed(seed)
    sizes = {"user": 12, "item": 15, "shop": 7}
    x = {column: torch.randint(1, size, (N_ROW,), generator=chance) for column, size in sizes.items()}
    lengths = torch.randint(0, LENGTH + 1, (N_ROW, 1), generator=chance)
    lengths[0] = 0
    for column, size in {"items": 15, "shops": 7, "other_items": 15, "other_shops": 7}.items():
        ids = torch.randint(1, size, (N_ROW, LENGTH), generator=chance)
        x[column] = ids if name == "DIN" else torch.where(torch.arange(LENGTH) < lengths, ids, 0)
    return x, torch.randint(0, 2, (N_ROW,), generator=chance).float()


def prediction_and_extra(output):
    return output if isinstance(output, tuple) else (output, 0.0)


def train(name, model):
    optimizer = torch.optim.Adam(model.parameters(), lr=0.05)
    model.train()
    for step in range(N_STEP):
        x, y = draw(name, step % 2 + 1)
        optimizer.zero_grad()
        prediction, extra = prediction_and_extra(model(x))
        (torch.nn.functional.binary_cross_entropy(prediction, y) + extra).backward()
        optimizer.step()


def main(command, *paths):
    torch.manual_seed(0)
    if IS_OURS:
        Dice.forward = dice_of_rows
    given, written = load_file(paths[0]) if command == "read" else {}, {}
    for name, model in build().items():
        if command == "train":
            train(name, model)
        else:
            prefix = f"{name}:weight:"
            weights = {key.removeprefix(prefix): tensor for key, tensor in given.items() if key.startswith(prefix)}
            model.load_state_dict(weights, strict=True)
        x, _ = draw(name, 0)
        with torch.no_grad():
            prediction, _ = prediction_and_extra(model.eval()(x))
        written |= {f"{name}:weight:{key}": tensor.detach().clone() for key, tensor in model.state_dict().items()}
        written |= {f"{name}:input:{key}": tensor for key, tensor in x.items()}
        written[f"{name}:prediction"] = prediction.contiguous()
    save_file(written, paths[-1])


if __name__ == "__main__":
    main(*sys.argv[1:])
