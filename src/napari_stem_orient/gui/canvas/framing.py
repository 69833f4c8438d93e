"""Framing: keeps the whole scan in the view of a canvas that napari's docks make narrower."""

from __future__ import annotations

from typing import TYPE_CHECKING
from weakref import ref

from qtpy.QtCore import QTimer

if TYPE_CHECKING:
    import napari

DELAY_MS = 400
"""New layers may bring wider controls, which take the canvas some of its width within this time."""


class Framing:
    """Shows the whole scan, and once more when layers have come; a view that the user has chosen stays.

    Parameters
    ----------
    napari_viewer : its viewer, held weakly
    """

    def __init__(self, napari_viewer: napari.Viewer) -> None:
        self._viewer = ref(getattr(napari_viewer, "__wrapped__", napari_viewer))
        self._framed: tuple[object, ...] = ()
        self._timer = QTimer()
        self._timer.setSingleShot(True)
        self._timer.setInterval(DELAY_MS)
        self._timer.timeout.connect(self._frame_again)

    @property
    def waiting(self) -> bool:
        """Whether the view will be looked at again soon."""
        return self._timer.isActive()

    def frame(self) -> None:
        """Show the whole scan, and remember how that looks."""
        viewer = self._viewer()
        if viewer is not None:
            viewer.reset_view()
            self._framed = _view(viewer)

    def frame_soon(self) -> None:
        """Show the whole scan again when the docks have got their new widths, unless the view is the user's."""
        self._timer.start()

    def stop(self) -> None:
        """Leave the view as it is."""
        self._timer.stop()

    def _frame_again(self) -> None:
        viewer = self._viewer()
        if viewer is not None and self._framed == _view(viewer):
            self.frame()


def _view(viewer: napari.Viewer) -> tuple[object, ...]:
    return (*viewer.scene.camera.center, viewer.scene.camera.zoom, viewer.canvas.grid.enabled)
