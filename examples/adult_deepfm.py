"""Train DeepFM on UCI Adult, keep the best weights, and compare its test AUC with that of logistic regression: `make demo`.

The settings were chosen by validation AUC alone; the test rows are read once, at the end.
"""

import argparse

import numpy as np
import torch

from torch_rechub.basic.metric import auc_score
from torch_rechub.data import DataGenerator
from torch_rechub.datasets import Adult, load_adult
from torch_rechub.models.ranking import DeepFM
from torch_rechub.trainers import CTRTrainer, History

OUTPUT = "demo_output"
SEED = 0


def train_deepfm(adult: Adult, quick: bool) -> tuple[History, float]:
    """The history of the run, and the test AUC of the best weights."""
    torch.manual_seed(SEED)
    dense, sparse = adult.feature_columns(embed_dim=4)
    model = DeepFM(deep_features=[*dense, *sparse], fm_features=sparse, mlp_params={"dims": [64, 32], "dropout": 0.2})
    loaders = DataGenerator(*adult.train).generate_dataloader(*adult.val, *adult.test, batch_size=256, seed=SEED)
    train_dl, val_dl, test_dl = loaders
    trainer = CTRTrainer(
        model,
        optimizer_params={"lr": 1e-3, "weight_decay": 1e-5},
        n_epoch=1 if quick else 30,
        earlystop_patience=6,
        model_path=OUTPUT,
        val_every=0.5,  # two validations an epoch
    )
    history = trainer.fit(train_dl, val_dl)
    return history, trainer.evaluate(model, test_dl)


def test_auc_of_logistic_regression(adult: Adult) -> float | None:
    """Logistic regression on the same columns, one-hot where sparse; validation AUC chooses its penalty. None without scikit-learn."""
    try:
        from scipy.sparse import csr_matrix, hstack
        from sklearn.linear_model import LogisticRegression
        from sklearn.preprocessing import OneHotEncoder
    except ImportError:
        return None
    one_hot = OneHotEncoder(categories=[range(len(adult.vocabularies[name])) for name in adult.sparse])

    def matrix(x: dict[str, np.ndarray]) -> csr_matrix:
        ids = one_hot.fit_transform(
            np.stack([x[name] for name in adult.sparse], axis=1)
        )  # the categories are given, so nothing is learned here
        return hstack([ids, csr_matrix(np.stack([x[name] for name in adult.dense], axis=1))]).tocsr()

    train, val, test = (matrix(rows.x) for rows in (adult.train, adult.val, adult.test))
    models = [LogisticRegression(C=strength, max_iter=1000).fit(train, adult.train.y) for strength in (0.1, 1.0, 10.0, 100.0)]
    best = max(models, key=lambda model: auc_score(adult.val.y, model.predict_proba(val)[:, 1]))
    return auc_score(adult.test.y, best.predict_proba(test)[:, 1])


def write_curves(history: History) -> str:
    """Draw the learning curves; returns a line to print."""
    try:
        history.plot(f"{OUTPUT}/learning_curves.png")
    except ImportError as error:
        return f"no learning curves: {error}"
    return f"{OUTPUT}/learning_curves.png   the learning curves"


def main() -> None:
    """Train, compare, print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="one epoch only")
    torch.set_num_threads(1)  # batches of this size do not profit from more
    adult = load_adult()
    print(f"UCI Adult: {len(adult.train.y):,} rows to train on, {len(adult.val.y):,} to validate, {len(adult.test.y):,} to test.")
    history, deepfm = train_deepfm(adult, parser.parse_args().quick)
    linear = test_auc_of_logistic_regression(adult)
    history.save(f"{OUTPUT}/history.jsonl")
    curves = write_curves(history)
    last, best = history[-1], history.best
    assert best is not None
    print(f"\nStopped in epoch {last['epoch']}, at step {last['step']}: {history.stop_reason or 'all epochs are done'}.")
    print(f"Best validation: step {best['step']}, AUC {best['auc']:.4f}, log loss {best['logloss']:.4f}. The model holds its weights.")
    print(f"Test AUC: DeepFM {deepfm:.4f}")
    print("          logistic regression " + ("not measured: pip install scikit-learn" if linear is None else f"{linear:.4f}"))
    print(f"\n{curves}\n{OUTPUT}/history.jsonl         one line a validation\n{OUTPUT}/model.pth             the best weights")


if __name__ == "__main__":
    main()
