"""Activations by name, and Dice, which torch does not provide."""

from __future__ import annotations

import difflib
import logging
from collections.abc import Callable, Mapping
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from torch_rechub.basic.normalization import masked_batch_norm
from torch_rechub.torch_private import local_metadata_of

__all__ = ["Dice", "activation_layer"]

logger = logging.getLogger(__name__)
STATISTICS = ("running_mean", "running_var")


class Dice(nn.Module):
    """Dice: a smooth PReLU whose centre is the mean of the batch and whose width is the standard deviation of the batch.

    ``f(s) = p(s) * s + (1 - p(s)) * alpha * s`` with ``p(s) = sigmoid((s - E[s]) / sqrt(Var[s] + epsilon))``, where mean and variance
    are those of each neuron over the batch in training, and their moving averages in evaluation (Zhou et al., *Deep Interest Network for
    Click-Through Rate Prediction*, KDD 2018, eq. 3). Deviations: ``alpha`` is one number for all neurons, as in the
    existing package, and its initial value is 0, as in the authors' code; ``epsilon`` is 1e-3, not 1e-8. A training batch of one row is
    normalised by the moving averages and does not change them. The existing package normalises each row over its neurons, which is a
    different function.

    State: ``alpha`` ``(1,)`` is the only entry of ``state_dict()``, as in the existing package, so that each package loads the weights of
    the other with ``strict=True``. The averages ``running_mean`` and ``running_var`` ``(n,)`` are buffers. ``state_dict()`` carries a copy
    of them in its metadata, which ``torch.save``, ``torch.load(weights_only=True)`` and ``copy.deepcopy`` keep. Where there is no metadata
    (a ``safetensors`` file), they are entries ``running_mean`` and ``running_var``, which are loaded as well. Weights with neither (of the
    existing package, or a ``state_dict`` copied to a plain dict) load with a warning, and the averages do not change.

    Args:
        epsilon: added to the variance.
        n_neuron: width of the input; None takes it from the first training batch or from the loaded state.

    Shape:
        ``(..., n)`` -> ``(..., n)``; all but the last axis are the batch. With a ``mask`` ``(...)`` the statistics are those of the
        entries where it is True.

    Example:
        >>> Dice()(torch.tensor([[-1.0, 2.0], [1.0, 4.0]])).shape
        torch.Size([2, 2])
    """

    running_mean: Tensor | None
    running_var: Tensor | None
    momentum = 0.1  # the weight of the last batch in the averages, as in BatchNorm1d

    def __init__(self, epsilon: float = 1e-3, n_neuron: int | None = None) -> None:
        super().__init__()
        self.epsilon = epsilon
        self.alpha = nn.Parameter(torch.zeros(1))
        self.register_buffer("running_mean", None if n_neuron is None else torch.zeros(n_neuron), persistent=False)
        self.register_buffer("running_var", None if n_neuron is None else torch.ones(n_neuron), persistent=False)

    def forward(self, x: Tensor, mask: Tensor | None = None) -> Tensor:
        """Apply the activation to ``x``."""
        rows = x if x.dim() == 2 else x.reshape(-1, x.shape[-1])  # (B, n); an ONNX export does not know the width after a reshape
        use_batch = self.training and rows.shape[0] > 1
        if use_batch and self.running_mean is None:
            self._create_averages(rows)
        if mask is not None and (use_batch or self.running_mean is not None):
            averages = self.running_mean, self.running_var
            normalised = masked_batch_norm(rows, mask.reshape(-1), *averages, training=use_batch, momentum=self.momentum, eps=self.epsilon)
        elif use_batch or self.running_mean is not None:
            normalised = F.batch_norm(rows, self.running_mean, self.running_var, None, None, use_batch, self.momentum, self.epsilon)
        else:
            normalised = rows / (1 + self.epsilon) ** 0.5  # no averages yet: mean 0, variance 1
        p = torch.sigmoid(normalised).view_as(x)
        return x * (self.alpha + (1 - self.alpha) * p)

    def _create_averages(self, like: Tensor) -> None:
        width = like.shape[-1]
        self.running_mean = torch.zeros(width, device=like.device)
        self.running_var = torch.ones(width, device=like.device)

    def _save_to_state_dict(self, destination: dict[str, Any], prefix: str, keep_vars: bool) -> None:
        super()._save_to_state_dict(destination, prefix, keep_vars)
        metadata = local_metadata_of(destination, prefix)
        if metadata is not None:
            metadata.update({name: _copy_on_cpu(getattr(self, name)) for name in STATISTICS})

    def _load_from_state_dict(
        self,
        state_dict: Mapping[str, Any],
        prefix: str,
        local_metadata: Any,
        strict: bool,
        missing_keys: list[str],
        unexpected_keys: list[str],
        error_msgs: list[str],
    ) -> None:
        entries = {name: state_dict[prefix + name] for name in STATISTICS if prefix + name in state_dict}
        others = {key: value for key, value in state_dict.items() if key.removeprefix(prefix) not in entries}
        super()._load_from_state_dict(others, prefix, local_metadata, strict, missing_keys, unexpected_keys, error_msgs)
        saved = entries or {name: local_metadata[name] for name in STATISTICS if name in local_metadata}
        if saved:
            missing_keys += [prefix + name for name in STATISTICS if name not in saved]
            error_msgs += self._load_averages(saved, prefix, assign=local_metadata.get("assign_to_params_buffers", False))
        elif f"{prefix}alpha" in state_dict:
            logger.warning(
                "%s: the weights hold no running averages of Dice, so the layer keeps the ones it has. Weights of Torch-RecHub 0.9 have "
                "none: its Dice is another function, so train the model anew. A state_dict copied to a plain dict loses them: use "
                "copy.deepcopy.",
                prefix[:-1] or "Dice",
            )

    @torch.no_grad()
    def _load_averages(self, saved: Mapping[str, Tensor | None], prefix: str, assign: bool) -> list[str]:
        """Load averages; None is those of a layer that had none yet. Returns messages about averages of another shape."""
        errors: list[str] = []
        for name, tensor in saved.items():
            if self.running_mean is None and tensor is not None:
                self._create_averages(torch.empty(tensor.shape, device=self.alpha.device))
            average: Tensor | None = getattr(self, name)
            if average is None:
                continue
            if tensor is None:
                average.fill_(0.0 if name == "running_mean" else 1.0)
            elif average.shape != tensor.shape:
                shapes = f"the saved average is {tuple(tensor.shape)}, the layer's is {tuple(average.shape)}"
                errors.append(f"size mismatch for {prefix}{name}: {shapes}.")
            elif assign:
                setattr(self, name, tensor.clone())
            else:
                average.copy_(tensor)
        return errors


