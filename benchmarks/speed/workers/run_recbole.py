"""RecBole's context-aware DeepFM, from its text files, with its labelled evaluation.

It numbers the values in the files; its vocabularies are then set to the sizes of the setting. Its dense columns have embeddings too,
so its network reads 39 x 16 numbers; its network has no batch norm.
"""

import sys

import numpy as np
from turns import Task, Turns


def write_files(task, folder):
    """RecBole's atomic files: tab-separated, with the type of a column after its name."""
    (folder / "clicks").mkdir()
    header = [f"{name}:token" for name in task.sparse] + [f"{name}:float" for name in task.dense] + ["y:float"]
    forms = ["%d"] * len(task.sparse) + ["%.6f"] * len(task.dense) + ["%d"]
    for part, (x, y) in (("train", task.train), ("valid", task.val), ("test", task.val)):
        matrix = np.column_stack([*(x[name] for name in (*task.sparse, *task.dense)), y])
        np.savetxt(folder / "clicks" / f"clicks.{part}.inter", matrix, forms, "\t", header="\t".join(header), comments="")


def options(task, folder):
    """Our setting in its terms; all else has its default."""
    return {
        "data_path": str(folder),
        "checkpoint_dir": str(folder),
        "benchmark_filename": ["train", "valid", "test"],
        "USER_ID_FIELD": task.sparse[0],
        "ITEM_ID_FIELD": task.sparse[1],
        "LABEL_FIELD": "y",
        "load_col": {"inter": [*task.sparse, *task.dense, "y"]},
        "numerical_features": task.dense,
        "normalize_all": False,
        "train_neg_sample_args": None,
        "eval_args": {"group_by": None, "order": "RO", "split": {"RS": [8, 1, 1]}, "mode": "labeled"},
        "metrics": ["AUC"],
        "valid_metric": "AUC",
        "embedding_size": task.embed_dim,
        "mlp_hidden_size": [256, 128],
        "dropout_prob": 0.2,
        "train_batch_size": task.batch,
        "eval_batch_size": task.batch,
        "learning_rate": 1e-3,
        "epochs": 10**6,
        "stopping_step": 10**6,
        "use_gpu": False,
        "show_progress": False,
        "reproducibility": False,
    }


def main():
    turns, task = Turns(), Task(sys.argv[1])
    sys.argv = sys.argv[:1]  # RecBole also reads the command line
    import torch
    from recbole.config import Config
    from recbole.data import create_dataset, data_preparation
    from recbole.model.context_aware_recommender.deepfm import DeepFM
    from recbole.trainer import Trainer

    folder = task.folder()
    write_files(task, folder)
    config = Config(model="DeepFM", dataset="clicks", config_dict=options(task, folder))
    dataset = create_dataset(config)
    for name, size in task.vocabularies.items():
        dataset.field2id_token[name] = np.arange(size + 1)
    train, val, _ = data_preparation(config, dataset)
    torch.set_num_threads(task.threads)
    trainer = Trainer(config, DeepFM(config, train._dataset))
    measure(trainer, turns)
    trainer.fit(train, val, callback_fn=lambda _, score: turns.end(auc=float(score)))


def measure(trainer, turns):
    """Measures the two methods that its ``fit`` calls."""
    train_epoch, valid_epoch = trainer._train_epoch, trainer._valid_epoch

    def timed_epoch(*given, **options):
        trainer.best_valid_score = -np.inf  # every validation counts as an improvement
        turns.begin()
        loss = train_epoch(*given, **options)
        turns.mark("train")
        return loss

    def timed_validation(*given, **options):
        turns.mark("keep")
        found = valid_epoch(*given, **options)
        turns.mark("validate")
        return found

    trainer._train_epoch, trainer._valid_epoch = timed_epoch, timed_validation


if __name__ == "__main__":
    main()
