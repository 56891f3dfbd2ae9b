"""The existing package (torch-rechub 0.9.0) with numpy arrays, its fastest input: a DataFrame costs it 700 us a row."""

import sys

from turns import Task, Turns

from torch_rechub.basic.features import DenseFeature, SparseFeature
from torch_rechub.models.ranking import DeepFM
from torch_rechub.trainers import CTRTrainer
from torch_rechub.utils.data import DataGenerator


def main():
    turns, task = Turns(), Task(sys.argv[1])
    sparse = [SparseFeature(name, size, task.embed_dim) for name, size in task.vocabularies.items()]
    deep = [*sparse, *(DenseFeature(name) for name in task.dense)]
    model = DeepFM(deep, sparse, {"dims": [256, 128], "dropout": 0.2})
    x_val, y_val = task.val
    generator = DataGenerator(*task.train)
    train, val, _ = generator.generate_dataloader(x_val=x_val, y_val=y_val, x_test=x_val, y_test=y_val, batch_size=task.batch)
    trainer = CTRTrainer(
        model,
        optimizer_params={"lr": 1e-3, "weight_decay": task.decay},
        n_epoch=10**6,
        earlystop_patience=10**6,
        model_path=str(task.folder()),
    )
    measure(trainer, turns)
    trainer.fit(train, val if task.validate else None)


def measure(trainer, turns):
    """Measures the two methods that its ``fit`` calls; the time between them, its early stopper, counts as "keep"."""
    train_one_epoch, evaluate, seen = trainer.train_one_epoch, trainer.evaluate, {}

    def timed_epoch(loader):
        turns.end_if_begun(**seen)
        trainer.early_stopper.best_auc = 0.0  # every validation counts as an improvement
        turns.begin()
        loss = train_one_epoch(loader)
        turns.mark("train")
        return loss

    def timed_validation(model, loader):
        seen["auc"] = evaluate(model, loader)
        turns.mark("validate")
        return seen["auc"]

    trainer.train_one_epoch, trainer.evaluate = timed_epoch, timed_validation


if __name__ == "__main__":
    main()
