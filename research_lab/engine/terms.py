"""Terms: what a market and an account fix, in words and as the broker's array."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Final

import numpy as np

from research_lab.engine.jit import FloatArray

MAX_DECIMALS: Final = 12


@dataclass(frozen=True)
class Terms:
    """Costs and rules of a market and an account.

    Parameters
    ----------
    fee, slippage : fractions of notional and of price: 0.001 is 10 basis points.
    leverage : cap on notional over equity; 1 on spot.
    maintenance, liquidation_fee : fractions of notional, perpetuals only.
    perpetual : whether shorts, leverage, funding and liquidation exist.
    lot, tick, min_notional : the symbol's rules; 0 when they are not known.
    optimistic : when a bar touches both stop and take, the take comes first.
    quantum : money is counted in whole units of this; 0 for no rounding.
    risk_share : share of the strategy's size that the account gives it.
    risk_cap : largest share of equity that may be lost at the stop; infinite for none.
    """

    fee: float = 0.001
    slippage: float = 0.0005
    leverage: float = 1.0
    maintenance: float = 0.005
    liquidation_fee: float = 0.005
    perpetual: bool = False
    lot: float = 0.0
    tick: float = 0.0
    min_notional: float = 0.0
    optimistic: bool = False
    quantum: float = 0.0
    risk_share: float = 1.0
    risk_cap: float = math.inf

    def array(self) -> FloatArray:
        return np.array(
            [
                self.fee,
                self.slippage,
                self.leverage if self.perpetual else 1.0,
                self.maintenance,
                self.liquidation_fee,
                float(self.perpetual),
                self.lot,
                self.tick,
                self.min_notional,
                float(self.optimistic),
                self.quantum,
                self.risk_share,
                self.risk_cap,
                _whole_at(self.lot),
                _whole_at(self.tick),
            ]
        )


def _whole_at(step: float) -> float:
    """Return the power of ten that makes a lot or tick whole: 100 for 0.05; 0 when there is none.

    A multiple of a decimal step is then a whole number divided by a whole number, hence the double
    nearest to the decimal, as it stands in data: 12.35, and not the 12.350000000000001 of 247 x 0.05.
    """
    for decimals in range(MAX_DECIMALS + 1):
        scaled = step * 10.0**decimals
        if step > 0.0 and abs(scaled - round(scaled)) <= 1e-15 * scaled and round(scaled) > 0:
            return 10.0**decimals
    return 0.0
