"""The dock "Virtual detectors": detectors drawn on the pattern, their images as layers, and the pattern of a region."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from qtpy.QtCore import QSize, Qt
from qtpy.QtGui import QResizeEvent
from qtpy.QtWidgets import QCheckBox, QFrame, QHBoxLayout, QPushButton, QScrollArea, QVBoxLayout, QWidget

from napari_stem_orient.gui.canvas.map_layers import map_layers_of
from napari_stem_orient.gui.jobs.connections import when_destroyed
from napari_stem_orient.gui.jobs.throttle import Throttle
from napari_stem_orient.gui.jobs.workers import plain_job
from napari_stem_orient.gui.parts.file_dialogs import ask_save_file
from napari_stem_orient.gui.parts.missing_values import stage_words
from napari_stem_orient.gui.parts.panel import plain_label
from napari_stem_orient.gui.parts.stage_panel import JobPanel
from napari_stem_orient.gui.parts.theme_colours import theme_colours
from napari_stem_orient.gui.virtual.detector_list import DetectorListView
from napari_stem_orient.gui.virtual.detectors import DetectorEntry, virtual_detectors_of
from napari_stem_orient.gui.virtual.form import DetectorForm
from napari_stem_orient.gui.virtual.imager import VirtualImager
from napari_stem_orient.gui.virtual.jobs import beam_radius_px, origin_at, scan_origins
from napari_stem_orient.gui.virtual.layers import VirtualLayers
from napari_stem_orient.gui.virtual.pattern import PatternChooser
from napari_stem_orient.gui.virtual.text import missing_text, summary_text
from napari_stem_orient.gui.virtual.view import DetectorView
from napari_stem_orient.virtual.detector import (
    VirtualDetector,
    annular_dark_field,
    bright_field,
    reach_px,
    reflection_near,
)

if TYPE_CHECKING:
    import napari


LIVE_BYTES = 512 * 2**20
"""Images of scans up to this size are computed anew while a detector is moved, unless the user switches that off."""

DRAW_INTERVAL_MS = 50

SMALLEST = (350, 130)  # below two other docks on a small screen
GAP = 1.5  # of the dark field's inner radius to that of the direct beam
GAMMA = 0.25
FILES = "Virtual images (*.h5 *.tif *.npy)"


class VirtualWidget(JobPanel):
    """Draws virtual detectors over a pattern and computes their images; a panel of its own beside the stages.

    Parameters
    ----------
    napari_viewer
        The viewer that the images go into.
    """

    def __init__(self, napari_viewer: napari.Viewer) -> None:
        super().__init__(napari_viewer)
        maps = map_layers_of(napari_viewer, self.session)
        self.detectors = virtual_detectors_of(self.session)
        self.layers = VirtualLayers(napari_viewer, maps.framing)
        self.imager = VirtualImager(self, self.detectors, self.layers)
        maps.others.add(self.imager)
        self.chooser = PatternChooser(self)
        self.view = DetectorView()
        self.title_label = plain_label()
        self.missing_label = self.link_label(stage_words())
        self.list_view = DetectorListView(self.detectors, self._connections, describe=self._summary)
        self.form = DetectorForm(self.detectors, self._connections)
        self._draw_soon = Throttle(self._draw, interval_ms=DRAW_INTERVAL_MS, parent=self)
        self._fill_scroll_area()
        self._listen()
        when_destroyed(self, VirtualLayers.close, self.layers)
        self._on_theme_changed()
        self._on_datacube_changed()

    def sizeHint(self) -> QSize:  # noqa: N802 - Qt's name
        """As high as the pattern and the list, where there is room."""
        return QSize(SMALLEST[0] + 20, 760)

    def resizeEvent(self, event: QResizeEvent | None) -> None:  # noqa: N802 - Qt's name
        """Keep the picture no higher than wide: the pattern keeps its proportions."""
        self.view.setMaximumHeight(max(self.view.minimumHeight(), self.width()))
        super().resizeEvent(event)

    def _listen(self) -> None:
        self.chooser.changed.connect(self._draw_soon)
        self.imager.changed.connect(self._refresh)
        self.view.dragged.connect(self.detectors.change)
        self.view.picked.connect(self.detectors.select)
        self.view.place_clicked.connect(self._on_place_clicked)
        for signal in (self.detectors.listed, self.detectors.selection_changed):
            self.listen(signal, self._on_listed)
        self.listen(self.detectors.changed, self._on_detector_changed)
        self.watch(("opening",), self._on_datacube_changed)
        self.watch(("peaks", "calibration", "detector_mask"), self._on_surroundings_changed)
        self._connections.connect(self.viewer.events.theme, self._on_theme_changed)

    # --- detectors -----------------------------------------------------------------------------------------

    def _on_bright_field(self) -> None:
        self._add(bright_field(round(beam_radius_px(self.session), 2)))

    def _on_dark_field(self) -> None:
        scan, origins = self.session.datacube, scan_origins(self.session)
        if scan is None or origins is None:
            return
        inner = round(GAP * beam_radius_px(self.session) + 1, 1)
        outer = reach_px(scan.detector_shape, origin_at(origins, None, scan.scan_shape))
        self._add(annular_dark_field(inner, round(max(outer, inner + 1), 1)))

    def _on_disk_toggled(self, asking: bool) -> None:
        self.view.ask_for_a_place(asking)
        self.show_message("Click a reflection in the pattern." if asking else "")

    def _on_place_clicked(self, row: float, column: float) -> None:
        """Put a disk on the reflection that was clicked."""
        origin, pattern = self.chooser.origin_px, self.chooser.pattern
        if origin is None:
            return
        radius = beam_radius_px(self.session)
        if pattern is not None:
            row, column = reflection_near(pattern, (row, column), radius_px=radius)
        centre = (round(row - origin[0], 2), round(column - origin[1], 2))
        self._add(VirtualDetector(name="Disk", centre_px=centre, outer_radius_px=round(radius, 2)))
        self.disk_button.setChecked(False)

    def _add(self, detector: VirtualDetector) -> None:
        self.imager.want(self.detectors.add(detector).key)

    def _on_remove(self) -> None:
        selected = self.detectors.selected
        if selected is not None:
            self.detectors.remove(selected.key)

    def _on_listed(self, _: object = None) -> None:
        self._draw_soon()
        self._refresh()

    def _on_detector_changed(self, entry: DetectorEntry) -> None:
        self.layers.rename(entry.key, entry.detector.name)
        self._draw_soon()
        self._refresh()
        if not self.imager.up_to_date(entry):
            self.imager.want(entry.key)

    def _on_live_toggled(self, live: bool) -> None:
        self.imager.live = live

    # --- files ---------------------------------------------------------------------------------------------

    def _on_save(self) -> None:
        from napari_stem_orient.io.virtual_files import save_virtual_images

        images, scan = self.imager.images(), self.session.datacube
        if images is None or scan is None:
            self.show_message("There is no image that is up to date: press Compute images first.")
            return
        folder = Path() if scan.path is None else scan.path.parent
        start = folder / f"{Path(scan.name).stem}_virtual.h5"
        path = ask_save_file(self, "Save virtual images", start=start, kinds=FILES)
        if path is not None:
            self.run(
                plain_job(partial(save_virtual_images, images, path, overwrite=True)),
                title=f"Saving {path.name}",
                on_done=lambda _: self.show_message(f"Saved {path.name}."),
            )

    # --- what changes --------------------------------------------------------------------------------------

    def _on_datacube_changed(self) -> None:
        datacube = self.session.datacube
        self.imager.forget()
        self.disk_button.setChecked(False)
        carried = datacube is not None and bool(self.detectors.entries)
        self.show_message("Detectors as in the last scan." if carried else "")
        self.live_box.setChecked(datacube is not None and datacube.data.nbytes <= LIVE_BYTES)
        self._on_surroundings_changed()

    def _on_surroundings_changed(self) -> None:
        """Where the beam is, what a pixel measures or which pixels count has changed."""
        self.imager.compare_surroundings()
        self._draw_soon()
        self._refresh()

    def _on_theme_changed(self) -> None:
        self.view.apply_theme(theme_colours(self.viewer))

    # --- drawing -------------------------------------------------------------------------------------------

    def _draw(self) -> None:
        """Draw pattern and detectors, so that they always belong together."""
        session, chooser = self.session, self.chooser
        self.title_label.setText(chooser.title)
        self.title_label.setVisible(chooser.title != chooser.source.value)
        self.view.setVisible(session.datacube is not None)
        origin, scan = chooser.origin_px, session.datacube
        if origin is None or scan is None:
            self.view.set_pattern(None)
            return
        self.view.set_intensity_scale(chooser.intensity_scale, gamma=GAMMA)
        self.view.set_frame(
            origin_px=origin,
            pixel_size_inv_angstrom=scan.calibration.pixel_size_inv_angstrom,
            detector_shape=scan.detector_shape,
        )
        self.view.set_pattern(chooser.pattern)
        selected = self.detectors.selected
        self.view.set_entries(self.detectors.entries, selected=None if selected is None else selected.key)

    def _refresh(self) -> None:
        """Bring buttons, notes and fields in line with the detectors and the scan."""
        scan, origins = self.session.datacube, scan_origins(self.session)
        entries = self.detectors.entries
        for widget in (*self._preset_buttons, self.chooser, self.live_box):
            widget.setEnabled(scan is not None)
        self.remove_button.setEnabled(self.detectors.selected is not None)
        self.compute_button.setEnabled(scan is not None and bool(entries))
        self.save_button.setEnabled(any(map(self.imager.up_to_date, entries)))
        if scan is not None and origins is not None:
            beam = origin_at(origins, None, scan.scan_shape)
            self.form.set_surroundings(scan.calibration, beam, beam_moves=origins.ndim == 2)
        self.missing_label.setText(missing_text(None if scan is None else scan.calibration))
        self.missing_label.setVisible(scan is None or (bool(entries) and bool(self.missing_label.text())))
        self.list_view.set_notes({entry.key: self.imager.note(entry) for entry in entries})

    def _summary(self, entry: DetectorEntry) -> str:
        return summary_text(entry.detector, self.session.calibration)

    # --- widgets -------------------------------------------------------------------------------------------

    def _fill_scroll_area(self) -> None:
        """Everything but the row that runs, its bar and message scrolls: a window must not outgrow its screen."""
        self.view.setMinimumHeight(260)
        inside = QWidget()
        column = QVBoxLayout(inside)
        column.setContentsMargins(0, 0, 4, 0)
        column.setSpacing(4)
        column.addWidget(self.chooser)
        column.addWidget(self.title_label)
        column.addWidget(self.view, 1000)
        column.addLayout(self._preset_row())
        column.addWidget(self.list_view)
        column.addWidget(self.form)
        column.addWidget(self.missing_label)
        column.addStretch(1)
        area = QScrollArea()
        area.setWidgetResizable(True)
        area.setFrameShape(QFrame.Shape.NoFrame)
        area.setHorizontalScrollBarPolicy(Qt.ScrollBarPolicy.ScrollBarAlwaysOff)
        area.setWidget(inside)
        area.setMinimumSize(*SMALLEST)
        self.content.addWidget(area)
        self.content.addLayout(self._run_row())
        layout = self.layout()
        assert isinstance(layout, QVBoxLayout)
        layout.setStretchFactor(self.content, 1000)  # the empty room below belongs to the pattern

    def _preset_row(self) -> QHBoxLayout:
        self.bright_button = self._button(
            "Bright field", "Add a disk on the direct beam, of its radius.", self._on_bright_field
        )
        self.dark_button = self._button(
            "Dark field",
            "Add an annulus around the direct beam, from one and a half of its radius to the edge of the detector.",
            self._on_dark_field,
        )
        self.disk_button = QPushButton("Disk")
        self.disk_button.setCheckable(True)
        self.disk_button.setToolTip("Add a disk on a reflection: press, then click the reflection.")
        self.disk_button.toggled.connect(self._on_disk_toggled)
        self.remove_button = self._button("Remove", "Remove the selected detector.", self._on_remove)
        self._preset_buttons = (self.bright_button, self.dark_button, self.disk_button)
        row = QHBoxLayout()
        for button in (*self._preset_buttons, self.remove_button):
            row.addWidget(button)
        return row

    def _run_row(self) -> QHBoxLayout:
        self.compute_button = self._button(
            "Compute images",
            "Count all detectors in one pass over the scan; images are layers.",
            self.imager.compute_all,
        )
        self.live_box = QCheckBox("Live")
        self.live_box.toggled.connect(self._on_live_toggled)
        self.live_box.setToolTip(
            "Compute the image of a detector anew whenever it is added, moved or resized."
        )
        self.save_button = self._button(
            "Save…", "Save the images that are up to date: .h5 (py4DSTEM), .tif or .npy.", self._on_save
        )
        row = QHBoxLayout()
        row.addWidget(self.compute_button, 2)
        row.addWidget(self.live_box)
        row.addWidget(self.save_button, 1)
        return row

    def _button(self, words: str, tooltip: str, slot: Callable[[], None]) -> QPushButton:
        button = QPushButton(words)
        button.setToolTip(tooltip)
        button.clicked.connect(slot)
        return button
