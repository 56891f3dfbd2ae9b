"""Every name of torch that the package uses although torch does not document it, in one file.

Checked with torch 2.13. When torch renames one of them, only this file changes. Each docstring states which public function is missing.
Methods of ``nn.Module`` that torch's own layers override (``_apply``, ``_save_to_state_dict``, ``_load_from_state_dict``) are overridden
where they belong and are not listed here.
"""

from __future__ import annotations

import sys
from collections import OrderedDict
from collections.abc import Callable, Generator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager
from typing import Any, TypeVar, cast

import torch
from torch import Tensor, nn

__all__ = [
    "assert_async",
    "coalesced_in_place",
    "default_store",
    "disable_compile",
    "embedding_backward",
    "empty_buffers",
    "foreach_lerp_",
    "foreach_mul_",
    "foreach_norm",
    "has_hooks",
    "forget_loader",
    "has_live_workers",
    "hide_live_workers",
    "is_onnx_export",
    "is_transformed",
    "kept_for_several_backward_passes",
    "linear_one_dnn",
    "local_metadata_of",
    "metadata_of",
    "sparse_indices",
    "sparse_values",
    "with_metadata",
    "with_metadata_of",
    "with_metadata_tensors",
    "with_parameters",
    "mark_as_stepped",
    "plain_results",
    "shutdown_of",
    "untraced",
    "without_torch_function",
    "without_transforms",
]

Function = TypeVar("Function", bound=Callable[..., Any])


def assert_async(condition: Tensor, message: str) -> None:
    """Raise on the device when ``condition`` is false, without waiting for the device: ``torch._assert_async``.

    No public function checks a tensor on a GPU without a copy to the CPU.
    """
    torch._assert_async(condition, message)


def kept_for_several_backward_passes() -> AbstractContextManager[Any]:
    """Within it, a compiled graph keeps its buffers after a backward pass: ``torch._functorch.config.donated_buffer`` is False.

    By default a compiled graph refuses ``retain_graph=True``; no public setting changes that.
    """
    from torch._functorch import config  # imports the compiler

    return cast(AbstractContextManager[Any], config.patch(donated_buffer=False))


def is_transformed() -> bool:
    """Whether a transform of ``torch.func`` (grad, vmap, jvp, ...) runs: ``torch._C._are_functorch_transforms_active``.

    No public function tells it. An ``autograd.Function`` that calls no operator of torch has to be avoided then.
    """
    return torch._C._are_functorch_transforms_active()


def without_transforms(tensor: Tensor) -> Tensor:
    """The values of a tensor within transforms of ``torch.func``, as a plain tensor: ``torch._C._functorch.get_unwrapped``.

    Under ``vmap`` it has one dimension more. No public function gives the values of a batched tensor, which forbids ``item()``.
    """
    if torch.compiler.is_compiling() or not is_transformed():
        return tensor
    functorch: Any = vars(torch._C)["_functorch"]
    while functorch.is_functorch_wrapped_tensor(tensor):
        tensor = functorch.get_unwrapped(tensor)
    return tensor


@contextmanager
def untraced() -> Generator[None, None, None]:
    """Within it, ``torch.jit.trace`` records nothing: ``torch._C._set_tracing_state``. For constants that are made while it traces."""
    tracer: Any = torch._C
    state = tracer._get_tracing_state()
    tracer._set_tracing_state(None)
    try:
        yield
    finally:
        tracer._set_tracing_state(state)


def is_onnx_export() -> bool:
    """Whether ``torch.onnx.export`` runs: ``torch.onnx.is_in_onnx_export``, without importing ``torch.onnx``, which takes a second."""
    onnx = sys.modules.get("torch.onnx")
    return onnx is not None and onnx.is_in_onnx_export()


def disable_compile(function: Function) -> Function:
    """A decorator: ``torch.compile`` does not compile ``function``. It is ``torch._disable_dynamo``.

    The public ``torch.compiler.disable`` imports the whole compiler when it decorates, which takes seconds at ``import torch_rechub``.
    """
    return cast(Function, torch._disable_dynamo(function))


