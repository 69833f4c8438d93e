"""The one choice of compute device, and what happens when its memory runs out."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from typing import TypeVar

import torch

Result = TypeVar("Result")


def available_devices() -> tuple[str, ...]:
    """Names of the devices that torch can use on this computer, fastest first; "cpu" is always the last."""
    names: list[str] = []
    if torch.cuda.is_available():
        names.append("cuda")
    if torch.backends.mps.is_available():
        names.append("mps")
    return (*names, "cpu")


def choose_device(name: str = "auto") -> torch.device:
    """Turn "auto", "cpu", "cuda" or "mps" into a torch device.

    Raises
    ------
    ValueError
        When the named device is not there; the message says what is and how to get CUDA.
    """
    available = available_devices()
    if name == "auto":
        return torch.device(available[0])
    if name not in available:
        hint = (
            " A CUDA build of torch and an NVIDIA driver are needed (on Windows pip installs a CPU build: see "
            "https://pytorch.org/get-started/locally)."
            if name == "cuda"
            else ""
        )
        raise ValueError(
            f"device {name!r} is not available here; choose one of: auto, {', '.join(available)}.{hint}"
        )
    return torch.device(name)


def describe_device(device: torch.device | str) -> str:
    """Say in words what a device is, for the panel and for provenance."""
    device = torch.device(device)
    if device.type == "cuda":
        properties = torch.cuda.get_device_properties(device)
        return f"GPU: {properties.name}, {properties.total_memory / 2**30:.0f} GiB (cuda)"
    if device.type == "mps":
        return "GPU: Apple silicon (mps)"
    return f"CPU: {os.cpu_count() or 1} cores"


def worker_threads() -> int:
    """Number of torch threads for a background job: one core stays with the window."""
    return max(1, (os.cpu_count() or 2) - 1)


def is_out_of_memory(error: BaseException) -> bool:
    """Whether an exception says that the device (not the computer's disk) ran out of memory."""
    return isinstance(error, torch.cuda.OutOfMemoryError) or (
        isinstance(error, RuntimeError) and "out of memory" in str(error).lower()
    )


def in_halving_batches(
    work: Callable[[int, int], Result], total: int, *, batch_size: int, device: torch.device
) -> Iterator[tuple[int, int, Result]]:
    """Run ``work(start, stop)`` over ``range(total)``; a batch that does not fit is halved and tried again.

    Parameters
    ----------
    work
        Computes the items start..stop on the device.
    total, batch_size
        Number of items, and the size of the first batch tried.
    device
        The device whose cache is emptied after it ran out of memory.

    Yields
    ------
    start, stop, result

    Raises
    ------
    MemoryError
        When even a single item does not fit.
    """
    start = 0
    while start < total:
        stop = min(total, start + batch_size)
        try:
            result = work(start, stop)
        except (torch.cuda.OutOfMemoryError, RuntimeError) as error:
            if not is_out_of_memory(error):
                raise
            if batch_size == 1:
                raise MemoryError(
                    f"{describe_device(device)} has too little free memory for one item; choose the device 'cpu'"
                ) from error
            batch_size = max(1, (stop - start) // 2)
            if device.type == "cuda":
                torch.cuda.empty_cache()
            continue
        yield start, stop, result
        start = stop
