"""ModelCard: what a model was trained for, how well it did on patterns that it had not seen, and where that ends."""

from __future__ import annotations

from typing import Any

from pydantic import BaseModel, ConfigDict

from napari_stem_orient.core.crystal import Crystal
from napari_stem_orient.transformer.network import TransformerConfig

#: A crystal whose c/a is so much outside the range of a card, as a fraction, is still served.
AXIAL_RATIO_TOLERANCE = 0.01

#: The same for the cell edge of a crystal of the card's structure types.
CELL_EDGE_TOLERANCE = 0.03

#: The outermost disks are often too weak to be seen, in the simulated patterns too: this part of the limit will do.
REACH_TOLERANCE = 0.85

#: A model does well that has a proposal within 5° of the truth for this part of its held-out patterns; shipped ones
#: have one for 67 to 87 %.
PROPOSES_WELL = 0.5

Lines = tuple[tuple[str, str], ...]


class ModelCard(BaseModel):
    """What a model is, what it was trained on, and how well it did on patterns it had not seen.

    Attributes
    ----------
    structure_type, structure_types
        The structure types that the model serves: one, or several; none where it serves its crystals only.
    crystals
        The model's phases, as Crystal.to_dict writes them.
    trained_on
        Names of the crystals that were simulated, where these are more than the phases.
    voltage_kv, lattice_scale_angstrom, q_limit_inv_angstrom
        Lowest and highest that it was trained for; the cell edge is a.
    axial_ratio
        Lowest and highest c/a; None where it is fixed by symmetry, or that of the phases.
    thickness_angstrom
        Thinnest and thickest crystal simulated; None where the patterns were kinematic.
    training
        The training parameters.
    held_out
        Accuracy on simulated patterns that were not trained on, before refinement.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    format_version: int = 1
    name: str
    structure_type: str | None = None
    structure_types: tuple[str, ...] = ()
    crystals: tuple[dict[str, Any], ...]
    trained_on: tuple[str, ...] = ()
    voltage_kv: tuple[float, float]
    lattice_scale_angstrom: tuple[float, float]
    axial_ratio: tuple[float, float] | None = None
    q_limit_inv_angstrom: tuple[float, float]
    thickness_angstrom: tuple[float, float] | None = None
    network: TransformerConfig
    training: dict[str, Any]
    held_out: dict[str, float]
    software_version: str

    @property
    def phases(self) -> tuple[Crystal, ...]:
        """The crystals that the model was trained for."""
        return tuple(Crystal.from_dict(c) for c in self.crystals)

    @property
    def serves(self) -> tuple[str, ...]:
        """The structure types of which the model serves every crystal."""
        one = () if self.structure_type is None else (self.structure_type,)
        return tuple(dict.fromkeys((*one, *self.structure_types)))

    def phase_index(self, crystal: Crystal) -> int | None:
        """Which of the model's phases a crystal is: the same structure type, or the same cell; None if neither."""
        phases = self.phases
        for index, trained in enumerate(phases):
            if _same_structure(crystal, trained):
                return index
        if crystal.structure_type not in self.serves or not self._cell_is_near(crystal):
            return None
        kinds = [trained.structure_type for trained in phases]
        return kinds.index(crystal.structure_type) if crystal.structure_type in kinds else 0

    def _cell_is_near(self, crystal: Crystal) -> bool:
        """Whether cell edge and c/a are in the card's ranges, or so near that the network still proposes well."""
        low, high = self.lattice_scale_angstrom
        near = low * (1 - CELL_EDGE_TOLERANCE) <= crystal.lattice_scale <= high * (1 + CELL_EDGE_TOLERANCE)
        flat, tall = self.axial_ratio or self._axial_ratio_of_phases()
        return near and flat * (1 - AXIAL_RATIO_TOLERANCE) <= crystal.axial_ratio <= tall * (
            1 + AXIAL_RATIO_TOLERANCE
        )

    def _axial_ratio_of_phases(self) -> tuple[float, float]:
        ratios = [trained.axial_ratio for trained in self.phases]
        return min(ratios), max(ratios)

    def summary(self) -> str:
        """One line for the panel and the terminal: name, what for, voltage and cell."""
        scale = f"a {_span(self.lattice_scale_angstrom, 'Å', digits=3)}"
        return f"{self.name}: {self._purpose()}, {_span(self.voltage_kv, 'kV')}, {scale}"

    def _purpose(self) -> str:
        if not self.serves:
            return "for " + ", ".join(str(crystal["name"]) for crystal in self.crystals)
        return f"for {' and '.join(self.serves)} crystals"

    def lines(self) -> Lines:
        """The whole card in words: (title, text) for the panel and the terminal."""
        # The one crystal of a structure type that the network was given says nothing of the range.
        names = self.trained_on or tuple(str(crystal["name"]) for crystal in self.crystals)
        found = [
            ("Made for", self._purpose().removeprefix("for ")),
            ("Trained on", ", ".join(names)),
            ("Voltage", _span(self.voltage_kv, "kV")),
            ("Cell edge a", _span(self.lattice_scale_angstrom, "Å", digits=4)),
            ("c/a", "" if self.axial_ratio is None else _span(self.axial_ratio, "", digits=4)),
            ("Highest q", _span(self.q_limit_inv_angstrom, "1/Å", digits=3)),
            ("Thickness", self._thickness()),
            ("Accuracy", self._accuracy()),
            ("Training", self._training_text()),
            ("Made by", f"version {self.software_version}"),
        ]
        return tuple((title, text) for title, text in found if text)

    def _thickness(self) -> str:
        if self.thickness_angstrom is not None:
            low, high = self.thickness_angstrom
            return _span((low / 10, high / 10), "nm")
        return "kinematic patterns: thin crystals, no multiple scattering"

    def _accuracy(self) -> str:
        """How near the best of the proposals was, before refinement."""
        within = {degrees: self.held_out.get(f"candidate_within_{degrees}_deg") for degrees in (2, 5)}
        parts = [f"within {d}° for {100 * share:.0f} %" for d, share in within.items() if share is not None]
        median = self.held_out.get("candidate_median_deg")
        if median is not None:
            parts.append(f"median {median:.1f}°")
        if not parts:
            return ""
        return (
            f"on simulated patterns not trained on, the best of {self.network.n_candidates} proposals is "
            f"{', '.join(parts)} from the truth, before refinement"
        )

    @property
    def poor_proposals(self) -> str:
        """In words that the model proposes badly, by its own held-out patterns; empty where it does not."""
        near = self.held_out.get("candidate_within_5_deg")
        if near is None or near >= PROPOSES_WELL:
            return ""
        return (
            f"it proposes badly: on simulated patterns that it has not seen, the best of its "
            f"{self.network.n_candidates} proposals is within 5° of the truth for {100 * near:.0f} %; train it longer"
        )

    def _training_text(self) -> str:
        training = self.training
        patterns = f"{training['patterns']:,} " if isinstance(training.get("patterns"), int) else ""
        text = f"{patterns}{training.get('simulation', 'simulated')} patterns"
        minutes = training.get("minutes_done")
        return f"{text}, {minutes:.0f} min" if isinstance(minutes, int | float) else text


