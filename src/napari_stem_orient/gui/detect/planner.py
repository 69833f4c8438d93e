"""DetectPlanner: what is chosen for the detection of the open scan, and the plan that is measured for it."""

from __future__ import annotations

from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING, Any

from psygnal import Signal

from napari_stem_orient.core.errors import UserError
from napari_stem_orient.core.progress import result_of
from napari_stem_orient.gui.jobs.connections import when_destroyed
from napari_stem_orient.gui.jobs.latest_job import LatestJob
from napari_stem_orient.steps.detect import DetectChoice, DetectPlan, plan_detection
from napari_stem_orient.steps.mask import chosen_mask, mask_fingerprint
from napari_stem_orient.steps.probe import ProbeChoice

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from napari_stem_orient.core.datacube import DataCube
    from napari_stem_orient.gui.parts.stage_panel import StagePanel
    from napari_stem_orient.steps.mask import FoundMask

FALLBACK_RADIUS_PX = 3.0
MEASURED_FOR = ("probe", "mask", "false_disks_per_pattern")


class DetectPlanner:
    """Has measured what the choice of the Detect stage leaves open, and tells the Session what follows.

    Once the first patterns of a scan are read, it measures; and again whenever template or mask are chosen otherwise.

    Parameters
    ----------
    panel
        The stage that it stands in: shows its messages.

    Attributes
    ----------
    plan
        What follows for the open scan; None before it has been measured.
    busy
        Whether what is chosen is being measured.
    changed
        Emitted when plan or choice is another one.
    planned
        Emitted when a plan has been measured.
    """

    changed = Signal()
    planned = Signal()

    def __init__(self, panel: StagePanel) -> None:
        self._panel, self._session = panel, panel.session
        self._known = self.choice  # that has been acted upon
        self.plan: DetectPlan | None = None
        self.busy = False
        self._painted: NDArray[np.bool_] | None = None  # what a choice names by its fingerprint
        self._opening: int | None = None  # for which a plan was last asked for
        self._radius_then: float | None = None  # what the calibration then made expect
        self._refused, self._fallen_back_to = False, self._known
        self._measuring: LatestJob[DetectChoice, DetectPlan | UserError] = LatestJob(
            title="Measure the direct beam", on_result=self._on_measured, on_error=self._on_failed
        )
        when_destroyed(panel, LatestJob.close, self._measuring)
        panel.watch(("opening",), self._on_opening)
        panel.watch(("choices",), self._on_choice)
        panel.watch(("datacube",), self._on_datacube_changed)
        panel.watch(("detector_mask",), self._on_mask_changed)
        panel.watch(("mean_pattern",), self._on_mean_pattern)
        panel.watch(("summary",), self._on_summary)
        self._on_mean_pattern()

    @property
    def choice(self) -> DetectChoice:
        """What the user has decided."""
        return self._session.state.choice(DetectChoice)

    @property
    def ready(self) -> bool:
        """Whether there is a plan for what is chosen; otherwise it is being measured, or could not be."""
        return self.plan is not None and _alike(self.plan.choice, self.choice)

    @property
    def found(self) -> FoundMask | None:
        """What was found of unusable pixels in the open scan."""
        measured = None if self.plan is None else self.plan.measured
        return None if measured is None else measured.found

    def choose(self, **fields: Any) -> None:
        """Take what the user has decided."""
        self._session.choose(DetectChoice, **fields)

    def take(self, plan: DetectPlan) -> None:
        """Take a plan as it was made earlier, in place of what is chosen."""
        self._measuring.forget()
        self.busy = False
        self._known, self._painted = plan.choice, plan.mask
        self._session.set_choice(plan.choice)
        self._take(replace(plan, datacube=self._session.datacube or plan.datacube))
        self.changed.emit()

    def measure(self) -> None:
        """Measure what is chosen in the open scan, in place of what is still being measured."""
        datacube, session = self._session.datacube, self._session
        if datacube is None or session.mean_pattern is None or not self._has_painted():
            return
        self._opening, self._radius_then = session.state.opening, expected_radius_px(datacube)
        self.busy = True
        mean = session.mean_pattern if session.summary is None else session.summary.mean_pattern
        self._measuring.request(self.choice, partial(_measured, self.choice, datacube, self._painted, mean))
        self.changed.emit()

    # --- what the job brings -------------------------------------------------------------------------------

    def _on_measured(self, choice: DetectChoice, plan: DetectPlan | UserError) -> None:
        if not _alike(choice, self.choice):
            return  # something else is wanted by now, and being measured
        self.busy = False
        if isinstance(plan, UserError):
            self._refuse(str(plan), fall_back=plan.field != "mask")
            return
        datacube = self._session.datacube
        if datacube is not None and self._opening == self._session.state.opening:
            self._take(replace(self._as_chosen(plan), datacube=datacube))
            if self._refused and choice != self._fallen_back_to:
                self._panel.show_message("")
                self._refused = False
            self.planned.emit()
            self.changed.emit()

    def _on_failed(self, _: DetectChoice, message: str) -> None:
        self.busy = False
        self._refuse(message, fall_back=True)

    def _refuse(self, message: str, *, fall_back: bool) -> None:
        """Say why there is no plan, until there is one for something that the user has chosen."""
        self._panel.show_message(message)
        self._refused = True
        if fall_back:
            self._fall_back()
        self.changed.emit()

    def _fall_back(self) -> None:
        """Choose a synthetic disk, of the radius that the calibration gives, until the user knows better."""
        datacube = self._session.datacube
        if self.choice.probe.radius_px is None and datacube is not None:
            expected = expected_radius_px(datacube)
            radius = FALLBACK_RADIUS_PX if expected is None else max(0.7, round(expected, 3))
            self._fallen_back_to = self.choice.changed(probe=ProbeChoice(radius_px=radius))
            self.choose(probe=self._fallen_back_to.probe)

    def _as_chosen(self, plan: DetectPlan) -> DetectPlan:
        """A plan with parameters and engine as they are chosen by now."""
        return plan.with_parameters(self.choice.parameters).with_engine(
            self.choice.detector, self.choice.device
        )

    def _take(self, plan: DetectPlan) -> None:
        self.plan = plan
        session = self._session
        if session.probe is not plan.probe:
            session.set_probe(plan.probe)
        self._set_mask(plan.mask)
        session.set_detection_parameters(plan.parameters)

    def _show_mask(self) -> None:
        """Take a mask that is known already at once: only files take a moment."""
        datacube, mask = self._session.datacube, self.choice.mask
        if self.found is not None and datacube is not None and mask.file is None and self._has_painted():
            self._set_mask(chosen_mask(mask, self.found, datacube.detector_shape, painted=self._painted))

    def _has_painted(self) -> bool:
        """Whether the mask is here that is chosen by its fingerprint; it comes with the Session where it is not."""
        mask = self.choice.mask
        here = self._painted is not None and mask_fingerprint(self._painted) == mask.fingerprint
        return mask.kind != "painted" or here

    def _set_mask(self, mask: NDArray[np.bool_] | None) -> None:
        if not _same_mask(mask, self._session.detector_mask):
            self._session.update(detector_mask=mask)  # what it follows from is chosen already

    # --- what changes elsewhere ----------------------------------------------------------------------------

    def _on_choice(self) -> None:
        """Follow what was decided, here or elsewhere."""
        self._remember_painted()
        before, self._known = self._known, self.choice
        if self._known == before:
            return
        if not _alike(self._known, before):
            self._show_mask()
            self.measure()
        elif self.plan is not None and self.plan.measured is None:
            self.measure()  # of a run that was begun earlier: what was not given is not known any more
        elif self.plan is not None:
            self._take(self._as_chosen(self.plan))
        self.changed.emit()

    def _on_opening(self) -> None:
        """Begin anew with another scan."""
        self._measuring.forget()
        self.plan = self._opening = None
        self.busy = False
        self._remember_painted()  # of the same scan, opened again
        self._known = self.choice
        self.changed.emit()

    def _on_mean_pattern(self) -> None:
        """Measure once for each scan, when reading it is seen to work."""
        session = self._session
        if session.datacube is not None and self._opening != session.state.opening:
            self.measure()

    def _on_summary(self) -> None:
        """The mean of all patterns is there: what was made of those read first is made of it."""
        if self.choice.probe.source == "mean" and self._session.summary is not None:
            self.measure()

    def _on_datacube_changed(self) -> None:
        """A disk of the convergence angle stands for the template where it is known; peaks keep theirs."""
        datacube, session = self._session.datacube, self._session
        if datacube is None or self.plan is None or self._opening != session.state.opening:
            return
        self.plan = replace(self.plan, datacube=datacube)
        if session.peaks is None and expected_radius_px(datacube) != self._radius_then:
            self.measure()

    def _on_mask_changed(self) -> None:
        """Measure with a painted mask that has come after it was chosen."""
        had = self._has_painted()
        self._remember_painted()
        if not had and self._has_painted():
            self.measure()

    def _remember_painted(self) -> None:
        """Keep a mask that is chosen by its fingerprint: others may be left out with it later."""
        mask = self._session.detector_mask
        if mask is not None and self.choice.mask.fingerprint == mask_fingerprint(mask):
            self._painted = mask


def expected_radius_px(datacube: DataCube) -> float | None:
    """The radius of the disks that the convergence angle gives; None where the calibration lacks something."""
    try:
        return datacube.calibration.disk_radius_px()
    except ValueError:
        return None


def _measured(
    choice: DetectChoice,
    datacube: DataCube,
    painted: NDArray[np.bool_] | None,
    mean_pattern: NDArray[np.float32],
) -> DetectPlan | UserError:
    try:
        return result_of(plan_detection(choice, datacube, painted=painted, mean_pattern=mean_pattern))
    except UserError as error:
        return error


def _alike(one: DetectChoice, other: DetectChoice) -> bool:
    """Whether the same has to be measured for two choices."""
    return all(getattr(one, name) == getattr(other, name) for name in MEASURED_FOR)


def _same_mask(one: NDArray[np.bool_] | None, other: NDArray[np.bool_] | None) -> bool:
    if one is None or other is None:
        return one is other
    return one is other or (one.shape == other.shape and bool((one == other).all()))
