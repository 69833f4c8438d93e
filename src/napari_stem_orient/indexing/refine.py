"""Candidates -> refined orientations and verification scores, batched over patterns and candidates.

Every measured disk lies on the Ewald sphere, so its position gives a full scattering vector; turned into the crystal
and rounded to the lattice it gets a hkl. The rotation is then refined in two alternating ways: positions fix the
in-plane angle (and, through the excitation error of the disks that are there, a first tilt); intensities over all
reflections, those missing among them, fix the tilt. The score says how well the simulation explains the measurement.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from napari_stem_orient.core.crystal import Crystal
from napari_stem_orient.indexing.candidates import taken
from napari_stem_orient.indexing.refinement_parameters import RefinementParameters
from napari_stem_orient.simulation.kinematic import KinematicSimulator, excitation_error

#: Weakest reflection, relative to the strongest of the crystal, that a disk may be given to.
WEAKEST_REFLECTION = 1e-5

#: Reflections fainter than this, relative to the strongest of the crystal, are not missed where they are not seen.
FAINTEST_MISSED = 2e-3

#: Tilts are fitted three times: with the excitation width of the parameters, and with these parts of it.
NARROWINGS = (0.5, 0.3)

#: How far the scale of a pattern, and its origin in x and in y (Å⁻¹), may well be off.
CALIBRATION_WIDTHS = (0.01, 0.01, 0.01)

#: A tilt is fitted to the reflections nearest to the Ewald sphere, so many or as many as lie within so many excitation
#: widths of it: the others stay dark within the fit's reach.
NEARBY_REFLECTIONS = 96
NEARBY_WIDTHS = 4.0

#: A disk counts as a reflection within this part of the shortest reciprocal lattice vector, or less.
TOLERANCE_PART = 0.1

#: Position tolerance in Å⁻¹ where none is given and no scan was looked at.
DEFAULT_TOLERANCE = 0.05

#: How far off a proposed candidate may well be, in radians (some 11°).
CANDIDATE_WIDTH_RAD = 0.2


@dataclass(frozen=True, slots=True)
class Assignment:
    """Which reflection each measured disk is, for every candidate.

    reflection (B, K, N) index into the simulator's list, -1 where there is none; offset (B, K, N, 3) from the measured
    vector to the reflection in Å⁻¹ (x, y in the plane; z along the beam); vector (B, K, N, 3) of the reflection in the
    sample frame.
    """

    reflection: Tensor
    offset: Tensor
    vector: Tensor


@dataclass(frozen=True, slots=True)
class _Nearby:
    """Reflections (B, K, M') of a tilt fit.

    g (B, K, M', 3) in Å⁻¹ in the crystal; amplitude and measured (B, K, M'), intensities to the fit's exponent.
    """

    g: Tensor
    amplitude: Tensor
    measured: Tensor

    def take(self, index: Tensor) -> _Nearby:
        """Those of candidates (B, k)."""
        return _Nearby(taken(self.g, index), taken(self.amplitude, index), taken(self.measured, index))


class PatternFitter:
    """Fits orientations of one crystal to measured disks.

    Parameters
    ----------
    crystal
    voltage_kv
        Accelerating voltage in kV.
    q_limit
        Reflections beyond this, in Å⁻¹, cannot be seen by the detector.
    parameters
    precession_angle_deg
    device
        Memory: about 60 bytes for each pattern, candidate and reflection.
    """

    def __init__(
        self,
        crystal: Crystal,
        *,
        voltage_kv: float,
        q_limit: float,
        parameters: RefinementParameters,
        precession_angle_deg: float = 0.0,
        device: torch.device,
    ) -> None:
        self.parameters = parameters
        # Precession sweeps the Ewald sphere through the reflections: to first order, a wider shape factor.
        self._sweep = float(0.5 * q_limit * np.sin(np.deg2rad(precession_angle_deg)))
        self.excitation_width = self.swept_width(parameters.excitation_width)
        simulator = KinematicSimulator(
            crystal,
            voltage_kv=voltage_kv,
            q_max=q_limit,
            excitation_width=self.excitation_width,
            device=device,
        )
        self.crystal = crystal
        self.q_limit = q_limit
        self.wavelength = simulator.wavelength
        self.g = simulator.g
        self.strength = simulator.strength.clamp_min(WEAKEST_REFLECTION)
        self._expected = self.strength > FAINTEST_MISSED
        self.largest_tolerance = TOLERANCE_PART * float(torch.linalg.vector_norm(self.g, dim=1).min())
        self.set_position_tolerance(parameters.position_tolerance or DEFAULT_TOLERANCE)
        # Dot products with primitive lattice vectors are integers for allowed reflections, and for no other.
        self._to_indices = torch.as_tensor(crystal.primitive_basis, dtype=torch.float32, device=device)
        indices = torch.round(self.g @ self._to_indices.T).long()
        self._reach = int(indices.abs().max()) + 1
        side = 2 * self._reach + 1
        table = torch.full((side**3,), -1, dtype=torch.long, device=device)
        table[self._flat(indices)] = torch.arange(len(indices), device=device)
        self._table = table

    def set_position_tolerance(self, tolerance: float) -> None:
        """Let disks count as a reflection within this distance in Å⁻¹, or within what the lattice allows."""
        self.position_tolerance = min(tolerance, self.largest_tolerance)

    def _flat(self, indices: Tensor) -> Tensor:
        side = 2 * self._reach + 1
        shifted = indices.clamp(-self._reach, self._reach) + self._reach
        return (shifted[..., 0] * side + shifted[..., 1]) * side + shifted[..., 2]

    def swept_width(self, width: float) -> float:
        """Excitation width in Å⁻¹ with the precession's sweep added."""
        return float(np.hypot(width, self._sweep))

    @property
    def n_reflections(self) -> int:
        """Number of reflections that a pattern may have."""
        return len(self.g)

    def assign(self, rotation: Tensor, q: Tensor) -> Assignment:
        """Index the disks q (B, N, 2), or (B, K, N, 2), under rotations (B, K, 3, 3), sample to crystal."""
        measured = self._on_ewald_sphere(q if q.dim() == 4 else q[:, None])  # (B, 1 or K, N, 3)
        in_crystal = measured @ rotation.transpose(-1, -2)
        indices = torch.round(in_crystal @ self._to_indices.T).long()
        reflection = self._table[self._flat(indices)]
        vector = self.g[reflection.clamp_min(0)] @ rotation
        return Assignment(reflection, vector - measured, vector)

    def _on_ewald_sphere(self, q: Tensor) -> Tensor:
        squared = (q * q).sum(-1, keepdim=True)
        k = 1.0 / self.wavelength
        return torch.cat([q, torch.sqrt((k * k - squared).clamp_min(0.0)) - k], dim=-1)

    def fit_positions(self, rotation: Tensor, q: Tensor, weight: Tensor) -> Tensor:
        """Rotations (B, K, 3, 3) moved toward the disks q (B, N, 2) of weight (B, N) by Gauss-Newton steps."""
        p = self.parameters
        moved = rotation.new_zeros(*rotation.shape[:2], 3)
        for step in range(p.position_steps):
            # Wide at first, to catch candidates that are some degrees off.
            tolerance = self.position_tolerance * max(0.5, 2.0 * 0.6**step)
            assignment = self.assign(rotation, q)
            distance = (assignment.offset[..., :2] ** 2).sum(-1) / tolerance**2
            depth = assignment.offset[..., 2] ** 2 / (1.5 * self.excitation_width) ** 2
            robust = weight[:, None] / ((1 + distance) ** 2 * (1 + depth))
            robust = robust * (assignment.reflection >= 0)
            scale = rotation.new_tensor([1 / tolerance**2, 1 / tolerance**2, 1 / self.excitation_width**2])
            turn = _gauss_newton_turn(assignment.vector, assignment.offset, robust, scale, moved)
            moved = moved + turn
            rotation = rotation @ rotation_from_vector(-turn)
        return rotation

    def explains(self, assignment: Assignment, *, within: float, depth: float) -> Tensor:
        """Which disks (B, K, N) have their reflection ``within`` a distance in the plane and ``depth`` along the beam.

        Both in Å⁻¹; precession widens the depth.
        """
        near = torch.linalg.vector_norm(assignment.offset[..., :2], dim=-1) < within
        near = near & (assignment.offset[..., 2].abs() < self.swept_width(depth))
        explained: Tensor = near & (assignment.reflection >= 0)
        return explained

    def corrected(self, rotation: Tensor, q: Tensor, weight: Tensor) -> Tensor:
        """Disks (B, K, N, 2) with the scale and origin that fit their reflections best under each candidate.

        Linear least squares for one scale and one shift of disks q (B, N, 2) of weight (B, N), held by priors of
        CALIBRATION_WIDTHS: few disks change little.
        """
        assignment = self.assign(rotation, q)
        offset = assignment.offset[..., :2]
        distance = (offset * offset).sum(-1) / self.position_tolerance**2
        robust = weight[:, None] / (1 + distance) ** 2 * (assignment.reflection >= 0)
        # Disks scatter by a quarter of the tolerance.
        robust = (
            robust / weight.amax(dim=1).clamp_min(1e-12)[:, None, None] * (4 / self.position_tolerance) ** 2
        )
        columns = torch.zeros(
            *q.shape, 3, dtype=q.dtype, device=q.device
        )  # (B, N, 2, 3): scale, shift x, shift y
        columns[..., 0] = q
        columns[..., 0, 1] = columns[..., 1, 2] = 1.0
        normal = torch.einsum("bkn,bnij,bnil->bkjl", robust, columns, columns)
        right = torch.einsum("bkn,bnij,bkni->bkj", robust, columns, offset)
        prior = torch.diag(1 / torch.square(q.new_tensor(CALIBRATION_WIDTHS)))
        change = torch.linalg.solve(normal + prior, right)  # (B, K, 3)
        fitted: Tensor = q[:, None] * (1 + change[..., None, :1]) + change[..., None, 1:]
        return fitted

    def fit_tilt(self, rotation: Tensor, q: Tensor, intensity: Tensor) -> Tensor:
        """Rotations (B, K, 3, 3) tilted so that simulated intensities fit those of the disks (B, N).

        A wide excitation error catches, a narrow one is precise, and which is right depends on the thickness: after
        the first fit the ``n_refined`` best candidates are fitted with narrower ones, and each keeps what fits best.
        """
        parameters = self.parameters
        nearby = self._nearby(rotation, q, intensity)
        rotation, cosine = self._tilted(rotation, nearby, width=self.excitation_width)
        best = cosine.topk(min(parameters.n_refined, cosine.shape[1]), dim=1).indices
        trial, highest, nearby = taken(rotation, best), taken(cosine, best), nearby.take(best)
        kept = trial
        for narrowing in NARROWINGS:
            width = self.swept_width(narrowing * parameters.excitation_width)
            trial, cosine = self._tilted(trial, nearby, width=width)
            better = cosine > highest
            kept = torch.where(better[..., None, None], trial, kept)
            highest = torch.maximum(cosine, highest)
        return rotation.scatter(1, best[..., None, None].expand(-1, -1, 3, 3), kept)

    def _nearby(self, rotation: Tensor, q: Tensor, intensity: Tensor) -> _Nearby:
        """The reflections nearest to the Ewald sphere for rotations (B, K, 3, 3), and what was measured at them."""
        exponent = self.parameters.intensity_exponent
        measured = self.measured_amplitudes(
            self.assign(rotation, q), intensity, exponent=exponent, width=self.excitation_width
        )
        _, s = self.reflections(rotation)
        number = int((s.abs() < NEARBY_WIDTHS * self.excitation_width).sum(dim=-1).amax())
        number = min(max(NEARBY_REFLECTIONS, number), self.n_reflections)
        index = s.abs().topk(number, dim=-1, largest=False).indices
        amplitude = self.strength**exponent * self._expected
        return _Nearby(self.g[index], amplitude[index], measured.gather(2, index))

    def _tilted(self, rotation: Tensor, nearby: _Nearby, *, width: float) -> tuple[Tensor, Tensor]:
        """Rotations (B, K, 3, 3) fitted to the amplitudes of reflections nearby, and how well they fit them (B, K)."""
        exponent = self.parameters.intensity_exponent

        def simulated(rotation: Tensor) -> tuple[Tensor, Tensor, Tensor]:
            g = nearby.g @ rotation
            s = excitation_error(g, self.wavelength)
            return g, s, nearby.amplitude * torch.exp(-0.5 * exponent * torch.square(s / width))

        for _ in range(self.parameters.tilt_steps):
            g, s, model = simulated(rotation)
            scale = (nearby.measured * model).sum(-1) / (model * model).sum(-1).clamp_min(1e-12)
            slope = -exponent * s / width**2 * model * scale[..., None]
            # g turns by t: s changes by -(t_x g_y - t_y g_x).
            d_x, d_y = -slope * g[..., 1], slope * g[..., 0]
            turn = _solve_tilt(d_x, d_y, model, nearby.measured - scale[..., None] * model)
            rotation = rotation @ rotation_from_vector(-turn)
        model = simulated(rotation)[2]
        norm = torch.linalg.vector_norm(model, dim=-1) * torch.linalg.vector_norm(nearby.measured, dim=-1)
        return rotation, (nearby.measured * model).sum(-1) / norm.clamp_min(1e-12)

    def reflections(self, rotation: Tensor) -> tuple[Tensor, Tensor]:
        """All reflections in the sample frame (B, K, M, 3) and their excitation errors (B, K, M), Å⁻¹."""
        g = self.g @ rotation
        return g, excitation_error(g, self.wavelength)

    def model_amplitudes(self, s: Tensor, *, exponent: float, width: float) -> Tensor:
        """Simulated intensities to the power ``exponent`` (B, K, M) for excitation errors s and their width."""
        shape = torch.exp(-0.5 * exponent * torch.square(s / width))
        return self.strength**exponent * self._expected * shape

    def measured_amplitudes(
        self, assignment: Assignment, intensity: Tensor, *, exponent: float, width: float
    ) -> Tensor:
        """Intensities to the power ``exponent`` (B, K, M) of the measured disks, each at its reflection."""
        amplitude = intensity.clamp_min(0.0)[:, None] ** exponent
        distance = (assignment.offset[..., :2] ** 2).sum(-1) / self.position_tolerance**2
        near = torch.exp(-0.5 * distance) * (assignment.offset[..., 2].abs() < 4 * width)
        near = near * (assignment.reflection >= 0)
        out = amplitude.new_zeros(*near.shape[:2], self.n_reflections)
        return out.scatter_reduce_(
            2, assignment.reflection.clamp_min(0), amplitude * near, reduce="amax", include_self=True
        )

    def score(self, rotation: Tensor, q: Tensor, intensity: Tensor) -> Tensor:
        """Cosine similarity (B, K), 0 to 1, of measured and simulated amplitudes of disks (B, N).

        Measured disks that no reflection explains and predicted reflections that were not measured both lower it.
        """
        _, s = self.reflections(rotation)
        return self.similarity(
            self.assign(rotation, q),
            s,
            intensity,
            exponent=self.parameters.intensity_exponent,
            width=self.excitation_width,
        )

    def similarity(
        self, assignment: Assignment, s: Tensor, intensity: Tensor, *, exponent: float, width: float
    ) -> Tensor:
        """The cosine similarity (B, K) for one power of the intensities and one excitation width in Å⁻¹."""
        measured = self.measured_amplitudes(assignment, intensity, exponent=exponent, width=width)
        model = self.model_amplitudes(s, exponent=exponent, width=width)
        everything = (intensity.clamp_min(0.0) ** (2 * exponent)).sum(-1)
        norm = torch.sqrt(everything[:, None] * (model * model).sum(-1)).clamp_min(1e-12)
        return (measured * model).sum(-1) / norm


def _gauss_newton_turn(
    vector: Tensor, offset: Tensor, weight: Tensor, scale: Tensor, moved: Tensor
) -> Tensor:
    """Rotation vector (B, K, 3) t that minimises sum w |offset + t x vector|² in the metric ``scale`` (3,).

    Disks of a single row say nothing of the tilt about it: a prior of width CANDIDATE_WIDTH_RAD about the candidate,
    from which the rotation has ``moved`` (B, K, 3) so far, keeps it there.
    """
    # Columns: the change of the vector by a turn about x, y, z.
    jacobian = torch.stack(
        [torch.linalg.cross(unit.expand_as(vector), vector) for unit in torch.eye(3, device=vector.device)],
        dim=-1,
    )
    weighted = jacobian * (weight[..., None] * scale)[..., None]
    normal = torch.einsum("bknij,bknil->bkjl", jacobian, weighted)
    gradient = torch.einsum("bknij,bkni->bkj", weighted, offset)
    prior = 1 / CANDIDATE_WIDTH_RAD**2
    normal = normal + prior * torch.eye(3, device=vector.device)
    turn: Tensor = -torch.linalg.solve(normal, gradient + prior * moved)
    return _limited(turn, largest=0.06)


def _solve_tilt(d_x: Tensor, d_y: Tensor, model: Tensor, residual: Tensor) -> Tensor:
    """Levenberg-Marquardt step (B, K, 3) in the two tilts, the scale of the model eliminated."""
    norm = (model * model).sum(-1).clamp_min(1e-12)
    along_x, along_y = (d_x * model).sum(-1), (d_y * model).sum(-1)
    xx = (d_x * d_x).sum(-1) - along_x * along_x / norm
    yy = (d_y * d_y).sum(-1) - along_y * along_y / norm
    xy = (d_x * d_y).sum(-1) - along_x * along_y / norm
    right_x, right_y = (d_x * residual).sum(-1), (d_y * residual).sum(-1)
    damping = 0.05 * (xx + yy) + 1e-9
    xx, yy = xx + damping, yy + damping
    determinant = (xx * yy - xy * xy).clamp_min(1e-18)
    turn_x = (yy * right_x - xy * right_y) / determinant
    turn_y = (xx * right_y - xy * right_x) / determinant
    turn = torch.stack([turn_x, turn_y, torch.zeros_like(turn_x)], dim=-1)
    return _limited(turn, largest=0.03)


def _limited(turn: Tensor, *, largest: float) -> Tensor:
    length = turn.norm(dim=-1, keepdim=True)
    result: Tensor = turn * (largest / length.clamp_min(largest))
    return result


def rotation_from_vector(vector: Tensor) -> Tensor:
    """Rotation matrices (..., 3, 3) from rotation vectors (..., 3) in radians (Rodrigues' formula)."""
    angle = vector.norm(dim=-1, keepdim=True).clamp_min(1e-12)[..., None]
    x, y, z = (vector / angle[..., 0]).unbind(-1)
    zero = torch.zeros_like(x)
    cross = torch.stack([zero, -z, y, z, zero, -x, -y, x, zero], dim=-1).unflatten(-1, (3, 3))
    identity = torch.eye(3, dtype=vector.dtype, device=vector.device)
    result: Tensor = identity + torch.sin(angle) * cross + (1 - torch.cos(angle)) * (cross @ cross)
    return result
