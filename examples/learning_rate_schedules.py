"""Two schedules: ReduceLROnPlateau with early stopping, and OneCycleLR, whose length comes from the loader."""

import torch
from torch.optim.lr_scheduler import OneCycleLR, ReduceLROnPlateau

from torch_rechub.data import DataGenerator
from torch_rechub.datasets import make_clicks
from torch_rechub.models.ranking import DeepFM
from torch_rechub.trainers import CTRTrainer, History

CLICKS = make_clicks(20_000, n_dense=2, n_sparse=4, vocab_size=400)


def train(**arguments: object) -> History:
    """One run from the same initial weights, with further arguments of the trainer."""
    torch.manual_seed(0)
    train_rows, val_rows = CLICKS.split((0.8, 0.2))
    generator = DataGenerator(train_rows.x, train_rows.y)
    train_dl, val_dl, _ = generator.generate_dataloader(val_rows.x, val_rows.y, batch_size=256, seed=0)
    dense, sparse = CLICKS.feature_columns(embed_dim=8)
    model = DeepFM([*dense, *sparse], sparse, {"dims": [32], "dropout": 0.2})
    return CTRTrainer(model, model_path=None, progress=False, **arguments).fit(train_dl, val_dl)


def show(title: str, history: History) -> None:
    """Print the learning rate and the monitored metric of each validation."""
    print(title)
    for record in history:
        print(f"  epoch {record['epoch']:2d}  lr {record['lr']:.6f}  auc {record['auc']:.4f}{'  best' if record['is_best'] else ''}")
    print(f"  {history.stop_reason or 'all epochs are done'}\n")


def main() -> None:
    """Train with both schedules."""
    lower_then_stop = train(
        optimizer_params={"lr": 0.01},
        scheduler_fn=ReduceLROnPlateau,
        scheduler_params={"factor": 0.1, "patience": 0},  # a tenth at each validation without improvement
        n_epoch=30,
        earlystop_patience=3,  # larger than the schedule's patience, so that the lower rate is tried first
    )
    show("Lower the rate first, stop later", lower_then_stop)
    one_cycle = train(optimizer_params={"lr": 1e-3}, scheduler_fn=OneCycleLR, scheduler_params={"max_lr": 0.01}, n_epoch=5)
    show("OneCycleLR, over the steps of five epochs", one_cycle)


if __name__ == "__main__":
    main()
