"""Our model and loaders in a hand-written loop with torch's dense Adam: its default loop, or the fused one."""

import sys

import torch
from turns import Task, Turns

from torch_rechub.basic.features import DenseFeature, SparseFeature
from torch_rechub.data import DataGenerator
from torch_rechub.models.ranking import DeepFM
from torch_rechub.trainers import evaluate, train_one_epoch


def main():
    turns, task = Turns(), Task(sys.argv[1])
    sparse = [SparseFeature(name, size, task.embed_dim) for name, size in task.vocabularies.items()]
    model = DeepFM([*sparse, *(DenseFeature(name) for name in task.dense)], sparse, {"dims": [256, 128], "dropout": 0.2})
    train, val, _ = DataGenerator(*task.train).generate_dataloader(*task.val, batch_size=task.batch)
    fused = sys.argv[2] == "ours-fused" or None
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-3, weight_decay=task.decay, fused=fused)
    while True:
        turns.begin()
        train_one_epoch(model, train, optimizer)
        turns.mark("train")
        auc = evaluate(model, val)
        turns.mark("validate")
        turns.end(auc=auc)


if __name__ == "__main__":
    main()
