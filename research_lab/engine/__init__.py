"""The numba core: one definition of every indicator, broker rule and metric, for batch and live.

Importing it names numba's cache folder by a hash of these sources, before numba is loaded: numba
does not notice a constant that changed in another file.
"""

from __future__ import annotations

import hashlib
import os
from pathlib import Path


def source_hash() -> str:
    """Return the SHA-256 over all sources of the engine: what results depend on, besides the lock."""
    digest = hashlib.sha256()
    for path in sorted(Path(__file__).parent.glob("*.py")):
        digest.update(path.name.encode() + b"\0" + path.read_bytes() + b"\0")
    return digest.hexdigest()


def _name_the_cache() -> None:
    default = Path(os.environ.get("XDG_CACHE_HOME", "~/.cache")).expanduser() / "strategy-gauntlet"
    root = Path(os.environ.get("NUMBA_CACHE_DIR", default / "numba"))
    folder = source_hash()[:16]
    if root.name != folder:
        os.environ["NUMBA_CACHE_DIR"] = str(root / folder)
    # Vectorised logarithms of another library would round otherwise than those of a block of one.
    os.environ.setdefault("NUMBA_DISABLE_INTEL_SVML", "1")


_name_the_cache()
