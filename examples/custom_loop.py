"""A hand-written training loop with an early stopper."""

import torch

from torch_rechub.basic.callback import EarlyStopper
from torch_rechub.data import DataGenerator
from torch_rechub.datasets import make_clicks
from torch_rechub.models.ranking import DeepFM
from torch_rechub.trainers import evaluate


def main() -> None:
    """Train until two validations in a row bring no improvement."""
    torch.manual_seed(0)
    clicks = make_clicks(20_000, n_dense=2, n_sparse=4, vocab_size=400)
    train, val = clicks.split((0.8, 0.2))
    train_dl, val_dl, _ = DataGenerator(train.x, train.y).generate_dataloader(val.x, val.y, batch_size=256, seed=0)
    dense, sparse = clicks.feature_columns(embed_dim=8)
    model = DeepFM(deep_features=[*dense, *sparse], fm_features=sparse, mlp_params={"dims": [32], "dropout": 0.2})
    optimizer = torch.optim.Adam(model.parameters(), lr=0.01)
    early_stopper = EarlyStopper(patience=2)

    for epoch in range(50):
        model.train()
        for batch in train_dl:
            optimizer.zero_grad()
            loss = model(batch)
            loss.backward()
            optimizer.step()
        model.eval()
        val_auc = evaluate(model, val_dl)
        stop = early_stopper.stop_training(val_auc, model.state_dict())
        print(f"epoch {epoch + 1}: validation AUC {val_auc:.4f}, {early_stopper.decisions[-1].reason}")
        if stop:
            model.load_state_dict(early_stopper.best_weights)
            break

    print(f"best {early_stopper.best_auc:.4f}; of these very weights {evaluate(model, val_dl):.4f}; of the truth {val.best_auc:.4f}")


if __name__ == "__main__":
    main()
