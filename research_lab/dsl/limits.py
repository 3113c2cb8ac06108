"""How large a strategy may be. Each limit has its own error, and all are counted while scanning."""

from __future__ import annotations

from typing import Final

from research_lab import strict_yaml

BYTES: Final = 16 * 1024
EXPRESSION_CHARACTERS: Final = 4_096
VALUES: Final = 1_500  # keys and values of a file: each costs PyYAML some 30 microseconds
NESTING: Final = strict_yaml.MAX_DEPTH
NUMBER_CHARACTERS: Final = strict_yaml.MAX_DIGITS
TOKENS: Final = 1_000
DEPTH: Final = 32
TREE_DEPTH: Final = (
    32  # definitions written out; a tree is walked by recursion, and its text stays below DEPTH
)
NODES: Final = 2_000
PARAMS: Final = 16
PARAM_VALUES: Final = 10_000
COMBINATIONS: Final = 10_000_000
FIXED_NODES: Final = 16  # operations of one number fixed before the run: a window, a share, a time stop
FIXED_PARAMS: Final = 3
FIXED_VALUES: Final = 1_000  # values looked at of one such number
FIXED_WORK: Final = 200_000  # operations times values, over all such numbers of a text
DEFINITIONS: Final = 32
MEMBERS: Final = 8  # of an ensemble
USES: Final = 4  # strategies that use each other, one inside the other
SERIES: Final = 8  # external series, calendars and models declared, and input rows that they make
STATE_CELLS: Final = 200_000
INSTRUCTIONS: Final = 1_000
NUMBER: Final = 1e300  # size of a number written in the text
