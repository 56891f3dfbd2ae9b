"""The embedding of one feature as an ``nn.Embedding``: a part of a fused table, or with a weight of its own."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from torch_rechub.basic.features import EmbeddedFeature
from torch_rechub.basic.layers.plain import must_be_plain
from torch_rechub.basic.layers.rows_view import Freezing, RowsView
from torch_rechub.basic.layers.table import EmbeddingTable
from torch_rechub.torch_private import is_onnx_export, plain_results

__all__ = ["EmbedDict", "FeatureEmbedding", "is_part_of_table"]


class FeatureEmbedding(nn.Embedding):
    """The embedding of one feature. Its rows lie in a fused table (:attr:`is_part`) until they must be treated in another way.

    Freezing it (``requires_grad_(False)``, also of its weight) or assigning a weight takes the rows out of the table: they become a
    parameter of this module, and the table's rows, which nobody reads any more, are set to zero. Unfreezing puts them back.

    Args:
        table: the table with the rows.
        feature: whose rows they are.
        changes: one number, which grows whenever plans of lookups must be made anew.

    Shape:
        ids ``(*)`` -> ``(*, D)``.
    """

    def __init__(self, table: EmbeddingTable, feature: EmbeddedFeature, changes: list[int]) -> None:
        nn.Module.__init__(self)
        self.num_embeddings, self.embedding_dim, self.padding_idx = feature.vocab_size, table.weight.shape[1], feature.padding_idx
        self.max_norm, self.norm_type, self.scale_grad_by_freq, self.sparse = None, 2.0, False, False
        self.feature_name = feature.name
        vars(self).update(_table=table, _changes=changes)  # the table is a submodule of the layer, not of this module

    @property
    def is_part(self) -> bool:
        """Whether the rows lie in the fused table."""
        return "weight" not in self._parameters

    def forward(self, input: Tensor) -> Tensor:
        """Embeddings of ids.

        Raises:
            ValueError: an id is outside the vocabulary.
        """
        if not must_be_plain() and not torch.compiler.is_compiling() and not input.is_cuda and input.numel():
            low, high = (int(bound) for bound in input.aminmax())
            if low < 0 or high >= self.num_embeddings:
                must = f"ids must be >= 0 and < {self.num_embeddings}"
                raise ValueError(f"Embedding '{self.feature_name}': {must}; got {low} to {high}. Increase vocab_size.")
        if self.is_part:
            return self._table(input.long() + self._rows.start)
        return F.embedding(input.long(), self.weight, self.padding_idx)

    def requires_grad_(self, requires_grad: bool = True) -> FeatureEmbedding:
        """Freeze or unfreeze this feature alone."""
        if self.is_part and requires_grad != self._table.weight.requires_grad:
            self._take_out(nn.Parameter(self._read().detach().clone(), requires_grad))
        elif not self.is_part and requires_grad == self._table.weight.requires_grad:
            self._put_back()
        elif not self.is_part:
            self._parameters["weight"].requires_grad_(requires_grad)  # type: ignore[union-attr]
        return self

    def named_parameters(self, prefix: str = "", recurse: bool = True, remove_duplicate: bool = True) -> Iterator[tuple[str, Any]]:
        """The weight; the model's own parameters hold the table's instead, while the rows lie there."""
        if self.is_part:
            yield f"{prefix}.weight" if prefix else "weight", self.weight
        else:
            yield from super().named_parameters(prefix, recurse, remove_duplicate)

    def leave(self) -> None:
        """Another module takes the place of this one: the table's rows, which nobody reads any more, become zero."""
        if self.is_part:
            self._table.settle()
            with torch.no_grad():
                self._table.weight[self._rows] = 0.0
        self._changes[0] += 1

    def register_forward_hook(self, *args: Any, **kwargs: Any) -> Any:
        """As in torch; the module is called from now on, instead of the fused lookup."""
        self._changes[0] += 1
        return super().register_forward_hook(*args, **kwargs)

    def register_forward_pre_hook(self, *args: Any, **kwargs: Any) -> Any:
        """As in torch; the module is called from now on, instead of the fused lookup."""
        self._changes[0] += 1
        return super().register_forward_pre_hook(*args, **kwargs)

    def register_full_backward_hook(self, *args: Any, **kwargs: Any) -> Any:
        """As in torch; the module is called from now on, instead of the fused lookup."""
        self._changes[0] += 1
        return super().register_full_backward_hook(*args, **kwargs)

    @property
    def _rows(self) -> slice:
        return self._table.slices[self.feature_name]

    def _read(self) -> Tensor:
        return self._table.rows_of(self.feature_name)

    def _take_out(self, weight: nn.Parameter) -> None:
        self.leave()
        self._parameters["weight"] = weight

    def _put_back(self) -> None:
        self._table.settle()
        with torch.no_grad():
            self._table.weight[self._rows] = self._parameters.pop("weight")
        self._changes[0] += 1

    def __getattr__(self, name: str) -> Any:
        if name == "weight" and "weight" not in vars(self).get("_parameters", {"weight": None}):
            rows = self._read()
            view = rows if isinstance(rows, RowsView) else rows.as_subclass(FeatureWeight)
            view.embedding = self  # type: ignore[attr-defined]
            return view
        return super().__getattr__(name)

    def __setattr__(self, name: str, value: Any) -> None:
        if name != "weight":
            super().__setattr__(name, value)
        elif not isinstance(value, nn.Parameter) or value.shape != (self.num_embeddings, self.embedding_dim):
            shape = tuple(value.shape) if isinstance(value, Tensor) else "none"
            raise TypeError(
                f"The weight of '{self.feature_name}' must be an nn.Parameter ({self.num_embeddings}, {self.embedding_dim}); "
                f"got {type(value).__name__} of shape {shape}. To change values in place: weight.copy_(...) under torch.no_grad(). "
                "torch.func.functional_call takes the names of named_parameters() and named_buffers(), not those of state_dict()."
            )
        else:
            self._take_out(value)

    def _save_to_state_dict(self, destination: Any, prefix: str, keep_vars: bool) -> None:
        if not self.is_part:
            super()._save_to_state_dict(destination, prefix, keep_vars)
        elif not is_onnx_export():  # which takes the table
            rows = self._read()
            destination[f"{prefix}weight"] = rows if keep_vars else rows.detach()

    def _load_from_state_dict(  # torch's signature
        self,
        state_dict: Mapping[str, Any],
        prefix: str,
        local_metadata: Mapping[str, Any],
        strict: bool,
        missing_keys: list[str],
        unexpected_keys: list[str],
        error_msgs: list[str],
    ) -> None:
        key = f"{prefix}weight"
        self._table.settle()
        if key not in state_dict:
            missing_keys.append(key)
        elif (saved := state_dict[key]).shape != (self.num_embeddings, self.embedding_dim):
            here = (self.num_embeddings, self.embedding_dim)
            error_msgs.append(f"size mismatch for {key}: the saved weights are {tuple(saved.shape)}, the table is {here}.")
        else:
            with torch.no_grad():
                (self._read() if self.is_part else self.weight).copy_(saved)
        unexpected_keys += [other for other in state_dict if other.startswith(prefix) and other != key]


