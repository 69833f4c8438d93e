"""MapLayers: keeps the napari layers of one viewer equal to its Session, and paints blocks as they arrive."""

from __future__ import annotations

import time
from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING
from weakref import WeakKeyDictionary, WeakSet, ref

import numpy as np
from napari.layers import Layer
from numpy.typing import NDArray
from qtpy.QtCore import QTimer

from napari_stem_orient.core.map_kinds import Legend, MapKind, kinds_of, map_kinds
from napari_stem_orient.gui.canvas.dark_field import DarkField
from napari_stem_orient.gui.canvas.framing import Framing
from napari_stem_orient.gui.canvas.layer_removal import remove_layers
from napari_stem_orient.gui.canvas.layers import (
    LayerKind,
    dark_field_of_peaks,
    kind_of_layer,
    layer_identity,
    layer_name,
    layers_of_map,
    make_thumbnail,
    map_layer,
    of_scan,
    paint,
    scan_grid,
    set_grid,
    show_whole,
    take_map,
)
from napari_stem_orient.gui.canvas.layers_button import OfferedLayer, OffersLayers
from napari_stem_orient.gui.canvas.map_pointer import MapPointer
from napari_stem_orient.gui.canvas.own_layers import LayerTuple, add_own, rename_own
from napari_stem_orient.gui.canvas.status_text import StatusText
from napari_stem_orient.gui.canvas.warm_up import start_warm_up
from napari_stem_orient.gui.canvas.world import same_grid
from napari_stem_orient.gui.jobs.connections import Connections
from napari_stem_orient.gui.jobs.one_by_one import OneByOne
from napari_stem_orient.session.state import Stage

if TYPE_CHECKING:
    import napari

    from napari_stem_orient.core.answers import IndexedBlock
    from napari_stem_orient.core.calibration import Calibration
    from napari_stem_orient.core.ipf import SampleDirection
    from napari_stem_orient.core.orientation_map import OrientationMap
    from napari_stem_orient.core.scan_summary import SummaryBlock
    from napari_stem_orient.session.session import Session

REFRESH_INTERVAL_MS = 120
"""Blocks that arrive within this time are painted together; longer where painting takes long itself."""

_SHARE_FOR_PAINTING = 4  # painting takes at most one part in five of the main thread's time


def map_layers_of(napari_viewer: napari.Viewer, session: Session) -> MapLayers:
    """Return the one MapLayers of a viewer, made when first asked for and kept by its Session."""
    if not isinstance(session.painter, MapLayers):
        session.painter = MapLayers(napari_viewer, session)
    return session.painter


