"""The public trainers: one training loop, and for each task its objective and metrics."""

from torch_rechub.basic.callback.history import History
from torch_rechub.basic.callback.state import TrainerState
from torch_rechub.engine.evaluation import evaluate, train_one_epoch
from torch_rechub.engine.find_learning_rate import LearningRateFinding, find_learning_rate
from torch_rechub.trainers.ctr_trainer import CTRTrainer
from torch_rechub.trainers.trainer import Trainer

__all__ = [
    "CTRTrainer",
    "History",
    "LearningRateFinding",
    "Trainer",
    "TrainerState",
    "evaluate",
    "find_learning_rate",
    "train_one_epoch",
]