def _copy_on_cpu(tensor: Tensor | None) -> Tensor | None:
    """A copy that is saved, and read on any machine."""
    return tensor if tensor is None or tensor.is_meta else tensor.detach().to("cpu", copy=True)


_BY_NAME: dict[str, Callable[[], nn.Module]] = {
    "sigmoid": nn.Sigmoid,
    "relu": nn.ReLU,
    "dice": Dice,
    "prelu": nn.PReLU,
    "softmax": lambda: nn.Softmax(dim=1),
    "leakyrelu": nn.LeakyReLU,
}


def activation_layer(act_name: str | type[nn.Module], n_neuron: int | None = None) -> nn.Module:
    """A new activation layer.

    Args:
        act_name: sigmoid, relu, dice, prelu, softmax or leakyrelu (upper or lower case), or a module class that needs no arguments.
        n_neuron: width of the layer's input, if it is known; only Dice uses it.

    Raises:
        ValueError: the name is unknown.
        TypeError: ``act_name`` is neither a name nor a module class.

    Example:
        >>> activation_layer("LeakyReLU")
        LeakyReLU(negative_slope=0.01)
        >>> activation_layer(nn.Tanh)
        Tanh()
    """
    layer_class: Any = act_name
    if isinstance(act_name, str):
        layer_class = _BY_NAME.get(act_name.lower())
        if layer_class is None:
            close = difflib.get_close_matches(act_name.lower(), _BY_NAME, n=1, cutoff=0.5)
            hint = f" Did you mean {close[0]!r}?" if close else ""
            raise ValueError(f"activation must be one of {list(_BY_NAME)} or an nn.Module class; got {act_name!r}.{hint}")
    elif not (isinstance(act_name, type) and issubclass(act_name, nn.Module)):  # pyright: ignore[reportUnnecessaryIsInstance]
        raise TypeError(f"activation must be a name or an nn.Module class, because each layer needs its own instance; got {act_name!r}.")
    return layer_class(n_neuron=n_neuron) if isinstance(layer_class, type) and issubclass(layer_class, Dice) else layer_class()
