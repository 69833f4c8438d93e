"""OpenWidget: the first stage: a file, its scan shape and its calibration."""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING

from qtpy.QtCore import Qt
from qtpy.QtGui import QDragEnterEvent, QDropEvent
from qtpy.QtWidgets import QHBoxLayout, QLineEdit, QPushButton, QWidget

from napari_stem_orient.core.calibration import Calibration
from napari_stem_orient.gui.open.scan_shape_row import ScanShapeRow
from napari_stem_orient.gui.parts.file_dialogs import ask_folder, ask_open_file
from napari_stem_orient.gui.parts.form_layout import narrow_box
from napari_stem_orient.gui.parts.opener import opener_of
from napari_stem_orient.gui.parts.panel import plain_label
from napari_stem_orient.gui.parts.parameter_form import ParameterForm
from napari_stem_orient.gui.parts.stage_panel import StagePanel
from napari_stem_orient.session.file_request import FileRequest
from napari_stem_orient.session.rules import doubts
from napari_stem_orient.session.session import Session
from napari_stem_orient.session.state import Stage

if TYPE_CHECKING:
    import napari

    from napari_stem_orient.core.frames import FrameChoice

ADVANCED = (
    "scan_step_y_nm",
    "pixel_angle_mrad",
    "ellipse_ratio",
    "ellipse_angle_deg",
    "scan_rotation_deg",
    "flip",
    "precession_angle_deg",
)


