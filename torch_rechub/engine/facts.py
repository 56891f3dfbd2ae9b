"""The facts of a run that a report shows besides its history: with them and the data, the run can be repeated."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from itertools import pairwise
from pathlib import Path
from typing import Any

import torch
from torch import nn

from torch_rechub.basic.features import DenseFeature, EmbeddedFeature, SequenceFeature
from torch_rechub.engine.extra_state import n_known, plain_model
from torch_rechub.engine.inputs import features_of
from torch_rechub.kernels import kernels_for
from torch_rechub.report import Ending, environment, report_page
from torch_rechub.storage import expand, make_folder, refuse_obstacle, write_text
from torch_rechub.types import FilePath

__all__ = ["ending_of", "settings_of", "write_report"]


def write_report(trainer: Any, path: FilePath, test: Iterable[Any] | None = None) -> Path:
    """The trainer's latest run as one HTML file, replaced atomically; returns its path."""
    model = plain_model(trainer.model)
    title = f"{type(model).__name__} by {type(trainer).__name__}"
    sections = {
        "Test": {} if test is None else trainer.measure(model, test),
        "Data": _data_facts(trainer.data_facts()),
        "Model": _model_facts(model),
        "Layers": repr(model),
        "Settings": _settings(trainer),
        "Accepted when resuming": {f"{i}": sentence for i, sentence in enumerate(trainer.state.accepted, 1)},
        "Environment": _environment(trainer.device),
    }
    target = expand(path)
    refuse_obstacle(target)
    make_folder(target.parent, "path")
    write_text(target, report_page(trainer.history, title, ending_of(trainer), sections))
    return target


def ending_of(trainer: Any) -> Ending:
    """How the trainer's latest run ended."""
    state = trainer.state
    if state.failure is not None:
        return Ending("failed", state.failure)
    if state.paused:
        return Ending("paused", state.stop_reason or "")
    if state.stop_reason:
        return Ending("stopped", state.stop_reason)
    if state.epoch >= trainer.n_epoch:
        return Ending("finished", "all epochs were run: " + str(trainer.n_epoch))
    return Ending("not run", "no epoch was finished")


def _data_facts(facts: Mapping[str, Mapping[str, Any]]) -> dict[str, Any]:
    """The facts of the training and the validation data in one dict.

    Example:
        >>> _data_facts({"train": {"rows": 90}, "validation": {"rows": 10}})
        {'train rows': 90, 'validation rows': 10}
    """
    return {f"{name} {fact}": value for name, each in facts.items() for fact, value in each.items()}


def _model_facts(model: nn.Module) -> dict[str, Any]:
    """The sizes of a model: its parameters, its features and their embeddings, the widths of its networks, dropout."""
    facts: dict[str, Any] = {"model": type(model).__name__, "parameters": n_known(model.parameters())}
    frozen = n_known(weight for weight in model.parameters() if not weight.requires_grad)
    if frozen:
        facts["frozen parameters"] = frozen
    facts |= _feature_facts(features_of(model))
    for name, module in model.named_modules():
        linear = [layer for layer in module.children() if isinstance(layer, nn.Linear)] if isinstance(module, nn.Sequential) else []
        if linear and all(first.out_features == second.in_features for first, second in pairwise(linear)):
            widths = (linear[0].in_features, *(each.out_features for each in linear))
            facts[f"widths of {name.removesuffix('.mlp') or 'the model'}"] = " > ".join(map(str, widths))
    dropout = sorted({module.p for module in model.modules() if isinstance(module, nn.Dropout)})
    return facts | ({"dropout": ", ".join(f"{p:g}" for p in dropout)} if dropout else {})


def _feature_facts(features: Iterable[Any]) -> dict[str, Any]:
    """Numbers of features by kind, the rows of their tables and the dimensions."""
    distinct = list({(type(feature), feature.name): feature for feature in features}.values())
    if not distinct:
        return {}
    embedded = [feature for feature in distinct if isinstance(feature, EmbeddedFeature)]
    n_sequence = sum(isinstance(feature, SequenceFeature) for feature in embedded)
    n_dense = sum(isinstance(feature, DenseFeature) for feature in distinct)
    kinds = {"dense": n_dense, "sparse": len(embedded) - n_sequence, "sequence": n_sequence}
    facts: dict[str, Any] = {"features": ", ".join(f"{n} {kind}" for kind, n in kinds.items() if n)}
    if embedded:
        facts["ids"] = sum(feature.vocab_size for feature in embedded if feature.shared_with is None)
        facts["embedding dimension"] = ", ".join(str(dim) for dim in sorted({feature.embed_dim for feature in embedded}))
    return facts


def settings_of(trainer: Any) -> dict[str, Any]:
    """What a logger records: the facts of the model and of the data, and the settings of the trainer."""
    return {**_model_facts(plain_model(trainer.model)), **_data_facts(trainer.data_facts()), **_trainer_facts(trainer)}


def _trainer_facts(trainer: Any) -> dict[str, Any]:
    penalties = {name: value for name, value in vars(trainer.regularization).items() if name.endswith(("_l1", "_l2")) and value}
    return {
        "optimizer": type(trainer.optimizer).__name__,
        "learning_rate": trainer.optimizer.param_groups[0]["lr"],
        "optimizer_params": str(trainer.optimizer_params),
        "regularization": str(penalties) if penalties else None,
        "n_epoch": trainer.n_epoch,
        "earlystop_patience": trainer.early_stopper.patience,
        "monitor": trainer.monitor,
        "val_every": trainer.validation_times.val_every,
        "loss_mode": trainer.loss_mode,
        "accumulate": trainer.accumulate,
        "clip_norm": trainer.clip_norm,
        "precision": trainer.precision,
        "compile": trainer.compile_options is not None,
        "device": str(trainer.device),
    }


def _settings(trainer: Any) -> dict[str, Any]:
    """The settings of the trainer, and the callbacks in the order in which they run."""
    callbacks = {f"callback {i}": repr(callback) for i, callback in enumerate(trainer.callbacks, 1)}
    rate = trainer.optimizer_params.get("lr", trainer.optimizer.defaults.get("lr"))  # where the schedule began
    return {**_trainer_facts(trainer), "learning_rate": rate, "model_path": trainer.model_path, **callbacks}


def _environment(device: torch.device) -> dict[str, Any]:
    """Versions, device, threads, seed and kernels of this process."""
    kernels: Any = kernels_for(torch.zeros(1, 1, device=device))
    return environment(device, kernels=kernels.__name__.rpartition(".")[2], **{"torch.manual_seed": torch.initial_seed()})
