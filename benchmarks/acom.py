"""py4DSTEM's template matching as its own users call it: orientation and correlation, and nothing of ours around it."""

from __future__ import annotations

import time
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from napari_stem_orient.core.bragg_peaks import DIRECT_BEAM_INV_ANGSTROM, BraggPeaks
from napari_stem_orient.core.crystal import Crystal
from napari_stem_orient.core.orientation import sample_from_py4dstem
from napari_stem_orient.indexing.template_parameters import TemplateMatchingParameters
from napari_stem_orient.indexing.template_plan import make_template_plan


@dataclass(frozen=True, slots=True)
class Matches:
    """Of m patterns: quaternion (m, 4) sample to crystal, correlation (m,), and the seconds that matching took.

    The correlation is 0 where there are too few disks. The plan of the templates is not timed.
    """

    quaternion: NDArray[np.float64]
    correlation: NDArray[np.float64]
    seconds: float

    @property
    def rate(self) -> float:
        """Patterns a second."""
        return len(self.correlation) / self.seconds


def match_with_py4dstem(
    peaks: BraggPeaks,
    crystal: Crystal,
    positions: NDArray[np.int64],
    *,
    parameters: TemplateMatchingParameters,
) -> Matches:
    """Match the patterns at flat scan positions (m,) against one crystal, in one process."""
    from emdfile import PointList

    reach = float(np.clip(np.ceil(10 * peaks.reach(part=0.998)) / 10, 0.6, 2.0))
    plan = make_template_plan(crystal, calibration=peaks.calibration, parameters=parameters, q_max=reach)
    quaternion = np.tile(np.array([1.0, 0, 0, 0]), (len(positions), 1))
    correlation = np.zeros(len(positions))
    start = time.perf_counter()
    for index, position in enumerate(positions):
        disks = peaks.at(*divmod(int(position), peaks.scan_shape[1]))
        disks = disks[np.hypot(disks[:, 0], disks[:, 1]) > DIRECT_BEAM_INV_ANGSTROM]
        if len(disks) < parameters.min_disks:
            continue
        structured = np.zeros(len(disks), dtype=[("qx", "f8"), ("qy", "f8"), ("intensity", "f8")])
        # py4DSTEM's x is down, along our y.
        structured["qx"], structured["qy"], structured["intensity"] = disks[:, 1], disks[:, 0], disks[:, 2]
        with np.errstate(divide="ignore", invalid="ignore"):
            found = plan.planned.match_single_pattern(
                PointList(structured), min_number_peaks=1, verbose=False
            )
        if found.corr[0] > 0 and np.isfinite(found.matrix[0]).all():
            correlation[index] = found.corr[0]
            quaternion[index] = sample_from_py4dstem(np.asarray(found.matrix[0], dtype=np.float64))
    return Matches(quaternion, correlation, time.perf_counter() - start)
