"""ReflectionReader: the simulated pattern of a solution, at once where its crystal is prepared, else from a thread."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from napari_stem_orient.gui.jobs.latest_job import LatestJob
from napari_stem_orient.gui.parts.pattern_overlay import (
    Disks,
    Reflections,
    largest_q,
    simulated_reflections,
)

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from napari_stem_orient.core.calibration import Calibration
    from napari_stem_orient.core.crystal import Crystal

SLOW_S = 0.005
"""A crystal whose pattern took longer than this in the main thread goes to the thread the next time."""

Prepared = tuple[str, float | None, float, float]  # crystal, voltage, precession, largest q


@dataclass(frozen=True, slots=True, eq=False)
class Wanted:
    """What is to be simulated; see `simulated_reflections`."""

    crystal: Crystal
    quaternion: NDArray[np.float64]
    calibration: Calibration
    origin_px: tuple[float, float]
    detector_shape: tuple[int, int]
    disks: Disks | None

    @property
    def prepares(self) -> Prepared:
        """What of a crystal has to be worked out first, some milliseconds to a tenth of a second, and is kept."""
        calibration = self.calibration
        reach = 0.0
        if not calibration.missing_for_indexing():
            reach = largest_q(calibration, self.origin_px, self.detector_shape)
        return (self.crystal.fingerprint, calibration.voltage_kv, calibration.precession_angle_deg, reach)

    def simulate(self) -> Reflections | None:
        """Simulate the pattern."""
        return simulated_reflections(
            self.crystal,
            self.quaternion,
            calibration=self.calibration,
            origin_px=self.origin_px,
            detector_shape=self.detector_shape,
            disks=self.disks,
        )


class ReflectionReader:
    """Simulates the pattern that is wanted now; requests that a newer one has overtaken are dropped.

    Parameters
    ----------
    on_reflections : called in the main thread with the reflections, or None where there are none
    quick : what is prepared; readers that share it prepare a crystal once
    """

    def __init__(
        self, on_reflections: Callable[[Reflections | None], object], quick: set[Prepared] | None = None
    ) -> None:
        self._on_reflections = on_reflections
        self._quick: set[Prepared] = set() if quick is None else quick
        self._newest: Wanted | None = None
        self._job: LatestJob[Wanted, Reflections | None] = LatestJob(
            title="Simulate a pattern", on_result=self._on_simulated, on_error=self._on_error
        )

    @property
    def busy(self) -> bool:
        """Whether a pattern is being simulated."""
        return self._job.busy

    def request(self, wanted: Wanted | None) -> None:
        """Simulate this; the callback comes before this returns where that is quick, or nothing is wanted."""
        self._newest = wanted
        if wanted is None:
            self._job.forget()
            self._on_reflections(None)
            return
        prepares = wanted.prepares
        if prepares not in self._quick:
            self._on_reflections(None)  # rather than those of another position
            self._job.request(wanted, wanted.simulate)
            return
        self._job.forget()
        begun = time.thread_time()
        reflections = wanted.simulate()
        if time.thread_time() - begun > SLOW_S:
            self._quick.discard(prepares)
        self._on_reflections(reflections)

    def close(self) -> None:
        """Simulate nothing more."""
        self._job.close()

    def _on_simulated(self, wanted: Wanted, reflections: Reflections | None) -> None:
        self._quick.add(wanted.prepares)
        if wanted is self._newest:
            self._on_reflections(reflections)

    def _on_error(self, wanted: Wanted, _: str) -> None:
        if wanted is self._newest:
            self._on_reflections(None)
