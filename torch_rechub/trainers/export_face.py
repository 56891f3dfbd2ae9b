"""The members of a trainer that write its model for other programs."""

from __future__ import annotations

import copy
import io
import logging
import warnings
from collections.abc import Mapping, Sequence
from typing import Any, cast

import torch
from torch import Tensor, nn

from torch_rechub.arguments import named_arguments
from torch_rechub.basic.features import DenseFeature, EmbeddedFeature, SequenceFeature
from torch_rechub.engine.extra_state import plain_model
from torch_rechub.engine.objective import Objective
from torch_rechub.optional_libraries import import_library
from torch_rechub.storage import write_file
from torch_rechub.storage.disk import make_folder
from torch_rechub.storage.places import expand
from torch_rechub.types import FilePath

__all__ = ["ExportFace"]

logger = logging.getLogger(__name__)
OUTPUT = "output"
#: What export_onnx gives to torch.onnx.export itself.
GIVEN = {"args", "f", "input_names", "output_names", "opset_version", "verbose", "dynamic_axes"}
LARGEST = 2**31 - 2**20  #: bytes of weights that one ONNX file can hold


class ExportFace:
    """Export of the trained model."""

    _objective: Objective

    @named_arguments
    def export_onnx(
        self,
        output_path: FilePath,
        dummy_input: Mapping[str, Tensor] | None = None,
        batch_size: int = 2,
        seq_length: int = 10,
        opset_version: int = 14,
        dynamic_batch: bool = True,
        device: str | torch.device | None = None,
        verbose: bool = False,
        onnx_export_kwargs: Mapping[str, Any] | None = None,
    ) -> bool:
        """Write the model as an ONNX file by ``torch.onnx.export``. A copy of it in evaluation mode is exported; the model is not changed.

        The inputs bear the names of the features: ids ``(B,)``, sequences ``(B, L)``, dense columns ``(B, embed_dim)``. The output is
        called "output". ``torch.onnx.export`` traces the model (``dynamo=False``). The exporter that the existing package tries first needs
        the library ``onnxscript``: ``onnx_export_kwargs={"dynamo": True}``.

        Args:
            output_path: the file, which is replaced atomically; its folder is created.
            dummy_input: the columns of a batch, by name, where a model has other inputs than its features tell.
            batch_size: rows of the batch that is made where ``dummy_input`` is not given.
            seq_length: length of the sequences in it.
            opset_version: of ONNX.
            dynamic_batch: whether the file takes batches of any size, and sequences of any length.
            device: where the copy of the model is traced; None is the CPU.
            verbose: whether torch logs what it writes.
            onnx_export_kwargs: further arguments of ``torch.onnx.export``.

        Returns:
            True, as in the existing package.

        Raises:
            ValueError: when the inputs cannot be known, or an argument is given twice.
            ImportError: naming the library that is missing.
        """
        options = dict(onnx_export_kwargs or {})
        _check_options(options)
        model = copy.deepcopy(plain_model(self._objective.model)).to(device or "cpu").eval()
        _refuse_large(model)
        columns, sequences = _columns(model, dummy_input, batch_size, seq_length, device or "cpu")
        if dynamic_batch:
            options = _any_size(list(columns), sequences, bool(options.get("dynamo"))) | options
        options = {"dynamo": False, "opset_version": opset_version, "verbose": verbose, **options}
        content = _exported(_ByPlace(model, [*columns]).eval(), columns, options)
        target = expand(output_path)
        make_folder(target.parent)
        write_file(target, lambda file: file.write(content))
        logger.info("%s: an ONNX model with the inputs %s", target, ", ".join(columns))
        return True


def _check_options(options: Mapping[str, Any]) -> None:
    twice = sorted(options.keys() & GIVEN)
    if twice:
        raise ValueError(f"onnx_export_kwargs must not hold {', '.join(map(repr, twice))}: export_onnx gives these itself.")
    import_library("onnx", "export_onnx")
    if options.get("dynamo"):
        import_library("onnxscript", 'onnx_export_kwargs={"dynamo": True}', instead="Without dynamo it is not needed.")


