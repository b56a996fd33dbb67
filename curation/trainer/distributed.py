"""The processes of a run: one alone, or those that torchrun or Ray Train started.

On CPU the processes speak gloo, on GPUs NCCL (the latter was not run in this repository's tests).
"""

import functools
import os
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Any, NoReturn, TypeVar

import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch._C._distributed_c10d import HashStore
from torch.distributed.device_mesh import init_device_mesh
from torch.distributed.fsdp import FSDPModule, MixedPrecisionPolicy, fully_shard
from torch.distributed.tensor import DTensor
from torch.utils.checkpoint import checkpoint

from curation.core.errors import CurationError, RunError, UsageError

T = TypeVar("T")


class FollowedError(CurationError):
    """Raised beside the leading process, which says the same; this one need not repeat it."""

    def __init__(self, error: CurationError) -> None:
        super().__init__(str(error))
        self.exit_code = error.exit_code


def rank_here() -> int:
    """Rank of this process, 0 where nothing started several."""
    return int(os.environ.get("RANK", "0"))


def first_here() -> bool:
    """Whether this process is the first of those on its machine."""
    return int(os.environ.get("LOCAL_RANK", "0")) == 0


def world_here() -> int:
    """Processes of this run, 1 where nothing started several."""
    return int(os.environ.get("WORLD_SIZE", "1"))


@dataclass(frozen=True)
class World:
    """This process among the others."""

    rank: int
    size: int
    device: torch.device

    @property
    def leads(self) -> bool:
        """Whether this process writes what is written once."""
        return self.rank == 0

    def total(self, values: Iterable[float]) -> list[float]:
        """Sums over all processes, in float64; every process gets the same."""
        gathered = torch.tensor(list(values), dtype=torch.float64, device=self.device)
        dist.all_reduce(gathered)
        return gathered.tolist()

    def sum_in_place(self, tensor: Tensor) -> None:
        """Sum of a tensor over all processes."""
        dist.all_reduce(tensor)

    def gather(self, value: Any) -> list[Any]:
        """One small object from each process, by rank."""
        found: list[Any] = [None] * self.size
        dist.all_gather_object(found, value)
        return found

    def told(self, value: Any) -> Any:
        """What the leading process says."""
        found = [value]
        dist.broadcast_object_list(found, src=0)
        return found[0]

    def wait(self) -> None:
        """Until every process is here."""
        dist.barrier()

    def fail(self, error: CurationError) -> NoReturn:
        """Raises what every process knows, on all of them; all must call it."""
        raise error if self.leads else FollowedError(error)

    def fail_first(self, fault: CurationError | None) -> None:
        """Raises, on all, the fault of the first process that has one; all must call it."""
        if first := next(filter(None, self.gather(fault)), None):
            self.fail(first)

    def together(self, act: Callable[[], T]) -> T:
        """What each process finds for itself; a fault of the user's on one is raised on all."""
        found, fault = None, None
        try:
            found = act()
        except CurationError as error:
            fault = error
        self.fail_first(fault)
        return found  # type: ignore[return-value]

    def led(self, act: Callable[[], T]) -> T:
        """What the leading process finds, on every process; so is a fault of the user's."""
        found: Any = None
        if self.leads:
            try:
                found = act()
            except CurationError as error:
                found = error
        found = self.told(found)
        if isinstance(found, CurationError):
            self.fail(found)
        return found  # type: ignore[no-any-return]


@contextmanager
def joined(device: str) -> Iterator[World]:
    """This process's place in the run; `device` is cpu or cuda.

    A process alone gets a group of one, so that nothing else has to ask. A group that is there
    already (Ray Train makes one) is used and left. Raises RunError where another process is gone.
    """
    local = int(os.environ.get("LOCAL_RANK", "0"))
    here = torch.device(device, local) if device == "cuda" else torch.device(device)
    if device == "cuda":
        torch.cuda.set_device(here)
    found = dist.is_initialized()
    if not found:
        backend = "cpu:gloo,cuda:nccl" if device == "cuda" else "cpu:gloo"
        if "WORLD_SIZE" in os.environ:
            dist.init_process_group(backend)
        else:
            dist.init_process_group(backend, store=HashStore(), rank=0, world_size=1)
    world = World(dist.get_rank(), dist.get_world_size(), here)
    try:
        yield world
    except RuntimeError as error:
        if world.size == 1 or not _is_lost(error):
            raise
        world.fail(RunError(_LOST))
    finally:
        if not found:
            dist.destroy_process_group()


_LOST = (
    "another process of this run ended or does not answer; look at what it said (killed without a "
    "word: often memory), and run the same command again, it goes on from the last checkpoint"
)


def _is_lost(error: RuntimeError) -> bool:
    """Whether a message to another process failed; gloo has no error of its own."""
    return isinstance(error, dist.DistError) or "gloo/" in str(error)


def check_world(global_batch: int, size: int) -> None:
    """Raises UsageError where the packs of a step do not divide over the processes."""
    if global_batch % size:
        raise UsageError(
            f"--global-batch {global_batch}: does not divide over {size} processes; "
            f"choose a multiple of {size}"
        )


def prepared(blocks: Iterable[nn.Module], *, recompute: bool, compiled: bool) -> None:
    """Makes each block forget its activations until the backward pass, or compiles it, or both.

    The block's `forward` is replaced, not the block: names of parameters stay, and what FSDP hooks
    around a call stays outside of what is compiled.
    """
    for block in blocks:
        forward = block.forward
        if compiled:
            forward = torch.compile(forward)
        if recompute:  # outside: what cannot be compiled within would leave the whole block plain
            forward = functools.partial(
                checkpoint, forward, use_reentrant=False, preserve_rng_state=False
            )
        block.forward = forward


def sharded(
    root: nn.Module,
    blocks: Iterable[nn.Module],
    world: World,
    *,
    dtype: torch.dtype,
    exact: Iterable[nn.Module] = (),
) -> None:
    """Splits parameters, gradients and optimiser state over all processes (FSDP2).

    A block is gathered as a whole while it computes; what belongs to no block (embeddings, norms,
    the head) stays gathered through a step. Parameters and gradients are kept and summed in
    float32. Copies in `dtype` compute, but for the modules `exact`: there float32 does. Gradients
    are sums over processes, not means: the loss is normalised over the whole step already. A
    process alone that computes in float32 is left as it is.
    """
    if world.size == 1 and dtype == torch.float32:
        return
    mesh = init_device_mesh(world.device.type, (world.size,))
    full = torch.float32
    precise = MixedPrecisionPolicy(param_dtype=full, reduce_dtype=full, cast_forward_inputs=False)
    policy = replace(precise, param_dtype=dtype)
    for module in exact:
        fully_shard(module, mesh=mesh, mp_policy=precise)
    for block in blocks:
        fully_shard(block, mesh=mesh, mp_policy=policy)
    fully_shard(root, mesh=mesh, mp_policy=policy)
    for module in root.modules():
        if isinstance(module, FSDPModule):
            module.set_gradient_divide_factor(1.0)
            module.set_force_sum_reduction_for_comms(True)  # gloo has no other


def whole(tensor: Tensor) -> Tensor:
    """A tensor with all its parts on every process; all must ask for it."""
    return tensor.full_tensor() if isinstance(tensor, DTensor) else tensor
