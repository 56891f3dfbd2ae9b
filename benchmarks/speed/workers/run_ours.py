"""Our trainer with all its callbacks, as a user runs it."""

import sys

from turns import Task, Turns

from torch_rechub.basic.callback import Callback
from torch_rechub.basic.features import DenseFeature, SparseFeature
from torch_rechub.data import DataGenerator
from torch_rechub.models.ranking import DeepFM
from torch_rechub.trainers import CTRTrainer


class TurnByTurn(Callback):
    """One epoch a turn; every validation is a new best, so that every turn copies and writes the best weights."""

    def __init__(self, turns):
        self.turns = turns

    def on_epoch_begin(self, trainer):
        stopper = trainer.early_stopper
        stopper.load_state_dict({**stopper.state_dict(), "decisions": []})
        self.turns.begin()

    def on_batch_end(self, trainer):
        if trainer.state.batch == trainer.state.n_batch:
            self.turns.mark("train")

    def on_validation_begin(self, trainer):
        self.turns.mark("keep")

    def decide(self, trainer):  # before the stopper, since this callback is listed before it
        self.turns.mark("validate")

    def on_epoch_end(self, trainer):
        self.turns.end(auc=trainer.history[-1].get("auc"))


def main():
    turns, task = Turns(), Task(sys.argv[1])
    sparse = [SparseFeature(name, size, task.embed_dim) for name, size in task.vocabularies.items()]
    deep = [*sparse, *(DenseFeature(name) for name in task.dense)]
    model = DeepFM(deep, sparse, {"dims": [256, 128], "dropout": 0.2})
    train, val, _ = DataGenerator(*task.train).generate_dataloader(*task.val, batch_size=task.batch)
    trainer = CTRTrainer(
        model,
        optimizer_params={"lr": 1e-3, "weight_decay": task.decay},
        n_epoch=10**6,
        earlystop_patience=None,
        model_path=task.folder(),
        callbacks=[TurnByTurn(turns)],
    )
    trainer.fit(train, val if task.validate else None)


if __name__ == "__main__":
    main()
