"""What somebody asks of a search: by which generator, for what, with how many looks."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

from pipelines.generation.generator_registry import Ideas
from research_lab.generators.brief import Brief


@dataclass(frozen=True)
class Wish:
    """What is asked of a search.

    Parameters
    ----------
    generator : its name. brief : what is wanted. n : looks to spend.
    seed : of everything random. batch : proposals a generation.
    settings : file that configures a language model. offline : whether it may be asked nothing new.
    ideas : what somebody brings along.
    """

    generator: str
    brief: Brief
    n: int
    seed: int = 1
    batch: int = 100
    settings: Path | None = None
    offline: bool = False
    ideas: Ideas = field(default_factory=Ideas)
