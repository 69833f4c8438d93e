"""What neighbours propose to a scan position: orientations that it has not among its own candidates."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional

from napari_stem_orient.indexing.candidates import Candidates
from napari_stem_orient.indexing.neighbours import SAME, agreement
from napari_stem_orient.indexing.verification import probabilities

#: A proposal needs this many neighbours that are sure of it, or more that are less sure.
FEWEST_VOTES = 0.7

#: Candidates of each neighbour that are voted for: where it is torn between two, both are worth a look.
HEARD_OF_EACH = 2

#: Positions that believe so firmly in a candidate of their own are asked nothing.
CONVINCED = 0.95

#: Orientations proposed to one position, at most.
MOST_PROPOSALS = 2

AROUND = tuple((down, right) for down in (-1, 0, 1) for right in (-1, 0, 1) if (down, right) != (0, 0))


@dataclass(frozen=True, slots=True)
class Proposals:
    """Orientations that neighbours propose to m positions.

    position (m,) flat index into the rows that were asked; rotation (m, X, 3, 3); phase (m, X); there (m, X) bool.
    """

    position: Tensor
    rotation: Tensor
    phase: Tensor
    there: Tensor


def propose(rows: Candidates, symmetries: Tensor, *, asking: Tensor, width_deg: float) -> Proposals:
    """What the neighbours of positions propose, by the candidates that each believes in most.

    Parameters
    ----------
    rows
        (R + 2, W, C): a row before and one after those that are proposed to.
    symmetries
        (P, S, 3, 3), see `padded_symmetries`.
    asking
        (R, W) bool; positions that have disks enough to be asked.
    width_deg
        Of the agreement.
    """
    probability = probabilities(rows.evidence.flatten(0, 1)).view_as(rows.evidence)
    vote, index = probability.topk(min(HEARD_OF_EACH, probability.shape[-1]), dim=-1)
    likely = rows.take(index).flat()
    bordered = functional.pad(vote, (0, 0, 1, 1))
    n_rows, width = asking.shape
    around = [bordered[1 + y : 1 + y + n_rows, 1 + x : 1 + x + width] for y, x in AROUND]
    votes = torch.cat(around, dim=-1)  # (R, W, 8 H)
    asked = asking & (vote[1:-1, :, 0] < CONVINCED) & (votes.sum(-1) >= FEWEST_VOTES)
    row, column = torch.nonzero(asked, as_tuple=True)
    offset = torch.tensor(AROUND, device=row.device)
    neighbour = (row[:, None] + 1 + offset[:, 0]) * width + (column[:, None] + offset[:, 1]).clamp(
        0, width - 1
    )
    theirs = Candidates.of_all_phases([likely.patterns(number) for number in neighbour.unbind(1)])
    position = row * width + column
    own = rows.at(slice(1, -1)).flat().patterns(position)
    return _chosen(own, theirs, votes[row, column], symmetries, position=position, width_deg=width_deg)


def _chosen(
    own: Candidates,
    around: Candidates,
    votes: Tensor,
    symmetries: Tensor,
    *,
    position: Tensor,
    width_deg: float,
) -> Proposals:
    """Proposals to m positions: of what is ``around`` (m, V), the most voted for (m, V) that is not their ``own``."""
    known = agreement(own, around, symmetries, width_deg=width_deg)
    known = (known * torch.isfinite(own.evidence)[..., None]).amax(dim=1) > SAME
    votes = votes * ~known
    wanted = (votes.sum(dim=1) >= FEWEST_VOTES).nonzero()[:, 0]
    around, votes, position = around.patterns(wanted), votes[wanted], position[wanted]
    together = agreement(around, around, symmetries, width_deg=width_deg)
    chosen, there = [], []
    for _ in range(MOST_PROPOSALS):
        count = (together * votes[:, None]).sum(-1) * (votes > 0)
        most, index = count.max(dim=1, keepdim=True)
        chosen.append(index)
        there.append(most >= FEWEST_VOTES)
        like_it = together.gather(1, index[..., None].expand(-1, 1, votes.shape[1]))[:, 0]
        votes = votes * (like_it < SAME)
    taken, is_there = around.take(torch.cat(chosen, dim=1)), torch.cat(there, dim=1)
    some = is_there.any(dim=1)
    return Proposals(position[some], taken.rotation[some], taken.phase[some], is_there[some])