def outside_trained_range(
    card: ModelCard,
    crystal: Crystal,
    *,
    voltage_kv: float | None = None,
    q_limit_inv_angstrom: float | None = None,
) -> tuple[str, ...]:
    """Say in plain words where a crystal and a measurement lie outside what a model was trained for.

    Parameters
    ----------
    card
        Of the model.
    crystal
        That it shall index; its cell edge and c/a are compared.
    voltage_kv
        Of the measurement; not compared where None.
    q_limit_inv_angstrom
        How far out disks are seen, in Å⁻¹; not compared where None. Beyond the highest limit nothing is lost:
        indexing leaves those disks out.

    Returns
    -------
    One sentence part for each, such as "voltage 60 kV; the model was trained for 80 to 300 kV"; empty inside.
    """
    found = []
    if voltage_kv is not None and not _inside(voltage_kv, card.voltage_kv):
        found.append(_outside("voltage", f"{voltage_kv:g} kV", _span(card.voltage_kv, "kV")))
    if not _inside(crystal.lattice_scale, card.lattice_scale_angstrom):
        span = _span(card.lattice_scale_angstrom, "Å", digits=4)
        found.append(_outside(f"cell edge of {crystal.name}", f"{crystal.lattice_scale:.4g} Å", span))
    if card.axial_ratio is not None and not _inside(crystal.axial_ratio, card.axial_ratio):
        span = _span(card.axial_ratio, "", digits=4)
        found.append(_outside(f"c/a of {crystal.name}", f"{crystal.axial_ratio:.4g}", span))
    shortest = REACH_TOLERANCE * card.q_limit_inv_angstrom[0]
    if q_limit_inv_angstrom is not None and q_limit_inv_angstrom < shortest:
        seen = f"to {q_limit_inv_angstrom:.2g} 1/Å only"
        found.append(_outside("disks seen", seen, _span(card.q_limit_inv_angstrom, "1/Å", digits=3)))
    return tuple(found)


def _outside(what: str, value: str, span: str) -> str:
    return f"{what} {value}; the model was trained for {span}"


def _inside(value: float, limits: tuple[float, float]) -> bool:
    """Whether a value is inside, but for a thousandth: models of one crystal have its own cell as both limits."""
    low, high = limits
    return 0.999 * low <= value <= 1.001 * high


def _span(limits: tuple[float, float], unit: str, *, digits: int = 6) -> str:
    """Return "80 to 300 kV", or "3.61 Å" where both are equal."""
    low, high = (f"{value:.{digits}g}" for value in limits)
    return (low if low == high else f"{low} to {high}") + (f" {unit}" if unit else "")


def _same_structure(a: Crystal, b: Crystal) -> bool:
    """Same space group and contents, cells within 2 % and 1°: the card's scale takes up the rest."""
    if a.space_group != b.space_group or a.formula != b.formula:
        return False
    lengths = all(abs(x / y - 1) < 0.02 for x, y in zip(a.lattice[:3], b.lattice[:3], strict=True))
    return lengths and all(abs(x - y) < 1 for x, y in zip(a.lattice[3:], b.lattice[3:], strict=True))