def _any_size(names: Sequence[str], sequences: Sequence[str], dynamo: bool) -> dict[str, Any]:
    """The argument of ``torch.onnx.export`` for batches of any size, and sequences of any length."""
    if not dynamo:
        axes = {name: {0: "batch_size"} for name in [*names, OUTPUT]}
        return {"dynamic_axes": axes | {name: {0: "batch_size", 1: "seq_length"} for name in sequences}}
    batch_size = torch.export.Dim("batch_size")
    lengths = {name: {1: torch.export.Dim(f"{name}_seq_length")} for name in sequences}
    return {"dynamic_shapes": (tuple({0: batch_size} | lengths.get(name, {}) for name in names),)}  # one tuple: forward takes *columns


def _exported(model: nn.Module, columns: Mapping[str, Tensor], options: Mapping[str, Any]) -> bytes:
    """The content of the file."""
    content, export = io.BytesIO(), cast(Any, torch.onnx.export)
    with torch.no_grad(), warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # of the tracer: torch prefers the exporter that needs onnxscript
        export(model, tuple(columns.values()), content, input_names=[*columns], output_names=[OUTPUT], **options)
    return content.getvalue()


class _ByPlace(nn.Module):
    """A model with one tensor for each column, since ONNX has no dict, and without an extra loss."""

    def __init__(self, model: nn.Module, names: Sequence[str]) -> None:
        super().__init__()
        self.model = model
        self.names = list(names)

    def forward(self, *columns: Tensor) -> Any:
        prediction = self.model(dict(zip(self.names, columns, strict=True)))
        return prediction[0] if isinstance(prediction, tuple) else prediction


def _columns(
    model: nn.Module, given: Mapping[str, Tensor] | None, n_row: int, length: int, device: Any
) -> tuple[dict[str, Tensor], list[str]]:
    """A batch of the model's columns, and the names of those with sequences."""
    features = _features(model)
    if not features and given is None:
        raise ValueError(
            f"export_onnx: {type(model).__name__} has no attribute with its features, so its inputs are not known. Give dummy_input, a "
            "dict of the columns of a batch."
        )
    missing = [name for name in features if given is not None and name not in given]
    if missing:
        raise ValueError(f"export_onnx: dummy_input must have the columns of all features; {', '.join(map(repr, missing))} is missing.")
    made = {name: _column(feature, n_row, length) for name, feature in features.items()} if given is None else {**given}
    columns = {name: column.to(device) for name, column in made.items() if name in features or not features}
    return columns, [name for name, feature in features.items() if isinstance(feature, SequenceFeature)]


def _features(model: nn.Module) -> dict[str, DenseFeature | EmbeddedFeature]:
    """The features among the attributes of a model, by name: the first of each name."""
    features: dict[str, DenseFeature | EmbeddedFeature] = {}
    for value in vars(model).values():
        for item in value if isinstance(value, list | tuple) else [value]:
            if isinstance(item, DenseFeature | EmbeddedFeature):
                features.setdefault(item.name, item)
    return features


def _column(feature: DenseFeature | EmbeddedFeature, n_row: int, length: int) -> Tensor:
    """A column of valid values, which draws no random number."""
    if isinstance(feature, DenseFeature):
        return torch.linspace(0, 1, n_row * feature.embed_dim).view(n_row, feature.embed_dim)
    shape = (n_row, length) if isinstance(feature, SequenceFeature) else (n_row,)
    return (torch.arange(1, 1 + torch.Size(shape).numel()) % feature.vocab_size).view(shape)


def _refuse_large(model: nn.Module) -> None:
    n_byte = sum(tensor.numel() * tensor.element_size() for tensor in model.state_dict().values())
    if n_byte > LARGEST:
        raise ValueError(
            f"export_onnx: an ONNX file holds at most 2 GiB, and the weights have {n_byte / 2**30:.1f} GiB. Call torch.onnx.export with "
            "external_data=True, or export a model with smaller tables."
        )
