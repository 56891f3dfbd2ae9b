"""ignite: EarlyStopping and ModelCheckpoint (atomic by default) on the evaluator; DeterministicEngine with Checkpoint to resume."""

import sys
from pathlib import Path

import torch

sys.path.insert(0, str(Path(__file__).parents[1]))
from asking import LONG_EPOCHS, SAVE_EVERY, Counter, Network, epoch_of, load, long_rows, main
from ignite.engine import DeterministicEngine, Engine, Events
from ignite.handlers import Checkpoint, DiskSaver, EarlyStopping, ModelCheckpoint
from torch.utils.data import DataLoader, TensorDataset


class Peer:
    def run(self, folder, scores, patience, monitor, min_delta):
        model, given = Counter(), iter(scores)
        optimizer = torch.optim.SGD(model.parameters(), lr=1.0)

        def step(engine, batch):
            model.train()
            optimizer.zero_grad()
            (-model(batch).mean()).backward()
            optimizer.step()

        def score(engine):
            return engine.state.metrics[monitor]

        trainer, evaluator = Engine(step), Engine(lambda engine, batch: None)

        @trainer.on(Events.EPOCH_COMPLETED)
        def check():
            evaluator.run([0])

        @evaluator.on(Events.EPOCH_COMPLETED)
        def measure():
            evaluator.state.metrics["score"] = next(given)

        threshold = {} if min_delta is None else {"threshold": min_delta, "threshold_mode": "rel"}
        stopper = EarlyStopping(patience, score, trainer, **threshold)
        keeper = ModelCheckpoint(str(folder), "best", score_function=score, n_saved=self.keep)
        evaluator.add_event_handler(Events.COMPLETED, stopper)
        evaluator.add_event_handler(Events.COMPLETED, keeper, {"model": model})
        self.facts["option"] = "threshold, threshold_mode='rel'"
        try:
            trainer.run([torch.zeros(2, 1)], max_epochs=len(scores))
        finally:
            self.facts.update(held=epoch_of(model.state_dict()), file=load(lambda: epoch_of(torch.load(keeper.last_checkpoint))))
            self.facts["best"] = load(lambda: float(stopper.best_score))

    def saved(self, folder):
        found = {
            file.name: load(lambda file=file: epoch_of(torch.load(file, weights_only=True))) for file in sorted(folder.glob("best_*.pt"))
        }
        values = list(found.values())
        return {"newest": values[-1] if values else "no file", "others": values[:-1]}

    def long(self, folder, again):
        torch.manual_seed(0)
        model = Network()
        optimizer = torch.optim.Adam(model.parameters(), lr=0.01)

        def step(engine, batch):
            model.train()
            optimizer.zero_grad()
            torch.nn.functional.mse_loss(model(batch[0]), batch[1]).backward()
            optimizer.step()

        trainer = DeterministicEngine(step)
        objects = {"model": model, "optimizer": optimizer, "trainer": trainer}
        saver = Checkpoint(objects, DiskSaver(str(folder), require_empty=False), n_saved=1)
        trainer.add_event_handler(Events.ITERATION_COMPLETED(every=SAVE_EVERY), saver)
        if again:
            Checkpoint.load_objects(objects, torch.load(next(folder.glob("*.pt")), weights_only=False))
        trainer.run(DataLoader(TensorDataset(*long_rows()), batch_size=8, shuffle=True), max_epochs=LONG_EPOCHS)
        return torch.nn.utils.parameters_to_vector(model.parameters()).detach()


if __name__ == "__main__":
    main(Peer())