class MapLayers:
    """Paints the virtual dark field and the orientation maps of a Session into one viewer.

    Lives in the main thread. It paints and removes only layers that it has made itself: one that the user renames, and
    every duplicate, is the user's. Those that are missing are made again with the next run.

    Parameters
    ----------
    napari_viewer : its viewer, held weakly: a Session may outlive it
    session : what is open and indexed

    Attributes
    ----------
    pointer : the mouse over the maps
    framing : the whole scan in view
    others : that have layers to offer beside the maps
    """

    def __init__(self, napari_viewer: napari.Viewer, session: Session) -> None:
        self._viewer = ref(getattr(napari_viewer, "__wrapped__", napari_viewer))
        self._session = session
        self._dark_field = DarkField(
            napari_viewer, finished=self._of_open_scan, add=partial(self._add_new, index=0)
        )
        self._pending: list[tuple[OrientationMap, NDArray[np.int64]]] = []
        self._painted: dict[str, OrientationMap] = {}
        self._visible_before: WeakKeyDictionary[Layer, bool] = WeakKeyDictionary()  # they stood side by side
        self._timer = QTimer()
        self._timer.setSingleShot(True)
        self._timer.setInterval(REFRESH_INTERVAL_MS)
        self._timer.timeout.connect(self.refresh)
        self._waiting_timer = QTimer()
        self._waiting_timer.setSingleShot(True)
        self._waiting_timer.setInterval(0)
        self._waiting_timer.timeout.connect(self._drop_what_waits)
        self._to_come: OneByOne[tuple[OrientationMap, MapKind]] = OneByOne(self._make_hidden)
        self.framing = Framing(napari_viewer)
        self.others: WeakSet[OffersLayers] = WeakSet()
        self.pointer = MapPointer(napari_viewer, session)
        self._status = StatusText(napari_viewer, session, self.pointer)
        self._connections = Connections()
        self._listen()
        self._show_what_is_there()
        start_warm_up()

    def close(self) -> None:
        """Stop painting; the layers stay as they are."""
        self._to_come.stop()
        self._timer.stop()
        self._waiting_timer.stop()
        self.framing.stop()
        self._connections.disconnect_all()
        self.pointer.close()
        self._status.close()

    def layer(self, key: str, method: str = "") -> Layer | None:
        """Return the layer that shows a kind of map made by a method, or a LayerKind, if it is there."""
        viewer = self._viewer()
        layers = () if viewer is None else viewer.layers
        return next((layer for layer in layers if layer_identity(layer) == (key, method)), None)

    def show_map(self, orientation_map: OrientationMap, kinds: tuple[MapKind, ...] = ()) -> None:
        """Show a map with all that is known so far; layers that are there already take its data.

        A new set of layers begins with its topmost, the out-of-plane map; the rest, hidden in the layer list, comes
        one by one while the window goes on.
        """
        viewer = self._viewer()
        if viewer is None:
            return
        self.refresh()
        method, all_kinds = orientation_map.key, layers_of_map(orientation_map)
        known = {kind.key for kind in kinds_of(orientation_map)}
        self._remove(lambda key, made_by: made_by == method and key not in known)  # of the map before
        self._to_come.keep(lambda waiting: waiting[0].key != method)
        alone = not any(layer_identity(layer) is not None for layer in viewer.layers)
        kinds = kinds or all_kinds
        missing = [kind for kind in kinds if self.layer(kind.key, method) is None]
        for kind in map_kinds():
            layer = self.layer(kind.key, method)
            if layer is not None and (kind in kinds or kind.on_request):
                take_map(layer, self._layer_tuple(orientation_map, kind))
                make_thumbnail(layer)
        self._painted[method] = orientation_map
        if missing:
            topmost, *others = missing
            self._make(orientation_map, topmost, shown=topmost is all_kinds[0] or kinds != all_kinds)
            self._to_come.add((orientation_map, kind) for kind in others)
        if alone and missing:
            self.framing.frame()
        self._name_layers()

    def offered(self) -> list[OfferedLayer]:
        """Return all layers that there could be now, from the topmost down; see `LayersButton`."""
        maps = self._session.orientation_maps
        offers = []
        for method, orientation_map in maps.items():
            for kind in kinds_of(orientation_map):
                title = layer_name(kind, method if len(maps) > 1 else None)
                make = partial(self.show_map, orientation_map, kinds=(kind,))
                offers.append(OfferedLayer(title, self.layer(kind.key, method), make))
        for others in self.others:
            offers += others.offered()
        calibration = self._session.calibration
        if self._dark_field.image is not None and calibration is not None:
            make = partial(self._show_dark_field, calibration)
            offers.append(OfferedLayer(LayerKind.DARK_FIELD.label, self.layer(LayerKind.DARK_FIELD), make))
        return offers

    def show_all(self) -> None:
        """Make at once the layers that would come one by one."""
        self._to_come.do_all()

    def show_ipf(self, direction: SampleDirection) -> None:
        """Show one of the current map's IPF layers instead of the others; IPF-Y is made when first asked for."""
        viewer, current = self._viewer(), self._session.current_map
        if viewer is None or current is None:
            return
        self.show_all()
        directed = [kind for kind in kinds_of(current) if kind.direction is not None]
        for kind in directed:
            wanted = kind.direction == direction
            if wanted and self.layer(kind.key, current.key) is None:
                self.show_map(current, kinds=(kind,))
            layer = self.layer(kind.key, current.key)
            if layer is not None:
                layer.visible = wanted
                if wanted:
                    viewer.layers.selection.active = layer

    def side_by_side(self, shown: bool) -> None:
        """Show out-of-plane, in-plane and phase map of the current run side by side, or one over the other again."""
        viewer, current = self._viewer(), self._session.current_map
        if viewer is None:
            return
        if shown and current is not None:
            self.show_all()
            beside = {
                kind.key for kind in map_kinds() if kind.in_overview and kind.legend is not Legend.COLOUR_BAR
            }
            for layer in viewer.layers:
                identity = layer_identity(layer)
                if identity is not None:
                    self._visible_before.setdefault(layer, bool(layer.visible))
                    layer.visible = identity[1] == current.key and identity[0] in beside
        if not shown:
            for layer in [layer for layer in viewer.layers if layer in self._visible_before]:
                layer.visible = self._visible_before[layer]
            self._visible_before.clear()
        # A negative stride puts the topmost layer, IPF-Z, first.
        viewer.canvas.grid.stride = -1 if shown else 1
        viewer.canvas.grid.enabled = shown
        viewer.reset_view()

    # --- painting ------------------------------------------------------------------------------------------

    def refresh(self) -> None:
        """Paint what has arrived since the last time."""
        self._timer.stop()
        start = time.monotonic()
        if self._dark_field.changed:
            self._dark_field.paint()
        self._paint_pending()
        painting_ms = round(1000 * (time.monotonic() - start))
        self._timer.setInterval(max(REFRESH_INTERVAL_MS, _SHARE_FOR_PAINTING * painting_ms))

    def _paint_pending(self) -> None:
        pending, self._pending = self._pending, []
        maps = {id(orientation_map): orientation_map for orientation_map, _ in pending}
        for key, orientation_map in maps.items():
            positions = np.concatenate([part for source, part in pending if id(source) == key])
            for layer in self._layers_of(orientation_map.key):
                kind = kind_of_layer(layer)
                if kind is not None and layer.data.shape[:2] == orientation_map.scan_shape:
                    paint(layer.data, orientation_map, kind, positions=positions)
                    layer.refresh()

    def _schedule(self) -> None:
        if not self._timer.isActive():
            self._timer.start()

    # --- the Session's signals -----------------------------------------------------------------------------

    def _listen(self) -> None:
        session, connect, watch = self._session, self._connections.connect, self._connections.watch
        watch(session, ("opening",), self._on_datacube_changed)
        watch(session, ("summary", "patterns"), self._on_summary_changed)
        watch(session, ("peaks",), self._on_peaks_changed)
        watch(session, ("calibration",), self._on_calibration_changed)
        watch(session, ("current_result", "results"), self._on_map_changed)
        connect(session.summary_filled, self._on_summary_filled)
        connect(session.map_filled, self._on_map_filled)
        watch(session, ("opening", "runs"), self._on_runs_changed)
        viewer = self._viewer()
        if viewer is not None:
            connect(viewer.canvas.grid.events.enabled, self._on_grid_changed)

    def _on_datacube_changed(self) -> None:
        self._dark_field.forget()
        self._pending.clear()
        self._painted.clear()  # what comes is of another scan, however alike it looks
        self._remove(lambda kind, _: kind == LayerKind.VIRTUAL_IMAGE)  # of the scan before
        self._on_peaks_changed()
        self._drop_stale_maps()

    def _on_summary_filled(self, block: SummaryBlock) -> None:
        datacube = self._session.datacube
        if datacube is None:
            return
        first = self._dark_field.image is None
        self._dark_field.fill(block, datacube.scan_shape)
        if first:
            self._show_dark_field(datacube.calibration)
        else:
            self._schedule()

    def _on_summary_changed(self) -> None:
        datacube, summary = self._session.datacube, self._session.summary
        if summary is None or datacube is None:
            return
        self._dark_field.image = np.array(summary.dark_field, dtype=np.float32)
        self._show_dark_field(datacube.calibration)

    def _on_peaks_changed(self) -> None:
        peaks = self._session.peaks
        if peaks is None or self._session.datacube is not None:
            return
        self._dark_field.image = dark_field_of_peaks(peaks)
        self._show_dark_field(peaks.calibration)

    def _on_calibration_changed(self) -> None:
        """Give every layer the new scan step."""
        viewer, calibration = self._viewer(), self._session.calibration
        if viewer is None or calibration is None:
            return
        grid = scan_grid(calibration)
        ours = [layer for layer in viewer.layers if layer_identity(layer) is not None]
        if all(same_grid(layer, grid) for layer in ours):
            return
        for layer in ours:
            set_grid(layer, grid)
        self.framing.frame()

    def _on_map_filled(self, orientation_map: OrientationMap, block: IndexedBlock) -> None:
        self._pending.append((orientation_map, block.positions))
        self._schedule()

    def _on_map_changed(self) -> None:
        self._drop_stale_maps()
        orientation_map = self._session.current_map
        if orientation_map is None:
            return
        self.refresh()
        for layer in self._layers_of(orientation_map.key):
            show_whole(layer, orientation_map)
            make_thumbnail(layer)
        painted = self._painted.get(orientation_map.key)
        there = self.layer(layers_of_map(orientation_map)[0].key, orientation_map.key) is not None
        if painted is None or not there or not painted.has_same_answers(orientation_map):
            self.show_map(orientation_map)

    def _on_grid_changed(self) -> None:
        """Name the maps where they stand side by side."""
        viewer = self._viewer()
        if viewer is not None:
            for layer in viewer.layers:
                if layer_identity(layer) is not None:
                    layer.name_overlay.visible = viewer.canvas.grid.enabled

    # --- layers --------------------------------------------------------------------------------------------

    def _show_what_is_there(self) -> None:
        session = self._session
        if session.summary is not None:
            self._on_summary_changed()
        else:
            self._on_peaks_changed()
        for orientation_map in session.orientation_maps.values():
            self.show_map(orientation_map)

    def _show_dark_field(self, calibration: Calibration) -> None:
        viewer, layer = self._viewer(), self._dark_field.layer
        if viewer is None:
            return
        alone = not any(layer_identity(other) for other in viewer.layers if other is not layer)
        if self._dark_field.show(calibration) and alone:
            self.framing.frame()

    def take_placeholders(self, metadata: dict[str, dict[str, str]]) -> None:
        """Have a layer that napari was given to have one, by its metadata, wait for the virtual dark field."""
        viewer = self._viewer()
        for layer in [] if viewer is None else list(viewer.layers):
            if layer.metadata == metadata:
                self._dark_field.adopt(layer)

    def _make_hidden(self, waiting: tuple[OrientationMap, MapKind]) -> None:
        """Make one of the layers to come, unless its map was let go, or the viewer closed, meanwhile."""
        viewer, (orientation_map, kind) = self._viewer(), waiting
        if viewer is not None and viewer.layers and orientation_map.key in self._session.orientation_maps:
            self._make(orientation_map, kind, shown=False)

    def _make(self, orientation_map: OrientationMap, kind: MapKind, *, shown: bool) -> None:
        """Make the layer of a map below those of its run that stand above it; one that is not shown is not selected."""
        viewer = self._viewer()
        if viewer is None:
            return
        keys = [each.key for each in map_kinds()]
        above = () if kind.on_request else keys[: keys.index(kind.key)]
        places = [
            viewer.layers.index(layer)
            for layer in self._layers_of(orientation_map.key)
            if (layer_identity(layer) or ("",))[0] in above
        ]
        layer_tuple = self._layer_tuple(orientation_map, kind)
        layer_tuple[1]["visible"] = shown
        active, selected = viewer.layers.selection.active, set(viewer.layers.selection)
        layer = self._add_new(layer_tuple, index=min(places, default=len(viewer.layers)))
        make_thumbnail(layer)
        viewer.layers.selection.active = layer if shown else active
        if not shown and active is None:  # several may be selected, of which none is active
            viewer.layers.selection.update(selected)
        self.pointer.raise_marker()
        self.framing.frame_soon()

    def _layer_tuple(self, orientation_map: OrientationMap, kind: MapKind) -> LayerTuple:
        """What the layer of a map is made of, on the grid of the scan, and of the map only where no scan is open."""
        several = len(self._session.orientation_maps) > 1
        made = map_layer(orientation_map, kind, name_of_result=several)
        made[1].update(scan_grid(self._session.calibration or orientation_map.calibration))
        return self._of_open_scan(made)

    def _of_open_scan(self, layer_tuple: LayerTuple) -> LayerTuple:
        return of_scan(layer_tuple, self._session.source.token)

    def _add_new(self, layer_tuple: LayerTuple, *, index: int) -> Layer:
        viewer = self._viewer()
        assert viewer is not None  # asked for by what is in it
        layer = add_own(viewer, layer_tuple, index=index)
        layer.name_overlay.visible = viewer.canvas.grid.enabled
        kind = kind_of_layer(layer)
        if kind is not None and kind.legend is Legend.COLOUR_BAR:
            layer.colorbar.visible = True  # shown while the layer is
        viewer.canvas.overlays.scale_bar.visible = True
        return layer

    def _layers_of(self, method: str) -> list[Layer]:
        viewer = self._viewer()
        layers = () if viewer is None else viewer.layers
        return [layer for layer in layers if (layer_identity(layer) or ("", ""))[1] == method]

    def _name_layers(self) -> None:
        """Put the names of results into those of layers once there are several; names that the user gave stay."""
        several = len(self._session.orientation_maps) > 1
        for method in self._session.orientation_maps:
            for layer in self._layers_of(method):
                kind = kind_of_layer(layer)
                if kind is not None and layer.name in {layer_name(kind, None), layer_name(kind, method)}:
                    rename_own(layer, layer_name(kind, method if several else None))

    def _drop_stale_maps(self) -> None:
        """Remove the layers of maps that the Session has let go; a map that has come takes its layers over."""
        maps = self._session.orientation_maps
        self._remove(lambda _, name: bool(name) and name not in maps)
        self._name_layers()

    def _on_runs_changed(self) -> None:
        if self._dark_field.waits:
            self._waiting_timer.start()  # another job may begin before this turn of the event loop is over

    def _drop_what_waits(self) -> None:
        """Remove a dark field that waits for something to show, where nothing will come."""
        if self._session.running_job(Stage.OPEN) is None:
            self._dark_field.drop_if_waiting()

    def _remove(self, unwanted: Callable[[str, str], bool]) -> None:
        viewer = self._viewer()
        if viewer is None:
            return
        ours = [(layer, layer_identity(layer)) for layer in viewer.layers]
        remove_layers(viewer, [layer for layer, identity in ours if identity and unwanted(*identity)])
