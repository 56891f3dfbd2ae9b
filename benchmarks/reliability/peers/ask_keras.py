"""Keras 3 on torch: EarlyStopping(restore_best_weights=True), ModelCheckpoint(save_best_only=True), BackupAndRestore to resume."""

import os
import sys
from pathlib import Path

os.environ["KERAS_BACKEND"] = "torch"
sys.path.insert(0, str(Path(__file__).parents[1]))
import keras
import numpy as np
import torch
from asking import HALF, LONG_EPOCHS, SAVE_EVERY, load, long_rows, main, tick

ROWS = np.zeros((2, 1), dtype=np.float32), np.zeros(2, dtype=np.float32)


@keras.saving.register_keras_serializable()
class Counter(keras.Model):
    def build(self, shape):
        self.w = self.add_weight(shape=(), initializer="zeros", name="w")
        self.ballast = self.add_weight(shape=(2 * HALF // 4,), initializer="zeros", trainable=False, name="ballast")

    def call(self, x, training=False):
        if training:
            tick()
        return 0.5 + (self.w - keras.ops.stop_gradient(self.w)) + 0 * x[:, 0]


class Network(keras.Model):
    def __init__(self):
        super().__init__()
        self.layers_ = [keras.layers.Dense(16, activation="relu"), keras.layers.Dropout(0.5), keras.layers.Dense(1)]

    def call(self, x, training=False):
        if training:
            tick()
        for layer in self.layers_:
            x = layer(x, training=training)
        return x[:, 0]


class Scores(keras.callbacks.Callback):
    def __init__(self, scores):
        super().__init__()
        self.scores = iter(scores)

    def on_epoch_end(self, epoch, logs=None):
        logs["score"] = next(self.scores)


def build(model, x, **options):
    model(x[:1])
    model.compile(**options)
    return model


class Peer:
    def run(self, folder, scores, patience, monitor, min_delta):
        model = build(Counter(), ROWS[0], optimizer=keras.optimizers.SGD(1.0), loss=lambda y, output: -keras.ops.mean(output))
        delta = {} if min_delta is None else {"min_delta": 10 * min_delta}
        stopper = keras.callbacks.EarlyStopping(monitor, patience=patience, mode="max", restore_best_weights=True, **delta)
        name = "best.keras" if self.keep == 1 else "best-{epoch:02d}.keras"
        keeper = keras.callbacks.ModelCheckpoint(str(folder / name), monitor=monitor, mode="max", save_best_only=True)
        self.facts["option"] = "min_delta (absolute)"
        try:
            model.fit(*ROWS, batch_size=2, epochs=len(scores), callbacks=[Scores(scores), keeper, stopper], verbose=0)
        finally:
            self.facts.update(held=int(model.w), file=load(lambda: self.saved(folder)["newest"]))
            self.facts["best"] = load(lambda: float(stopper.best))

    def saved(self, folder):
        def read(file):
            return int(keras.saving.load_model(file, compile=False).w)

        found = [load(lambda file=file: read(file)) for file in sorted(folder.glob("*.keras"))]
        return {"newest": found[-1] if found else "no file", "others": found[:-1]}

    def long(self, folder, again):
        keras.utils.set_random_seed(0)
        x, y = long_rows()
        model = build(Network(), x, optimizer=keras.optimizers.Adam(0.01), loss="mse")
        rows = torch.utils.data.DataLoader(torch.utils.data.TensorDataset(x, y), batch_size=8, shuffle=True)
        backup = keras.callbacks.BackupAndRestore(str(folder / "backup"), save_freq=SAVE_EVERY)
        model.fit(rows, epochs=LONG_EPOCHS, callbacks=[backup], verbose=0)
        return torch.cat([torch.as_tensor(weight).flatten() for weight in model.get_weights()])


if __name__ == "__main__":
    main(Peer())
