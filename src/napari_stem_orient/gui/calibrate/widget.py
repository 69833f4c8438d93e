"""CalibrateWidget: the third stage, which may be skipped: origin, ellipse, pixel size and rotation of the peaks."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from qtpy.QtGui import QShowEvent
from qtpy.QtWidgets import QHBoxLayout, QPushButton

from napari_stem_orient.calibration.words import doubts_in_words, lines_of
from napari_stem_orient.core.calibration import Quantity
from napari_stem_orient.gui.calibrate.comparison import CalibrationComparison, Subject
from napari_stem_orient.gui.calibrate.crystal_box import CrystalBox
from napari_stem_orient.gui.calibrate.map_checks import MapChecks
from napari_stem_orient.gui.calibrate.rows import CalibrationRows
from napari_stem_orient.gui.jobs.workers import JobHandle, plain_job
from napari_stem_orient.gui.parts.file_dialogs import ask_open_file, ask_save_file
from napari_stem_orient.gui.parts.panel import plain_label
from napari_stem_orient.gui.parts.stage_panel import StagePanel
from napari_stem_orient.gui.parts.theme_colours import theme_colours
from napari_stem_orient.session.rules import StageState
from napari_stem_orient.session.state import Stage
from napari_stem_orient.steps.calibrate import CalibrateChoice, Fit, entered
from napari_stem_orient.steps.calibration_run import Calibrated, calibrate
from napari_stem_orient.steps.crystals import CrystalChoice
from napari_stem_orient.steps.open import GivenCalibration

if TYPE_CHECKING:
    import napari

    from napari_stem_orient.core.bragg_peaks import BraggPeaks
    from napari_stem_orient.core.progress import Record
    from napari_stem_orient.session.calibration_state import CalibrationChange

KINDS = "Calibration (*.json);;All files (*)"
CHANGED = "The calibration changed meanwhile; what was fitted was not used. Fit again."


class CalibrateWidget(StagePanel):
    """Shows how far the Bragg peaks are calibrated, calibrates them, and shows what it has changed.

    Parameters
    ----------
    napari_viewer
        The viewer whose Session this shows.
    """

    stage = Stage.CALIBRATE

    def __init__(self, napari_viewer: napari.Viewer) -> None:
        super().__init__(napari_viewer)
        self._calibrated: BraggPeaks | None = None  # the peaks that what runs is about
        self._together: list[CalibrationChange] = []  # what the last press of a button has done
        self._job: JobHandle[Any, Any] | None = None
        self.crystal_box = CrystalBox(
            self, tooltip="The crystal whose rings are compared with the disks: of the sample, or a standard."
        )
        self.rows = CalibrationRows(self.crystal_box, self.link_label({"unknown": "pixel_size_inv_angstrom"}))
        self.report_label = plain_label()
        self.comparison = CalibrationComparison(self._subject)
        self.map_checks = MapChecks(self, calibrate=self._calibrate)
        self.content.addWidget(self.rows)
        self.content.addLayout(self._fit_row())
        self.content.addWidget(self.report_label)
        self.content.addWidget(self.comparison)
        self.content.addWidget(self.map_checks)
        self.content.addLayout(self._last_row())
        self._connect(napari_viewer)
        self._on_theme_changed()
        self._on_peaks_changed()
        self.refresh()

    def _connect(self, napari_viewer: napari.Viewer) -> None:
        rows = self.rows
        self.watch(("peaks", "history"), self._on_peaks_changed)
        self.crystal_box.changed.connect(self._on_crystal_changed)
        rows.fit_asked.connect(self._on_fit)
        rows.confirmed.connect(self._on_confirmed)
        rows.rotation_entered.connect(self._on_rotation_entered)
        rows.rotation_file_asked.connect(self._on_rotation_file)
        rows.rings_asked.connect(self._on_rings)
        self._connections.connect(napari_viewer.events.theme, self._on_theme_changed)

    @property
    def wants_attention(self) -> bool:
        """Stay in sight until the user goes on: there is more than one thing to do here."""
        return True

    # --- calibrating ---------------------------------------------------------------------------------------

    def choice(self, **fields: Any) -> CalibrateChoice:
        """What a button asks for: these fields, and how crystals and the direct beam are chosen here."""
        crystals = tuple(CrystalChoice.of(crystal) for crystal in self.crystal_box.crystals)
        return CalibrateChoice(**{"crystals": crystals, "origin_model": self.rows.origin_model, **fields})

    def _on_fit(self, quantity: Fit) -> None:
        self._calibrate(self.choice(fits=(quantity,)), title=f"Fitting the {quantity}")

    def _on_fit_all(self) -> None:
        self._calibrate(self.choice(), title="Calibrating")

    def _calibrate(self, choice: CalibrateChoice, *, title: str) -> None:
        session = self.session
        if session.peaks is None:
            return
        self._calibrated = session.peaks
        self._together = []
        crystals = self.crystal_box.crystals
        job = calibrate(choice, session.peaks, crystals=crystals, orientation_map=session.current_map)
        self._job = self.run(job, title=title, stage=Stage.CALIBRATE, on_record=self._on_record)

    def _on_record(self, record: Record) -> None:
        if not isinstance(record, Calibrated) or record.fit is None:
            return
        session = self.session
        if session.peaks is not self._calibrated:
            if self._job is not None:
                self._job.cancel()
            self.show_message(CHANGED)
            return
        if record.peaks is not session.peaks:
            self._take(record)
            self._calibrated = session.peaks
            session.lend_crystals(record.crystals)
        if record.joint is not None:
            self.map_checks.show_refinement(record.joint)

    def _take(self, record: Calibrated) -> None:
        assert record.fit is not None
        self.session.apply_calibration(record.fit, applied=record.peaks, choice=record.part)
        self._together.append(self.session.history.done[-1])
        self._write_report()
        if record.fit.doubts:
            self.must_be_seen.emit(self.report_label)
        self.comparison.show_change(record.fit.title)

    # --- entering, confirming, undoing -----------------------------------------------------------------------

    def _on_confirmed(self, quantity: Quantity, confirmed: bool) -> None:
        self.session.confirm_calibration(quantity, confirmed)

    def _on_rotation_entered(self, rotation_deg: float, flip: bool) -> None:
        peaks = self.session.peaks
        if peaks is None:
            return
        choice = CalibrateChoice(
            given=GivenCalibration({"scan_rotation_deg": rotation_deg, "flip": flip}), fits=()
        )
        fit = entered(choice.given, peaks.calibration, origin_px=peaks.origin_px)
        if fit.calibration != peaks.calibration:
            self.session.apply_calibration(fit, choice=choice)

    def _on_undo(self) -> None:
        self.session.undo_calibration()

    def _on_redo(self) -> None:
        self.session.redo_calibration()

    def _on_go_on(self) -> None:
        if not self.session.calibration_settled:
            self.session.skip_calibration()
        self.goes_on.emit()

    # --- files ---------------------------------------------------------------------------------------------

    def _on_rotation_file(self) -> None:
        self._read("Take rotation and mirroring from a scan, peaks, map or calibration", take=("rotation",))

    def _on_open(self) -> None:
        self._read("Open the calibration of a scan, peaks, map or calibration file")

    def _on_rings(self) -> None:
        crystals = self.crystal_box.crystals
        if len(crystals) == 1:
            self._read(f"Open a picture of {crystals[0].name} with rings", what="rings")

    def _read(self, question: str, *, what: str = "source", **fields: Any) -> None:
        """Ask for a file, and take from it what the choice names."""
        path = None if self.session.peaks is None else ask_open_file(self, question, start=self._folder())
        if path is not None:
            choice = self.choice(**{what: path}, fits=(), **fields)
            self._calibrate(choice, title=f"Reading {path.name}")

    def _on_save(self) -> None:
        from napari_stem_orient.io.calibration_files import save_calibration

        peaks = self.session.peaks
        if peaks is None:
            return
        start = (self._folder() or Path()) / f"{peaks.name}_calibration.json"
        path = ask_save_file(self, "Save the calibration", start=start, kinds=KINDS)
        if path is not None:
            self.run(
                plain_job(partial(save_calibration, peaks.calibration, path, overwrite=True)),
                title=f"Saving {path.name}",
                on_done=lambda _: self.show_message(f"Saved {path.name}."),
            )

    def _folder(self) -> Path | None:
        datacube = self.session.datacube
        return None if datacube is None or datacube.path is None else datacube.path.parent

    # --- what is shown -------------------------------------------------------------------------------------

    def refresh(self) -> None:
        """Bring buttons and labels in line with the Session."""
        super().refresh()
        session = self.session
        running = session.stage_state(Stage.CALIBRATE) is StageState.RUNNING
        ready = session.peaks is not None and not running
        self.rows.set_ready(peaks=ready, crystals=len(self.crystal_box.crystals))
        self.crystal_box.setEnabled(not running)
        self.fit_all_button.setEnabled(ready)
        self.undo_button.setEnabled(ready and bool(session.history.done))
        self.redo_button.setEnabled(ready and bool(session.history.undone))
        self.open_button.setEnabled(ready)
        self.save_button.setEnabled(session.peaks is not None)
        self.go_on_button.setEnabled(session.peaks is not None)
        self.go_on_button.setText("Go on to Index" if session.calibration_settled else "Skip")
        self.map_checks.refresh()

    def _on_peaks_changed(self) -> None:
        session = self.session
        history = session.history
        self.rows.show_peaks(session.peaks, history.done)
        self.undo_button.setToolTip(_undo_tooltip("Take back", session.calibration_changes[-1:]))
        self.redo_button.setToolTip(
            _undo_tooltip("Do again", [change.title for change in history.undone[:1]])
        )
        self._write_report()
        self.comparison.update_pictures()

    def _write_report(self) -> None:
        """Tell the last change, and the warnings of what was fitted together with it."""
        done = self.session.history.done
        told = [] if not done else lines_of(done[-1].measured)
        lines = [change.title for change in done[-1:]] + [f"{title}: {text}" for title, text in told]
        if done and done[-1] in self._together:
            before = [change for change in done[:-1] if change in self._together and change.doubts]
            lines += [f"⚠ {change.title}: {doubts_in_words(change.doubts)}" for change in before]
        lines += [f"⚠ {doubts_in_words(change.doubts)}" for change in done[-1:] if change.doubts]
        self.report_label.setText("\n".join(lines))
        self.report_label.setVisible(bool(lines))

    def _on_crystal_changed(self) -> None:
        self.comparison.update_pictures()
        self.refresh()

    def _on_theme_changed(self, _: object = None) -> None:
        self.comparison.apply_theme(theme_colours(self.viewer))

    def _subject(self) -> Subject:
        return self.session.peaks, self.session.history.before_last, self.crystal_box.crystals

    def showEvent(self, event: QShowEvent | None) -> None:  # noqa: N802 - Qt's name
        """Bring the pictures up to date."""
        super().showEvent(event)
        self.comparison.update_pictures()

    # --- widgets -------------------------------------------------------------------------------------------

    def _fit_row(self) -> QHBoxLayout:
        self.fit_all_button = QPushButton("Fit all")
        self.fit_all_button.setToolTip(
            "<qt>Fit the origin, then ellipse and pixel size together with the rings of the crystal; without a "
            "crystal, the ellipse alone.</qt>"
        )
        self.fit_all_button.clicked.connect(self._on_fit_all)
        self.undo_button, self.redo_button = QPushButton("Undo"), QPushButton("Redo")
        self.undo_button.clicked.connect(self._on_undo)
        self.redo_button.clicked.connect(self._on_redo)
        return _row((self.fit_all_button, 2), (self.undo_button, 1), (self.redo_button, 1))

    def _last_row(self) -> QHBoxLayout:
        self.go_on_button = QPushButton("Skip")
        self.go_on_button.setToolTip("Go on to Index with the calibration as it is.")
        self.go_on_button.clicked.connect(self._on_go_on)
        self.open_button, self.save_button = QPushButton("Open…"), QPushButton("Save…")
        self.open_button.setToolTip("Take the calibration from a scan, peaks, map or calibration file.")
        self.save_button.setToolTip(
            "Save the calibration as a small file (.json). It is saved with the peaks, too."
        )
        self.open_button.clicked.connect(self._on_open)
        self.save_button.clicked.connect(self._on_save)
        return _row((self.go_on_button, 2), (self.save_button, 1), (self.open_button, 1))


def _row(*buttons: tuple[QPushButton, int]) -> QHBoxLayout:
    row = QHBoxLayout()
    for button, stretch in buttons:
        row.addWidget(button, stretch)
    return row


def _undo_tooltip(words: str, titles: tuple[str, ...] | list[str]) -> str:
    return (
        f"{words}: {titles[0]}." if titles else f"{words} the last change of the calibration: there is none."
    )
