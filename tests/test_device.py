"""The choice of device, batches that are halved when memory runs out, and work that stays on one device."""

from __future__ import annotations

import pytest
import torch

from napari_stem_orient.core.crystal import load_crystal
from napari_stem_orient.detection.frame_peaks import find_frame_peaks
from napari_stem_orient.detection.matched_filter import matched_filter
from napari_stem_orient.detection.parameters import DetectionParameters
from napari_stem_orient.detection.probe import synthetic_probe
from napari_stem_orient.device import (
    available_devices,
    choose_device,
    describe_device,
    in_halving_batches,
    is_out_of_memory,
    worker_threads,
)
from napari_stem_orient.indexing.refine import PatternFitter
from napari_stem_orient.indexing.refinement_parameters import RefinementParameters
from napari_stem_orient.indexing.verification import verify
from napari_stem_orient.simulation.kinematic import KinematicSimulator
from napari_stem_orient.transformer.loss import orientation_loss, symmetry_matrices
from napari_stem_orient.transformer.network import OrientationTransformer, TransformerConfig

CPU = torch.device("cpu")


def out_of_memory() -> RuntimeError:
    return RuntimeError("MPS backend out of memory (MPS allocated: 9 GB)")


def ranges(*, fits: int, total: int = 10, batch_size: int = 8) -> list[tuple[int, int, int]]:
    """What `in_halving_batches` yields on a device that holds ``fits`` items at a time."""

    def work(start: int, stop: int) -> int:
        if stop - start > fits:
            raise out_of_memory()
        return stop - start

    return list(in_halving_batches(work, total, batch_size=batch_size, device=CPU))


@pytest.mark.parametrize("fits", [1, 2, 3, 5, 8, 100])
def test_every_item_is_worked_once_however_little_memory_there_is(fits: int) -> None:
    done = ranges(fits=fits)
    assert [i for start, stop, _ in done for i in range(start, stop)] == list(range(10))
    assert all(number == stop - start <= fits for start, stop, number in done)


def test_no_items_are_no_batches() -> None:
    assert ranges(fits=1, total=0) == []


def test_an_item_that_does_not_fit_alone_names_the_way_out() -> None:
    with pytest.raises(MemoryError, match="choose the device 'cpu'"):
        ranges(fits=0)


def test_other_errors_are_not_taken_for_a_lack_of_memory() -> None:
    def work(start: int, stop: int) -> None:
        raise RuntimeError("shapes do not match")

    with pytest.raises(RuntimeError, match="shapes"):
        list(in_halving_batches(work, 4, batch_size=4, device=CPU))
    assert is_out_of_memory(out_of_memory())
    assert is_out_of_memory(torch.cuda.OutOfMemoryError("CUDA out of memory"))
    assert not is_out_of_memory(ValueError("out of memory"))


def test_the_cpu_is_always_there_and_last() -> None:
    devices = available_devices()
    assert devices[-1] == "cpu"
    assert choose_device("auto").type == devices[0]
    assert choose_device("cpu") == CPU
    assert describe_device("cpu").startswith("CPU")
    assert worker_threads() >= 1


def test_a_device_that_is_not_there_is_refused_with_those_that_are(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    with pytest.raises(
        ValueError, match=r"'cuda' is not available here; choose one of: auto, .*cpu\. A CUDA"
    ):
        choose_device("cuda")
    with pytest.raises(ValueError, match="'tpu' is not available"):
        choose_device("tpu")


# Where the default device is not that of the data, whatever is made without saying where ends in an error or in other
# numbers: a mistake that otherwise only a GPU shows is found on a computer that has none.
ELSEWHERE = torch.device("meta")


@pytest.mark.parametrize("subpixel", ["none", "parabola", "upsampled"])
@pytest.mark.parametrize("power", [1.0, 0.5])
def test_detection_stays_on_the_device_of_the_frames(subpixel: str, power: float) -> None:
    frames = 50 * torch.rand(3, 64, 64, generator=torch.Generator().manual_seed(0))
    parameters = DetectionParameters(
        subpixel=subpixel,  # type: ignore[arg-type]
        correlation_power=power,
        min_significance=1,
        min_relative_intensity=0.01,
    )
    pattern_filter = matched_filter(synthetic_probe(3, (64, 64)), parameters, device=CPU)
    here = find_frame_peaks(frames, pattern_filter, parameters)
    with ELSEWHERE:
        there = find_frame_peaks(frames, pattern_filter, parameters)
    assert len(here.frame) > 0
    assert (there.intensity == here.intensity).all()


def test_indexing_and_training_stay_on_the_device_of_the_patterns() -> None:
    torch.manual_seed(0)
    crystal = load_crystal("Cu")
    symmetries = symmetry_matrices([crystal], CPU)
    network = OrientationTransformer(TransformerConfig())
    generator = torch.Generator().manual_seed(0)
    peaks, mask = torch.rand(3, 7, 3, generator=generator), torch.ones(3, 7, dtype=torch.bool)
    truth, phase, weight = torch.eye(3).expand(3, 3, 3), torch.zeros(3, dtype=torch.long), torch.ones(3)
    conditions = torch.tensor([0.005, 1.0]).expand(3, 2)

    def everything() -> list[torch.Tensor]:
        proposal = network(peaks, mask, conditions)
        loss = orientation_loss(proposal, truth, phase, symmetries, weight=weight).total
        fitter = PatternFitter(
            crystal, voltage_kv=200, q_limit=1.2, parameters=RefinementParameters(), device=CPU
        )
        rotation = fitter.fit_positions(proposal.rotations[:, 0].detach(), peaks[..., :2], peaks[..., 2])
        rotation = fitter.fit_tilt(rotation, peaks[..., :2], peaks[..., 2])
        found = verify(fitter, rotation, peaks[..., :2], peaks[..., 2], mask)
        simulator = KinematicSimulator(crystal, voltage_kv=200, precession_angle_deg=1, device=CPU)
        return [loss, rotation, found.evidence, simulator.simulate(rotation[0]).intensity]

    here = everything()
    with ELSEWHERE:
        there = everything()
    torch.testing.assert_close(there, here)
