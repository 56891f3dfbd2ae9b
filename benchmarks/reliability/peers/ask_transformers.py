"""Hugging Face Trainer: EarlyStoppingCallback, load_best_model_at_end, metric_for_best_model; resume_from_checkpoint=True to resume."""

import sys
from pathlib import Path

import torch

sys.path.insert(0, str(Path(__file__).parents[1]))
from asking import LONG_EPOCHS, SAVE_EVERY, Counter, Network, epoch_of, load, long_rows, main
from safetensors.torch import load_file
from transformers import EarlyStoppingCallback, Trainer, TrainingArguments

QUIET = {"report_to": "none", "disable_tqdm": True, "use_cpu": True, "logging_strategy": "no", "remove_unused_columns": False}


class Rows(torch.utils.data.Dataset):
    def __init__(self, x, y):
        self.x, self.y = x, y

    def __len__(self):
        return len(self.x)

    def __getitem__(self, row):
        return {"x": self.x[row], "labels": self.y[row]}


class WithLoss(torch.nn.Module):
    """Returns ``{"loss", "logits"}``, as the Trainer expects of a model."""

    def __init__(self, model, loss):
        super().__init__()
        self.model, self.loss = model, loss

    def forward(self, x, labels=None):
        output = self.model(x)
        return {"loss": self.loss(output, labels), "logits": output}


class Peer:
    def run(self, folder, scores, patience, monitor, min_delta):
        given = iter(scores)
        model = WithLoss(Counter(), lambda output, _: -output.mean())
        rows = Rows(torch.zeros(2, 1), torch.zeros(2))
        threshold = 0.0 if min_delta is None else 10 * min_delta
        stopper = EarlyStoppingCallback(early_stopping_patience=patience, early_stopping_threshold=threshold)
        arguments = TrainingArguments(
            str(folder),
            num_train_epochs=len(scores),
            per_device_train_batch_size=2,
            eval_strategy="epoch",
            save_strategy="epoch",
            save_total_limit=self.keep,
            load_best_model_at_end=True,
            metric_for_best_model=monitor,
            greater_is_better=True,
            max_grad_norm=0.0,
            **QUIET,
        )
        sgd = torch.optim.SGD(model.parameters(), lr=1.0)
        trainer = Trainer(
            model=model,
            args=arguments,
            train_dataset=rows,
            eval_dataset=rows,
            compute_metrics=lambda _: {"score": next(given)},
            callbacks=[stopper],
            optimizers=(sgd, torch.optim.lr_scheduler.ConstantLR(sgd, factor=1.0)),
        )
        self.facts["option"] = "early_stopping_threshold (absolute)"
        try:
            trainer.train()
        finally:
            best = trainer.state.best_model_checkpoint
            self.facts.update(held=epoch_of(model.state_dict()), file=load(lambda: self.read(Path(best))))
            self.facts["best"] = load(lambda: float(trainer.state.best_metric))

    def read(self, folder):
        return epoch_of(load_file(folder / "model.safetensors"))

    def saved(self, folder):
        """A checkpoint that ``resume_from_checkpoint`` would resume from: weights and optimizer."""

        def read(one):
            torch.load(one / "optimizer.pt", weights_only=True)
            return self.read(one)

        folders = sorted(folder.glob("checkpoint-*"), key=lambda one: int(one.name.split("-")[1]))
        found = [load(lambda one=one: read(one)) for one in folders]
        return {"newest": found[-1] if found else "no file", "others": found[:-1]}

    def long(self, folder, again):
        arguments = TrainingArguments(
            str(folder),
            num_train_epochs=LONG_EPOCHS,
            per_device_train_batch_size=8,
            save_steps=SAVE_EVERY,
            learning_rate=0.01,
            seed=0,
            **QUIET,
        )
        torch.manual_seed(0)
        model = WithLoss(Network(), torch.nn.functional.mse_loss)
        Trainer(model=model, args=arguments, train_dataset=Rows(*long_rows())).train(resume_from_checkpoint=again or None)
        return torch.nn.utils.parameters_to_vector(model.parameters()).detach()


if __name__ == "__main__":
    main(Peer())