class FeatureWeight(Freezing):
    """A view of rows of a table, which behaves as a plain tensor."""

    __torch_function__ = plain_results


class EmbedDict(nn.ModuleDict):
    """Feature name -> its embedding. Assigning a module replaces the embedding of a feature.

    Args:
        embeddings: of all features that have a table.
        tables: the fused tables.
        changes: one number, which grows whenever plans of lookups must be made anew.
    """

    _changes: list[int]
    _tables: nn.ModuleDict

    def __init__(self, embeddings: Mapping[str, nn.Module], tables: nn.ModuleDict, changes: list[int]) -> None:
        super().__init__()
        vars(self).update(_tables=tables, _changes=changes)
        for name, embedding in embeddings.items():
            self.add_module(name, embedding)

    def __setitem__(self, key: str, module: nn.Module) -> None:
        if key not in self:
            raise KeyError(f"embed_dict['{key}']: there is no such feature; the features with a table are {list(self)}.")
        before: Any = self[key]
        size = (getattr(module, "num_embeddings", before.num_embeddings), getattr(module, "embedding_dim", before.embedding_dim))
        if size[0] < before.num_embeddings or size[1] != before.embedding_dim:
            raise ValueError(
                f"embed_dict['{key}'] must have {before.num_embeddings} rows of {before.embedding_dim}; got {size[0]} rows of {size[1]}. "
                "Change vocab_size and embed_dim of the feature, or the module."
            )
        if isinstance(before, FeatureEmbedding):
            before.leave()
        self._changes[0] += 1
        super().__setitem__(key, module)

    def named_parameters(self, prefix: str = "", recurse: bool = True, remove_duplicate: bool = True) -> Iterator[tuple[str, Any]]:
        """The fused tables and the weights outside of them."""
        yield from self._tables.named_parameters(prefix, recurse, remove_duplicate)
        yield from super().named_parameters(prefix, recurse, remove_duplicate)


def is_part_of_table(module: nn.Module) -> bool:
    """Whether a module is the embedding of a feature whose rows lie in a fused table: the table has the parameter."""
    return isinstance(module, FeatureEmbedding) and module.is_part