class OpenWidget(StagePanel):
    """Opens a scan, Bragg peaks or a map, and shows and completes the calibration.

    Parameters
    ----------
    napari_viewer
        The viewer whose Session this shows.
    """

    stage = Stage.OPEN

    def __init__(self, napari_viewer: napari.Viewer) -> None:
        super().__init__(napari_viewer)
        self.opener = opener_of(self.session)
        self._shown = FileRequest()
        self.setAcceptDrops(True)
        self.content.addLayout(self._path_row())
        self.shape_row = ScanShapeRow()
        self.shape_row.hide()
        self.shape_row.wanted.connect(self._on_shape_chosen)
        self.shape_box, self.shape_label = self.shape_row.shape_box, self.shape_row.label
        self.shape_button = self.shape_row.use_button
        self.content.addWidget(self.shape_row)
        self.dataset_row = self._dataset_row()
        self.content.addWidget(self.dataset_row)
        self.info_label = plain_label()
        self.content.addWidget(self.info_label)
        self.frames_button = QPushButton("Scan shape and frames…")
        self.frames_button.setFlat(True)
        self.frames_button.setToolTip("Open this scan with another shape, or leave frames out.")
        self.frames_button.clicked.connect(self._on_frames_asked)
        self.content.addWidget(self.frames_button, 0, Qt.AlignmentFlag.AlignLeft)
        self.form = ParameterForm(
            Calibration(),
            skip=("origin_px", "checked"),
            advanced=ADVANCED,
            empty_text="missing",
            folded_title="Geometry",
        )
        self.form.changed.connect(self._on_form_changed)
        self.content.addWidget(self.form)
        self.missing_label = self.link_label()
        self.content.addWidget(self.missing_label)
        self.watch(("source", "datacube", "peaks", "current_result", "open_needs"), self._on_source_changed)
        self.watch(("request",), self._show_request)
        self.opener.shown_in(self)
        self._on_source_changed()
        self._show_request()
        self.refresh()

    @property
    def wants_attention(self) -> bool:
        """Whether a scan shape is asked for, or a file could not be opened."""
        return super().wants_attention or not self.shape_row.isHidden()

    def refresh(self) -> None:
        """Say what the file chosen last needs; what the calibration lacks stands below its boxes."""
        super().refresh()
        self.state_label.setVisible(self.session.open_needs is not None)

    def box_of(self, name: str) -> QWidget | None:
        """Return the box of a value of the calibration, or where a file and its scan shape are named."""
        if name in ("path", "scan_shape"):
            return (
                self.shape_box if name == "scan_shape" and not self.shape_row.isHidden() else self.path_line
            )
        if not self.form.has(name) or not self.form.isEnabled():
            return None
        box = self.form.editor(name)
        if self.form.folding is not None and self.form.folding.body.isAncestorOf(box):
            self.form.folding.set_unfolded(True)
        return box

    # --- what the user does --------------------------------------------------------------------------------

    def open_path(
        self,
        path: Path,
        *,
        scan_shape: tuple[int, int] | None = None,
        frames: FrameChoice | None = None,
        dataset: str | None = None,
    ) -> None:
        """Open a file or folder in a worker; what it holds then becomes the Session's."""
        self.opener.open(path, scan_shape=scan_shape, frames=frames, dataset=dataset)

    def _on_open_file(self) -> None:
        path = ask_open_file(self, "Open a 4D-STEM scan, Bragg peaks or a map", start=self._folder())
        if path is not None:
            self.open_path(path)

    def _on_open_folder(self) -> None:
        path = ask_folder(self, "Open a folder (.zarr, .zspy)", start=self._folder())
        if path is not None:
            self.open_path(path)

    def _on_path_entered(self) -> None:
        text = self.path_line.text().strip().strip('"')
        if text:
            self.open_path(Path(text).expanduser())

    def _on_shape_chosen(self) -> None:
        shape = scan_shape_from_text(self.shape_box.currentText())
        if shape is None:
            self.show_message(
                f"{self.shape_box.currentText()!r} is no scan shape: write rows x columns, as in 64 x 48"
            )
            return
        try:
            frames = self.shape_row.frames()
        except ValueError as error:
            self.show_message(f"Lost: {error}")
            return
        path = self.session.request.path
        if path is not None:
            self.open_path(path, scan_shape=shape, frames=frames)

    def _on_frames_asked(self) -> None:
        """Show the shape of the scan that is open, to be changed; or hide it again."""
        shape = self.session.scan_shape
        if not self.shape_row.isHidden() or shape is None:
            self.shape_row.hide()
            return
        self.shape_row.ask_again(shape)

    def _on_dataset_chosen(self, index: int) -> None:
        path = self.session.request.path
        if path is not None:
            self.open_path(path, dataset=self.dataset_box.itemText(index))

    def _on_form_changed(self, calibration: Calibration) -> None:
        self.opener.enter_calibration(calibration)

    # --- what is shown -------------------------------------------------------------------------------------

    def _show_request(self) -> None:
        """Show the file that was chosen last, and what it asks for or how it went."""
        request, before = self.session.request, self._shown
        self._shown = request
        if request.path != before.path:
            self.shape_row.forget_frames()
            self.path_line.setText("" if request.path is None else str(request.path))
        self.dataset_box.clear()
        self.dataset_box.addItems(list(request.datasets))
        self.dataset_box.setCurrentText(request.choice.dataset or next(iter(request.datasets), ""))
        self.dataset_row.setVisible(bool(request.datasets))
        if request.question is not None and request.question is not before.question:
            self.shape_row.ask(request.question)
            self.asks.emit()
        elif request.question is None:
            self.shape_row.setVisible(request.shape_refused)
        self._failed = request.failed
        self.show_message(request.said)

    def _on_source_changed(self) -> None:
        session = self.session
        calibration = session.calibration
        self.form.setVisible(calibration is not None)
        self.form.setEnabled(session.datacube is not None or session.peaks is not None)
        if calibration is not None and calibration != self.form.value:
            self.form.set_value(calibration)
        still = "Still open: " if session.open_needs is not None and session.scan_shape is not None else ""
        said = still + info_text(session), doubts(session.state)
        self.info_label.setText("\n".join(filter(None, said)))
        self.info_label.setVisible(bool(self.info_label.text()))
        cube = session.datacube
        self.frames_button.setVisible(cube is not None and cube.path is not None)
        changeable = self.form.isEnabled()
        self.missing_label.setText(missing_text(calibration) if changeable else "")
        self.missing_label.setVisible(bool(self.missing_label.text()))

    # --- widgets -------------------------------------------------------------------------------------------

    def _path_row(self) -> QHBoxLayout:
        self.path_line = QLineEdit()
        self.path_line.setPlaceholderText("file, or drop one here")
        self.path_line.setToolTip(
            "Path of a 4D-STEM scan, Bragg peaks or an orientation map; Enter opens it."
        )
        self.path_line.returnPressed.connect(self._on_path_entered)
        self.open_button = QPushButton("Open…")
        self.open_button.setToolTip("Choose a file: a 4D-STEM scan, Bragg peaks or an orientation map.")
        self.open_button.clicked.connect(self._on_open_file)
        self.folder_button = QPushButton("Folder…")
        self.folder_button.setToolTip("Choose a scan that is a folder (.zarr, .zspy).")
        self.folder_button.clicked.connect(self._on_open_folder)
        row = QHBoxLayout()
        row.addWidget(self.path_line, 1)
        row.addWidget(self.open_button)
        row.addWidget(self.folder_button)
        return row

    def _dataset_row(self) -> QWidget:
        self.dataset_box = narrow_box()
        self.dataset_box.setToolTip("The file holds several scans: which one to open.")
        self.dataset_box.activated.connect(self._on_dataset_chosen)
        return _row(plain_label("Dataset"), self.dataset_box)

    def _folder(self) -> Path | None:
        path = self.session.request.path
        return None if path is None else path.parent

    def dragEnterEvent(self, event: QDragEnterEvent | None) -> None:  # noqa: N802 - Qt's name
        """Take one file or folder."""
        data = None if event is None else event.mimeData()
        if event is not None and data is not None and any(url.isLocalFile() for url in data.urls()):
            event.acceptProposedAction()

    def dropEvent(self, event: QDropEvent | None) -> None:  # noqa: N802 - Qt's name
        """Open what was dropped."""
        data = None if event is None else event.mimeData()
        if event is None or data is None:
            return
        paths = [Path(url.toLocalFile()) for url in data.urls() if url.isLocalFile()]
        if paths:
            event.acceptProposedAction()
            self.open_path(paths[0])


