"""Two user-defined callbacks: one adds the mean gradient norm of the network to each record, one stops a run after a time limit."""

import torch

from torch_rechub.basic.callback import Callback
from torch_rechub.data import DataGenerator
from torch_rechub.datasets import make_clicks
from torch_rechub.models.ranking import DeepFM
from torch_rechub.trainers import CTRTrainer, Trainer


class GradientNorm(Callback):
    """The mean 2-norm of the network's gradients since the last validation, in the record of the validation."""

    def on_fit_begin(self, trainer: Trainer) -> None:
        self.norms: list[torch.Tensor] = []

    def on_backward_end(self, trainer: Trainer) -> None:
        gradients = [weight.grad for weight in trainer.model.mlp.parameters() if weight.grad is not None]
        self.norms.append(torch.nn.utils.get_total_norm(gradients))  # the result stays on the device, so no step waits for it

    def on_validation_end(self, trainer: Trainer) -> None:
        trainer.history[-1]["gradient_norm"] = torch.stack(self.norms).mean().item()
        self.norms.clear()


class TimeLimit(Callback):
    """Requests a stop after so many seconds; the best weights are restored as after any other stop."""

    def __init__(self, seconds: float) -> None:
        self.seconds = seconds

    def on_batch_end(self, trainer: Trainer) -> None:
        if trainer.state.seconds > self.seconds:
            trainer.request_stop(f"the time limit of {self.seconds:g} seconds is reached")


def main() -> None:
    """Train with both callbacks."""
    torch.manual_seed(0)
    clicks = make_clicks(20_000, n_dense=2, n_sparse=4, vocab_size=400)
    generator = DataGenerator(clicks.x, clicks.y)
    train_dl, val_dl, _ = generator.generate_dataloader(split_ratio=(0.8, 0.2), batch_size=256, seed=0)
    dense, sparse = clicks.feature_columns(embed_dim=8)
    model = DeepFM([*dense, *sparse], sparse, {"dims": [32], "dropout": 0.2})
    trainer = CTRTrainer(model, n_epoch=5, model_path=None, callbacks=[GradientNorm(), TimeLimit(60)], progress=False)
    for record in trainer.fit(train_dl, val_dl):
        print(f"step {record['step']}: auc {record['auc']:.4f}, mean gradient norm {record['gradient_norm']:.4f}")


if __name__ == "__main__":
    main()
