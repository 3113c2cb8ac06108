"""What docs/generators.md says of briefs is true."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pytest

from research_lab.dsl.spec_reader import parse_spec
from research_lab.errors import UsageError
from research_lab.generators.archive import Archive
from research_lab.generators.brief import Brief
from research_lab.generators.brief_bounds import BLOCKS, SIZES, blocks_of
from research_lab.generators.brief_form import BriefForm, parse_brief
from research_lab.generators.grammar import Grammar
from research_lab.generators.protocol import Feedback
from research_lab.generators.shapes import KINDS

PAGE = (Path(__file__).resolve().parents[3] / "docs" / "generators.md").read_text(encoding="utf-8")
EXAMPLE = re.findall(r"```yaml\n(.*?)```", PAGE, re.DOTALL)[0]


def test_the_example_is_a_brief_and_the_grammar_keeps_to_it() -> None:
    brief = parse_brief(EXAMPLE)
    assert (brief.sides, brief.max_nodes, brief.required) == (("both",), 40, ("stop", "time_stop"))
    for proposal in Grammar().propose(brief, Feedback(Archive()), 40, np.random.default_rng(1)):
        spec = parse_spec(proposal.text)
        assert brief.refuses(spec) == ""
        assert {"stop", "time_stop"} <= blocks_of(spec)


def test_every_key_is_in_the_table_with_its_default() -> None:
    table = PAGE.split("| key |")[1].split("\n\n")[0]
    assert [key for key in BriefForm.model_fields if f"`{key}`" not in table and key != "brief"] == []
    assert [name for name in (*BLOCKS, *SIZES) if f"`{name}`" not in table] == []
    assert f"{Brief().max_nodes}, {Brief().max_params}" in table


def test_the_error_shown_is_the_one_raised() -> None:
    with pytest.raises(UsageError) as raised:
        parse_brief("brief: 1\ngoal: x\nfamilies: [trend, momentun]\n", "my.yaml")
    assert str(raised.value) in PAGE


def test_the_kinds_of_shapes_are_listed() -> None:
    assert [kind for kind in KINDS if f"\n| {kind} |" not in PAGE] == []
