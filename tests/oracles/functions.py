"""What every function of the language means, from all modules of oracles."""

from __future__ import annotations

from tests.oracles import indicators, statistics

ORACLES = {**indicators.ORACLES, **statistics.ORACLES}
