"""FuxiCTR: a DeepFM of its layers, assembled as in its model zoo (which its wheel omits), and its loader of npz files.

Its dense columns have embeddings too, so its network reads 39 x 16 numbers where the others read 26 x 16 + 13. It always clips gradients.
"""

import sys
from collections import OrderedDict

import numpy as np
from fuxictr.features import FeatureMap
from fuxictr.pytorch.dataloaders import RankDataLoader
from fuxictr.pytorch.layers import FactorizationMachine, FeatureEmbedding, MLP_Block
from fuxictr.pytorch.models import BaseModel
from turns import Task, Turns


class DeepFM(BaseModel):
    def __init__(self, feature_map, embedding_dim, turns, **options):
        super().__init__(feature_map, model_id="DeepFM", reduce_lr_on_plateau=False, early_stop_patience=10**6, **options)
        self.turns = turns
        self.embedding_layer = FeatureEmbedding(feature_map, embedding_dim)
        self.fm = FactorizationMachine(feature_map)
        self.mlp = MLP_Block(
            input_dim=feature_map.sum_emb_out_dim(), hidden_units=[256, 128], output_dim=1, dropout_rates=0.2, batch_norm=True
        )
        self.compile("adam", "binary_crossentropy", 1e-3)
        self.reset_parameters()
        self.model_to_device()

    def forward(self, inputs):
        x = self.get_inputs(inputs)
        embedded = self.embedding_layer(x)
        logit = self.fm(x, embedded) + self.mlp(embedded.flatten(start_dim=1))
        return {"y_pred": self.output_activation(logit)}

    def train_epoch(self, data_generator):
        self._best_metric = -np.inf  # every validation counts as an improvement
        self.turns.begin()
        super().train_epoch(data_generator)
        self.turns.end(auc=self.auc)

    def evaluate(self, data_generator, metrics=None):
        self.turns.mark("train")
        found = super().evaluate(data_generator, metrics)
        self.turns.mark("validate")
        self.auc = float(found["AUC"])
        return found


def describe(task, folder):
    """FuxiCTR's list of columns."""
    feature_map = FeatureMap("speed", str(folder))
    feature_map.features = OrderedDict((name, {"source": "", "type": "numeric"}) for name in task.dense)
    for name, size in task.vocabularies.items():
        feature_map.features[name] = {"source": "", "type": "categorical", "vocab_size": size}
    feature_map.labels, feature_map.default_emb_dim = ["y"], task.embed_dim
    feature_map.num_fields = feature_map.get_num_fields()
    feature_map.set_column_index()
    return feature_map


def main():
    turns, task = Turns(), Task(sys.argv[1])
    folder = task.folder()
    for name, (x, y) in (("train", task.train), ("valid", task.val)):
        np.savez(folder / f"{name}.npz", y=y, **x)
    feature_map = describe(task, folder)
    model = DeepFM(feature_map, task.embed_dim, turns, verbose=0, model_root=str(folder), metrics=["AUC"])
    files = {f"{name}_data": str(folder / f"{name}.npz") for name in ("train", "valid")}
    train, val = RankDataLoader(feature_map, stage="train", batch_size=task.batch, shuffle=True, num_workers=0, **files)
    (folder / "speed").mkdir(exist_ok=True)
    model.fit(train, epochs=10**6, validation_data=val)


if __name__ == "__main__":
    main()
