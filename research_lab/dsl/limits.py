"""How large a strategy may be. Each limit has its own error, and all are counted while scanning."""

from __future__ import annotations

from typing import Final

BYTES: Final = 16 * 1024
YAML_DEPTH: Final = 8
EXPRESSION_CHARACTERS: Final = 4_096
TOKENS: Final = 1_000
DEPTH: Final = 32
NODES: Final = 2_000
PARAMS: Final = 16
PARAM_VALUES: Final = 10_000
WINDOWS: Final = 1_000  # values looked at of one window of parameters
DEFINITIONS: Final = 32
STATE_CELLS: Final = 200_000
INSTRUCTIONS: Final = 2_000
NUMBER: Final = 1e300  # size of a number written in the text
