"""One side of the comparison. This file runs in both environments, with the ``torch_rechub`` that is installed there.

python deepfm.py train OUT      build, train a few steps, write weights, inputs and predictions
python deepfm.py read IN OUT    build, load the weights strictly, write the weights again and the predictions on the same inputs
"""

import sys

import torch
from safetensors.torch import load_file, save_file

from torch_rechub.basic.features import DenseFeature, SequenceFeature, SparseFeature
from torch_rechub.models.ranking import DeepFM

N_ROW, N_STEP, LENGTH = 32, 20, 6


def build():
    """Every kind of feature: dense columns between others, padding, shared tables, sequences by mean and by sum."""
    user = SparseFeature("user", vocab_size=30, embed_dim=8)
    item = SparseFeature("item", vocab_size=20, embed_dim=8, padding_idx=0)
    previous = SparseFeature("previous", vocab_size=20, embed_dim=8, shared_with="item", padding_idx=0)
    clicks = SequenceFeature("clicks", vocab_size=20, embed_dim=8, pooling="mean", shared_with="item", padding_idx=0)
    tags = SequenceFeature("tags", vocab_size=12, embed_dim=8, pooling="sum", padding_idx=0)
    words = SequenceFeature("words", vocab_size=9, embed_dim=8, pooling="mean")
    city = SparseFeature("city", vocab_size=7, embed_dim=8)
    deep = [DenseFeature("age"), user, tags, city, item, DenseFeature("price"), clicks, words, previous]
    return DeepFM(deep_features=deep, fm_features=[item, user, clicks, tags], mlp_params={"dims": [16, 8], "dropout": 0.2})


def draw(seed):
    """Inputs with short lists, one of which is only padding."""
    chance = torch.Generator().manual_seed(seed)
    sizes = {"user": 30, "item": 20, "previous": 20, "city": 7}
    x = {name: torch.randint(0, size, (N_ROW,), generator=chance) for name, size in sizes.items()}
    for name, size in {"clicks": 20, "tags": 12, "words": 9}.items():
        ids = torch.randint(1, size, (N_ROW, LENGTH), generator=chance)
        lengths = torch.randint(0, LENGTH + 1, (N_ROW, 1), generator=chance)
        x[name] = torch.where(torch.arange(LENGTH) < lengths, ids, 0)
    x["tags"][0] = x["clicks"][0] = 0
    for name in ("age", "price"):
        x[name] = torch.randn(N_ROW, generator=chance)
    return x, torch.randint(0, 2, (N_ROW,), generator=chance).float()


def train(model):
    """A few large steps, so that a part in the wrong position changes the predictions."""
    optimizer = torch.optim.Adam(model.parameters(), lr=0.05)
    model.train()
    for step in range(N_STEP):
        x, y = draw(step + 1)
        optimizer.zero_grad()
        torch.nn.functional.binary_cross_entropy(model(x), y).backward()
        optimizer.step()


def write(path, model, x):
    """Everything that the other side needs, in one file."""
    with torch.no_grad():
        prediction = model.eval()(x)
    weights = {f"weight:{name}": tensor.detach().clone() for name, tensor in model.state_dict().items()}
    inputs = {f"input:{name}": tensor for name, tensor in x.items()}
    save_file({**weights, **inputs, "prediction": prediction.contiguous()}, path)


def main(command, *paths):
    torch.manual_seed(0)
    model = build()
    if command == "train":
        train(model)
        x, _ = draw(0)
    else:
        given = load_file(paths[0])
        model.load_state_dict({name[7:]: tensor for name, tensor in given.items() if name.startswith("weight:")}, strict=True)
        x = {name[6:]: tensor for name, tensor in given.items() if name.startswith("input:")}
    write(paths[-1], model, x)


if __name__ == "__main__":
    main(*sys.argv[1:])