def default_store() -> Any:
    """The key-value store of the default process group: ``torch.distributed.distributed_c10d._get_default_store``.

    Public functions make a store, but none returns the one that ``init_process_group`` made.
    """
    from torch.distributed import distributed_c10d  # absent where torch was built without torch.distributed

    return distributed_c10d._get_default_store()


def without_torch_function() -> AbstractContextManager[Any]:
    """Within it, operations on tensor subclasses skip ``__torch_function__``: ``torch._C.DisableTorchFunctionSubclass``.

    torch's page on subclasses names it for ``__torch_function__`` itself; there is no public alias.
    """
    return torch._C.DisableTorchFunctionSubclass()


#: ``__torch_function__`` of a tensor subclass whose operations give plain tensors, for which torch documents this private name.
plain_results: Any = torch._C._disabled_torch_function_impl


def foreach_norm(tensors: Sequence[Tensor], order: float) -> Sequence[Tensor]:
    """The norm of each tensor in one call: ``torch._foreach_norm``. The documented ``torch._foreach_*`` names are private as well."""
    return torch._foreach_norm(list(tensors), order)


def foreach_mul_(tensors: Sequence[Tensor], factor: Tensor | float) -> None:
    """Multiply all tensors in place by one factor in one call: ``torch._foreach_mul_``; there is no public form."""
    torch._foreach_mul_(list(tensors), cast(Any, factor))


def foreach_lerp_(tensors: Sequence[Tensor], ends: Sequence[Tensor], weight: float) -> None:
    """Move each tensor in place towards its end by ``weight`` in one call: ``torch._foreach_lerp_``; there is no public form."""
    torch._foreach_lerp_(list(tensors), list(ends), weight)


