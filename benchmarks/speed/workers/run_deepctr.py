"""DeepCTR-Torch, with float32 arrays (other types would become one float64 matrix), without output and metrics of training rows."""

import sys

import numpy as np
import torch
from deepctr_torch.callbacks import Callback
from deepctr_torch.inputs import DenseFeat, SparseFeat
from deepctr_torch.models import DeepFM
from turns import Task, Turns


class TurnByTurn(Callback):
    def __init__(self, turns):
        super().__init__()
        self.turns = turns

    def on_epoch_begin(self, epoch, logs=None):
        self.turns.begin()

    def on_epoch_end(self, epoch, logs=None):
        self.turns.end(auc=float(logs["val_auc"]))


def main():
    turns, task = Turns(), Task(sys.argv[1])
    sparse = [SparseFeat(name, vocabulary_size=size, embedding_dim=task.embed_dim) for name, size in task.vocabularies.items()]
    columns = [*sparse, *(DenseFeat(name, 1) for name in task.dense)]
    model = DeepFM(
        columns,
        columns,
        dnn_hidden_units=(256, 128),
        dnn_dropout=0.2,
        dnn_use_bn=True,
        l2_reg_linear=0,
        l2_reg_embedding=0,
    )
    model.compile(torch.optim.Adam(model.parameters(), lr=1e-3, weight_decay=task.decay), "binary_crossentropy", metrics=["auc"])
    evaluate = model.evaluate

    def timed_validation(*given):
        turns.mark("train")
        found = evaluate(*given)
        turns.mark("validate")
        return found

    model.evaluate = timed_validation
    (x, y), (x_val, y_val) = ((_floats(x), y) for x, y in (task.train, task.val))
    model.fit(x, y, batch_size=task.batch, epochs=10**6, verbose=0, validation_data=(x_val, y_val), callbacks=[TurnByTurn(turns)])


def _floats(x):
    return {name: values.astype(np.float32) for name, values in x.items()}


if __name__ == "__main__":
    main()
