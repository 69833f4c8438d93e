"""A scan read into a Session, as the Open stage does it, without its window."""

from __future__ import annotations

from napari_stem_orient.core.datacube import DataCube
from napari_stem_orient.core.scan_summary import summarise
from napari_stem_orient.session.session import Session


def read_scan(session: Session, datacube: DataCube) -> None:
    """Open a scan and take in its summary."""
    session.set_datacube(datacube)
    job = summarise(datacube)
    while True:
        try:
            session.fill_summary(next(job))
        except StopIteration as finished:
            session.set_summary(finished.value)
            return
