"""A small scan for tests of readers, as an array and as a signal of HyperSpy."""

from __future__ import annotations

from typing import Any

import numpy as np

SCAN = np.random.default_rng(3).integers(0, 200, (4, 6, 8, 8)).astype(np.uint8)
STACK = SCAN.reshape(24, 8, 8)


def hyperspy_signal(data: np.ndarray) -> dict[str, Any]:
    scales = [(2.0, "nm")] * (data.ndim - 2) + [(0.25, "1/nm")] * 2
    return {
        "data": data,
        "axes": [
            {
                "name": name,
                "size": size,
                "scale": scale,
                "offset": 0.0,
                "units": unit,
                "navigate": index < data.ndim - 2,
                "index_in_array": index,
            }
            for index, (name, size, (scale, unit)) in enumerate(
                zip("abcd"[-data.ndim :], data.shape, scales, strict=True)
            )
        ],
        "metadata": {
            "General": {"title": "", "date": "2024-01-01", "time": "10:00:00"},
            "Signal": {"signal_type": ""},
            "Acquisition_instrument": {"TEM": {"beam_energy": 200.0, "convergence_angle": 1.5}},
        },
        "original_metadata": {},
        "learning_results": {},
        "attributes": {"_lazy": False},
        "package_info": {"package": "", "package_version": ""},
        "tmp_parameters": {},
        "models": {},
    }
