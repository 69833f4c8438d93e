"""The methods that index Bragg peaks, each once: its name, title and parameters, and the job that it runs."""

from __future__ import annotations

from collections.abc import Generator, Mapping
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, ClassVar, Protocol

from pydantic import BaseModel

from napari_stem_orient.core.py4dstem_extra import why_no_py4dstem
from napari_stem_orient.indexing.parameters import IndexParameters
from napari_stem_orient.indexing.template_parameters import TemplateMatchingParameters

if TYPE_CHECKING:
    from napari_stem_orient.core.answers import IndexedBlock
    from napari_stem_orient.core.bragg_peaks import BraggPeaks
    from napari_stem_orient.core.crystal import Crystal
    from napari_stem_orient.core.orientation_map import OrientationMap


class MethodName(StrEnum):
    """What a method is called in files, options and recipes."""

    TRANSFORMER = "transformer"
    TEMPLATE = "template"


@dataclass(frozen=True, slots=True, eq=False)
class IndexingRun:
    """What is indexed, and how.

    Attributes
    ----------
    peaks, crystals
        What to index, with what.
    parameters
        An instance of the method's own model.
    models
        Model folders that come before the user's own and the shipped ones; only for methods that use models.
    device
        "auto", "cpu", "cuda" or "mps"; only for methods that use models.
    """

    peaks: BraggPeaks
    crystals: tuple[Crystal, ...]
    parameters: Any
    models: tuple[Path, ...] = ()
    device: str = "auto"


class IndexingMethod(Protocol):
    """A way from Bragg peaks to an orientation map.

    Attributes
    ----------
    name, title, full_title
        In files and options; for the user; and where it is chosen, with whose it is.
    parameters
        The model of its parameters.
    uses_models
        Whether it needs a trained model for every crystal, and a device to run on.
    """

    name: ClassVar[MethodName]
    title: ClassVar[str]
    full_title: ClassVar[str]
    parameters: ClassVar[type[BaseModel]]
    uses_models: ClassVar[bool]

    def lacks(self) -> str:
        """What has to be installed before it can run, and how, in words; "" where nothing has."""
        ...

    def model_identities(self, run: IndexingRun) -> dict[str, dict[str, str]] | None:
        """What a map keeps of each crystal's model; None where the method uses none."""
        ...

    def job(
        self, run: IndexingRun, resume_from: OrientationMap | None
    ) -> Generator[IndexedBlock, None, OrientationMap]:
        """Index what remains of a map, or the whole scan; what is heavy is imported here."""
        ...


class TransformerMethod:
    """The transformer proposes, physics refines and verifies, the neighbours help to choose."""

    name: ClassVar[MethodName] = MethodName.TRANSFORMER
    title: ClassVar[str] = "Transformer"
    full_title: ClassVar[str] = title
    parameters: ClassVar[type[BaseModel]] = IndexParameters
    uses_models: ClassVar[bool] = True

    def lacks(self) -> str:
        """Nothing: torch comes with the package."""
        return ""

    def model_identities(self, run: IndexingRun) -> dict[str, dict[str, str]] | None:
        """Name, weights and version of each crystal's model; ModelError where a crystal has none."""
        from napari_stem_orient.transformer.model_folder import model_identities

        return model_identities(run.crystals, folders=run.models)

    def job(
        self, run: IndexingRun, resume_from: OrientationMap | None
    ) -> Generator[IndexedBlock, None, OrientationMap]:
        """See `index_bragg_peaks`."""
        from napari_stem_orient.indexing.index import index_bragg_peaks

        return index_bragg_peaks(
            run.peaks,
            run.crystals,
            parameters=run.parameters,
            models=run.models,
            device=run.device,
            resume_from=resume_from,
        )


class TemplateMethod:
    """py4DSTEM's template matching, the reference; it runs on the processor."""

    name: ClassVar[MethodName] = MethodName.TEMPLATE
    title: ClassVar[str] = "Template matching"
    full_title: ClassVar[str] = "Template matching (py4DSTEM)"
    parameters: ClassVar[type[BaseModel]] = TemplateMatchingParameters
    uses_models: ClassVar[bool] = False

    def lacks(self) -> str:
        """py4DSTEM, where it is not installed."""
        return why_no_py4dstem()

    def model_identities(self, run: IndexingRun) -> dict[str, dict[str, str]] | None:  # noqa: ARG002 - the protocol's
        """None: every crystal is matched as it is."""
        return None

    def job(
        self, run: IndexingRun, resume_from: OrientationMap | None
    ) -> Generator[IndexedBlock, None, OrientationMap]:
        """See `index_by_template_matching`."""
        from napari_stem_orient.indexing.template_matching import index_by_template_matching

        return index_by_template_matching(
            run.peaks, run.crystals, parameters=run.parameters, resume_from=resume_from
        )


METHODS: Mapping[MethodName, IndexingMethod] = MappingProxyType(
    {MethodName.TRANSFORMER: TransformerMethod(), MethodName.TEMPLATE: TemplateMethod()}
)


def method_title(name: str) -> str:
    """What a method is called for the user; a name that this version does not know as it is."""
    return METHODS[MethodName(name)].title if name in tuple(MethodName) else name