def linear_one_dnn(x: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
    """``x @ weight.T + bias`` by oneDNN: the operator that torch's compiler emits for a linear layer on the CPU.

    The public ``nn.functional.linear`` takes MKL for float32 and has no argument that selects the library.

    Raises:
        AttributeError, RuntimeError, TypeError: this torch lacks the operator or has another signature of it.
    """
    return torch.ops.mkldnn._linear_pointwise(x, weight, bias, "none", [], "")


def embedding_backward(grad: Tensor, rows: Tensor, n_row: int) -> Tensor:
    """The dense gradient ``(n_row, D)`` of an embedding, deterministic on a GPU: ``aten::embedding_dense_backward``.

    ``nn.functional.embedding`` calls it in its backward pass; no public function gives it alone.
    """
    return torch.ops.aten.embedding_dense_backward(grad, rows, n_row, -1, False)


def sparse_indices(tensor: Tensor) -> Tensor:
    """The indices of a sparse tensor, coalesced or not. The public ``Tensor.indices`` refuses an uncoalesced one."""
    return tensor._indices()


def sparse_values(tensor: Tensor) -> Tensor:
    """The values of a sparse tensor, sharing its memory. The public ``Tensor.values`` refuses an uncoalesced one and autograd views."""
    return tensor._values()


def coalesced_in_place(tensor: Tensor) -> None:
    """Mark a sparse tensor, whose indices are distinct and sorted, as coalesced: ``Tensor._coalesced_``.

    The public ``torch.sparse_coo_tensor(..., is_coalesced=True)`` makes a new tensor; a hook on ``.grad`` must change the one there.
    """
    cast(Any, tensor)._coalesced_(True)


def empty_buffers(module: nn.Module) -> list[str]:
    """The buffers of a module that are None, until a first batch for instance; ``named_buffers`` leaves them out.

    ``nn.Module`` keeps its buffers in a private dict, and torch has no public way to ask for the empty ones.
    """
    return [name for name, buffer in module._buffers.items() if buffer is None]


def with_parameters(state: Mapping[str, Any], module: nn.Module, **parameters: nn.Parameter) -> dict[str, Any]:
    """A copy of a module's ``__dict__`` with other parameters, for ``__getstate__``; torch has no public way to exchange them there."""
    return {**state, "_parameters": {**module._parameters, **parameters}}


def local_metadata_of(state_dict: Any, prefix: str) -> dict[str, Any] | None:
    """The metadata that ``nn.Module.state_dict`` keeps of the module at ``prefix``, to add to; None in a plain dict.

    torch keeps a version of each module in ``state_dict._metadata`` and hands it to ``_load_from_state_dict`` as ``local_metadata``. It
    survives ``torch.save`` and ``torch.load(weights_only=True)``. torch documents how to read it, not how to write it.
    """
    metadata = getattr(state_dict, "_metadata", None)
    return None if metadata is None else metadata.setdefault(prefix[:-1], {})


def with_metadata_of(source: Mapping[str, Any], weights: dict[str, Any]) -> dict[str, Any]:
    """``weights`` with the metadata of the ``state_dict`` ``source``; ``weights`` itself where the source has none."""
    return with_metadata(weights, getattr(source, "_metadata", None))


def with_metadata(weights: dict[str, Any], metadata: Mapping[str, Any] | None) -> dict[str, Any]:
    """``weights`` as a ``state_dict`` with these metadata, by the prefix of each module; ``weights`` itself where they are None."""
    if metadata is None:
        return weights
    described: Any = OrderedDict(weights)
    described._metadata = metadata
    return described


def metadata_of(state_dict: Mapping[str, Any]) -> dict[str, dict[str, Any]] | None:
    """The metadata of all modules in a ``state_dict``, by the prefix of each module; None in a plain dict."""
    return getattr(state_dict, "_metadata", None)


def with_metadata_tensors(weights: Mapping[Any, Any]) -> Mapping[Any, Any]:
    """A ``state_dict`` whose metadata hold tensors, with these tensors as further entries, for files that store no metadata.

    A tensor ``name`` in the metadata of the module at ``prefix`` becomes the entry ``prefix.name``. Anything else is returned as it is.
    """
    metadata: Mapping[str, Mapping[str, Any]] = getattr(weights, "_metadata", None) or {}
    named = {(prefix, name): value for prefix, local in metadata.items() for name, value in local.items() if isinstance(value, Tensor)}
    return {**weights, **{f"{prefix}.{name}" if prefix else name: value for (prefix, name), value in named.items()}} if named else weights


def shutdown_of(batches: Any) -> Callable[[], None] | None:
    """What ends the worker processes of a ``DataLoader``'s iterator: its ``_shutdown_workers``; None where it has none.

    torch ends them when the iterator is deleted, which an exception's traceback delays; there is no public method.
    """
    return getattr(batches, "_shutdown_workers", None)


def forget_loader(batches: Any) -> None:
    """Replace the flag ``in_order`` of a ``DataLoader``'s iterator, which is a bound method of a loader that has a method of that name.

    A loader with persistent workers keeps its iterator. If the iterator refers to the loader, both are deleted by the garbage collector
    only, which closes the queues before the iterator; the workers then do not learn that they have to end, and torch waits 5 s for each.
    """
    vars(batches)["_in_order"] = True


def has_live_workers(loader: Any) -> bool:
    """Whether a ``DataLoader`` with ``persistent_workers`` has started them: it keeps its iterator in ``_iterator``, privately."""
    return getattr(loader, "_iterator", None) is not None


def hide_live_workers(loader: Any) -> None:
    """Make the next iteration of a ``DataLoader`` with ``persistent_workers`` start workers of its own, by its private ``_iterator``.

    The caller sets the attribute back. The workers that live keep their random states so.
    """
    if has_live_workers(loader):
        vars(loader)["_iterator"] = None


def mark_as_stepped(optimizer: torch.optim.Optimizer, stepped: bool) -> None:
    """Tell a scheduler whether its optimizer has been stepped, by the flag ``_opt_called``; it warns where it has not.

    The flag is not part of the optimizer's ``state_dict``, and no public function sets it.
    """
    vars(optimizer)["_opt_called"] = stepped


def has_hooks(module: nn.Module) -> bool:
    """Whether calling a module runs forward or backward hooks, its own or global ones.

    ``nn.Module`` keeps its hooks in private dicts, and torch has no public way to ask for them.
    """
    own = (module._forward_hooks, module._forward_pre_hooks, module._backward_hooks, module._backward_pre_hooks)
    state = nn.modules.module
    of_all = (state._global_forward_hooks, state._global_forward_pre_hooks, state._global_backward_hooks, state._global_backward_pre_hooks)
    return any(own) or any(of_all)
