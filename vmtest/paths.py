"""Where things are: the rig's own files, the product beside it, and the work directory for everything large."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Final

RIG: Final = Path(__file__).resolve().parent
REPOSITORY: Final = RIG.parent
PRODUCT: Final = Path(os.environ.get("OOMSIGHT_VMTEST_PRODUCT", REPOSITORY / "src" / "oomsight"))
"""The package under test."""
WORK: Final = Path(os.environ.get("OOMSIGHT_VMTEST_WORK", "/var/tmp/oomsight-vmtest"))
KERNELS: Final = WORK / "kernels"
USERLAND_IMAGE: Final = WORK / "userland.img"
"""ext4 image with Python and util-linux for the guest."""
PATIENCE: Final = float(os.environ.get("OOMSIGHT_VMTEST_PATIENCE", "1"))
"""How many times as long as its TIMEOUT a run may take: more than 1 on a host that does much else."""
RESULTS: Final = WORK / "results"
