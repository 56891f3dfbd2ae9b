"""Several processes that train one model, started by ``torchrun``: their ranks, and the collective operations between them."""

from __future__ import annotations

import atexit
import contextlib
import gc
import os
from collections.abc import Callable, Generator
from contextlib import contextmanager
from typing import Any, ClassVar, TypeVar

import torch
import torch.distributed as dist
from torch import Tensor

from torch_rechub.torch_private import default_store

__all__ = ["SINGLE", "Ranks", "join_ranks"]

T = TypeVar("T")
FAILURE = "torch_rechub/failure"  # the key under which a rank stores why it ended


class Ranks:
    """The processes of one job, and the position of this one. With a single process every operation returns its own value.

    A collective operation must be called by all ranks, in the same order.

    Args:
        rank: this process, counted from 0; rank 0 writes files.
        size: number of processes.
    """

    made_group: ClassVar[bool] = False  # whether the process group was made here, and is destroyed after an error

    def __init__(self, rank: int = 0, size: int = 1) -> None:
        self.rank, self.size = rank, size
        self.control = None if size == 1 else _cpu_group()

    @property
    def is_single(self) -> bool:
        """Whether there is one process only."""
        return self.size == 1

    @property
    def is_first(self) -> bool:
        """Whether this is the rank that writes files, logs and progress."""
        return self.rank == 0

    def device_for(self, device: str | torch.device) -> str | torch.device:
        """The device of this rank where ``device`` leaves it open: one GPU per process of a machine."""
        if self.is_single or str(device) not in {"auto", "cuda"} or not torch.cuda.is_available():
            return device if self.is_single or str(device) != "auto" else "cpu"
        name = f"cuda:{os.environ.get('LOCAL_RANK', self.rank % torch.cuda.device_count())}"
        if int(name[5:]) < torch.cuda.device_count():
            torch.cuda.set_device(name)
        return name

    def all_gather_objects(self, value: T) -> list[T]:
        """Every rank's value, by rank."""
        if self.is_single:
            return [value]
        values: list[Any] = [None] * self.size
        dist.all_gather_object(values, value, group=self.control)
        return values

    def from_first(self, compute: Callable[[], T]) -> T:
        """What ``compute`` returns on rank 0, on all ranks; the others do not call it."""
        if self.is_single:
            return compute()
        value = [compute() if self.is_first else None]
        dist.broadcast_object_list(value, src=0, group=self.control)
        return value[0]  # type: ignore[return-value]

    def all_gather_ints(self, values: list[int]) -> list[list[int]]:
        """Every rank's integers, by rank; does not wait for a GPU."""
        return self.all_gather(torch.tensor(values)).tolist()

    def all_gather(self, vector: Tensor) -> Tensor:
        """Every rank's vector ``(n,)``, as ``(ranks, n)``. A sum over its rows has the same bits on all ranks."""
        if self.is_single:
            return vector[None]
        gathered = vector.new_empty(self.size, len(vector))
        dist.all_gather(list(gathered), vector, group=self.control if vector.device.type == "cpu" else None)
        return gathered

    def all_reduce(self, tensor: Tensor) -> None:
        """Replace a tensor by its sum over all ranks."""
        if not self.is_single:
            dist.all_reduce(tensor)

    def broadcast(self, tensor: Tensor) -> None:
        """Replace a tensor by rank 0's."""
        if not self.is_single:
            dist.broadcast(tensor, src=0)

    @contextmanager
    def same_random_numbers(self, device: torch.device) -> Generator[None, None, None]:
        """All ranks draw the same numbers from torch within; afterwards each continues with its own state."""
        if self.is_single:
            yield
            return
        seed = self.from_first(lambda: int(torch.randint(2**62, ())))
        with torch.random.fork_rng([device] if device.type == "cuda" else []):
            torch.manual_seed(seed)
            yield

    @contextmanager
    def end_together(self) -> Generator[None, None, None]:
        """Ends when all ranks have reached the end. A rank that fails ends all others, which raise its reason instead of waiting."""
        if self.is_single:
            yield
            return
        try:
            yield
            self.all_gather_ints([0])
        except BaseException as error:
            reason = self._reason(error)
            if self.made_group:
                _destroy_group()  # the others' collective operations fail at once
            if reason is None:
                raise
            raise RuntimeError(reason) from error

    def _reason(self, error: BaseException) -> str | None:
        """Why another rank made this one fail; None where the failure is this rank's own, which is then stored for the others."""
        with contextlib.suppress(Exception):  # the store is gone if the process that held it is
            store = default_store()
            if not _is_exchange_error(error):
                store.set(FAILURE, f"rank {self.rank} ended the run by {type(error).__name__}: {error}")
            elif store.check([FAILURE]):
                return store.get(FAILURE).decode()
        message = "another rank of this job ended, or did not answer in time; see what the processes wrote before this"
        return message if _is_exchange_error(error) else None


SINGLE = Ranks()


def join_ranks() -> Ranks:
    """The ranks of this process's job: of the existing process group, or of a new one where ``torchrun`` started the process.

    A group with another timeout or backend is created by the caller, by ``torch.distributed.init_process_group``, before the trainer.
    """
    if not dist.is_available():
        return Ranks()
    if not dist.is_initialized():
        if "RANK" not in os.environ or int(os.environ.get("WORLD_SIZE", "1")) == 1:
            return Ranks()
        dist.init_process_group("cpu:gloo,cuda:nccl" if torch.cuda.is_available() and dist.is_nccl_available() else "gloo")
        atexit.register(_destroy_group)
        Ranks.made_group = True
    return Ranks(dist.get_rank(), dist.get_world_size())


def _cpu_group() -> Any:
    """The group for values on the CPU: None, the default group, where it has a CPU backend; otherwise a gloo group."""
    return None if "cpu:" in str(dist.get_backend_config()) else dist.new_group(backend="gloo")


def _destroy_group() -> None:
    """A group that still exists when Python ends aborts the process."""
    if dist.is_initialized():
        gc.collect()  # objects in reference cycles may refer to the group
        dist.destroy_process_group()


def _is_exchange_error(error: BaseException) -> bool:
    """Whether an error comes from a collective operation: gloo's are plain RuntimeErrors."""
    return isinstance(error, dist.DistError) or (isinstance(error, RuntimeError) and "gloo" in str(error))