def scan_shape_from_text(text: str) -> tuple[int, int] | None:
    """Read "64 x 48" (also with ×, * or a comma); None where the text says no scan shape."""
    match = re.fullmatch(r"\s*(\d+)\s*[x×*, ]\s*(\d+)\s*", text)
    if match is None:
        return None
    rows, columns = int(match[1]), int(match[2])
    return (rows, columns) if rows and columns else None


def info_text(session: Session) -> str:
    """Say what is open: name, scan, detector, type and size."""
    if session.datacube is not None:
        cube = session.datacube
        scan, detector = cube.scan_shape, cube.detector_shape
        what = (
            f"{cube.name}: scan {scan[0]} x {scan[1]}, detector {detector[0]} x {detector[1]} px, "
            f"{cube.data.dtype}, {size_text(cube.data.nbytes)}"
        )
        missing = f"{cube.n_missing:,} of {cube.n_positions:,} positions have no pattern."
        return "\n".join([what, *([missing] if cube.n_missing else []), *map(_sentence, cube.notes)])
    if session.peaks is not None:
        scan = session.peaks.scan_shape
        return (
            f"{session.peaks.name}: {session.peaks.n_peaks:,} Bragg peaks on a scan of {scan[0]} x {scan[1]}"
        )
    if session.current_map is not None:
        scan = session.current_map.scan_shape
        return f"orientation map of {scan[0]} x {scan[1]}"
    return ""


def _sentence(note: str) -> str:
    return f"{note[:1].upper()}{note[1:]}{'' if note.endswith('.') else '.'}"


def missing_text(calibration: Calibration | None) -> str:
    """Name what the calibration lacks; empty where nothing is missing."""
    if calibration is None:
        return ""
    missing = list(calibration.missing_for_indexing())
    lines = [f"Missing for indexing: {', '.join(missing)}. Click to fill in."] if missing else []
    if calibration.pixel_size_inv_angstrom is None and calibration.pixel_angle_mrad is not None:
        lines.append(
            f"The file gives {calibration.pixel_angle_mrad:.4g} mrad a pixel: the pixel size follows from the voltage."
        )
    elif calibration.pixel_size_inv_angstrom is None:
        lines.append("The stage Calibrate can find the pixel size from the disks of a known crystal.")
    if calibration.scan_steps_nm is None:
        lines.append("Without a scan step the maps count positions, not nm.")
    return "\n".join(lines)


def size_text(n_bytes: int) -> str:
    """Write a size in the unit that suits it: "62 MB", "10.5 GB"."""
    size = n_bytes / 1000
    for unit in ("kB", "MB"):
        if size < 999.5:
            return f"{size:.3g} {unit}"
        size /= 1000
    return f"{size:.3g} GB"


def _row(*widgets: QWidget) -> QWidget:
    row = QWidget()
    layout = QHBoxLayout(row)
    layout.setContentsMargins(0, 0, 0, 0)
    for widget in widgets:
        layout.addWidget(widget, 1)
    row.hide()
    return row
