"""Several processes that train one model, started by ``torchrun``: who they are, and all that they say to each other."""

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

__all__ = ["ALONE", "Ranks", "join"]

T = TypeVar("T")
FAILURE = "torch_rechub/failure"  # where a rank leaves word of why it ends


class Ranks:
    """The processes of one job, and this one's place among them. One that is alone says nothing to anybody.

    Whatever exchanges something must be called by all ranks, in the same order.

    Args:
        rank: this process, counted from 0; rank 0 is the one that writes.
        size: the number of processes.
    """

    ours: ClassVar[bool] = False  # whether the process group was made here, and goes with an error

    def __init__(self, rank: int = 0, size: int = 1) -> None:
        self.rank, self.size = rank, size
        self.control = None if size == 1 else _cpu_group()

    @property
    def alone(self) -> bool:
        """Whether there is nobody else."""
        return self.size == 1

    @property
    def first(self) -> bool:
        """Whether this is the rank that writes files, logs and progress."""
        return self.rank == 0

    def place(self, device: str | torch.device) -> str | torch.device:
        """The device of this rank where ``device`` leaves it open: one GPU for each process of a machine."""
        if self.alone or str(device) not in {"auto", "cuda"} or not torch.cuda.is_available():
            return device if self.alone or str(device) != "auto" else "cpu"
        own = f"cuda:{os.environ.get('LOCAL_RANK', self.rank % torch.cuda.device_count())}"
        if int(own[5:]) < torch.cuda.device_count():
            torch.cuda.set_device(own)
        return own

    def gather(self, value: T) -> list[T]:
        """Every rank's value, by rank."""
        if self.alone:
            return [value]
        values: list[Any] = [None] * self.size
        dist.all_gather_object(values, value, group=self.control)
        return values

    def of_first(self, make: Callable[[], T]) -> T:
        """What ``make`` gives on rank 0; the others do not call it."""
        if self.alone:
            return make()
        value = [make() if self.first else None]
        dist.broadcast_object_list(value, src=0, group=self.control)
        return value[0]  # type: ignore[return-value]

    def numbers(self, own: list[int]) -> list[list[int]]:
        """Every rank's whole numbers, by rank; nothing waits for a GPU."""
        return self.vectors(torch.tensor(own)).tolist()

    def vectors(self, own: Tensor) -> Tensor:
        """Every rank's vector ``(n,)``, as ``(ranks, n)``: added up by rank, a sum has the same bits everywhere."""
        found = own.new_empty(self.size, len(own))
        dist.all_gather(list(found), own, group=self.control if own.device.type == "cpu" else None)
        return found

    def add_up(self, tensor: Tensor) -> None:
        """Put the sum over all ranks in place of a tensor."""
        dist.all_reduce(tensor)

    def spread(self, tensor: Tensor) -> None:
        """Put rank 0's numbers in place of a tensor's."""
        dist.broadcast(tensor, src=0)

    @contextmanager
    def same_random(self, device: torch.device) -> Generator[None, None, None]:
        """All ranks draw the same numbers from torch within; afterwards each goes on with its own."""
        if self.alone:
            yield
            return
        seed = self.of_first(lambda: int(torch.randint(2**62, ())))
        with torch.random.fork_rng([device] if device.type == "cuda" else []):
            torch.manual_seed(seed)
            yield

    @contextmanager
    def together(self) -> Generator[None, None, None]:
        """Ends when all ranks have come to the end; one that fails ends all others, with its reason, instead of letting them wait."""
        if self.alone:
            yield
            return
        try:
            yield
            self.numbers([0])
        except BaseException as error:
            reason = self._reason(error)
            if self.ours:
                _leave()  # the others' exchange with this rank fails at once
            if reason is None:
                raise
            raise RuntimeError(reason) from error

    def _reason(self, error: BaseException) -> str | None:
        """Why another rank made this one fail; None where the failure is this rank's own, of which the others are told."""
        with contextlib.suppress(Exception):  # the store may be gone with the process that held it
            store = dist.distributed_c10d._get_default_store()
            if not _of_exchange(error):
                store.set(FAILURE, f"rank {self.rank} ended the run by {type(error).__name__}: {error}")
            elif store.check([FAILURE]):
                return store.get(FAILURE).decode()
        said = "another rank of this job died, or did not answer in time; see what the processes wrote before this"
        return said if _of_exchange(error) else None


ALONE = Ranks()


def join() -> Ranks:
    """This process among those of its job: of the process group that is there, or one that is made where ``torchrun`` started us.

    A group with another timeout or backend is the caller's to make, by ``torch.distributed.init_process_group``, before the trainer.
    """
    if not dist.is_available():
        return Ranks()
    if not dist.is_initialized():
        if "RANK" not in os.environ or int(os.environ.get("WORLD_SIZE", "1")) == 1:
            return Ranks()
        dist.init_process_group("cpu:gloo,cuda:nccl" if torch.cuda.is_available() and dist.is_nccl_available() else "gloo")
        atexit.register(_leave)
        Ranks.ours = True
    return Ranks(dist.get_rank(), dist.get_world_size())


def _cpu_group() -> Any:
    """None, the group itself, where it exchanges what lies on the CPU; otherwise one of gloo's beside it."""
    return None if "cpu:" in str(dist.get_backend_config()) else dist.new_group(backend="gloo")


def _leave() -> None:
    """Nothing may hold on to a group: one that is alive when Python ends aborts the process."""
    if dist.is_initialized():
        gc.collect()  # DistributedDataParallel refers to itself
        dist.destroy_process_group()


def _of_exchange(error: BaseException) -> bool:
    """Whether an error tells of other ranks: gloo's are plain RuntimeErrors."""
    return isinstance(error, dist.DistError) or (isinstance(error, RuntimeError) and "gloo" in str(error))
