"""``python -m napari_stem_orient.cli``: the command line where its script is not on the path."""

from __future__ import annotations

import sys

from napari_stem_orient.cli.main import main

if __name__ == "__main__":
    sys.exit(main())
