"""The file of a brief: its form, its template, and errors with their line."""

from __future__ import annotations

from dataclasses import MISSING, fields
from pathlib import Path
from typing import Any, Final

from pydantic import BaseModel, ConfigDict, ValidationError

from research_lab.dsl.registry import FAMILIES, INPUTS
from research_lab.errors import UsageError
from research_lab.generators.brief import PERPETUAL_ONLY, Brief
from research_lab.generators.brief_bounds import BLOCKS, SIZES, first_fault, nearest
from research_lab.strict_yaml import Document, load_text, read_text, scalar

_LONGEST_PATH: Final = 200
_DEFAULTS: Final = {f.name: f.default for f in fields(Brief) if f.default is not MISSING}
_WANTED: Final = {
    "list_type": "write a list: [...]",
    "int_type": "write a whole number",
    "string_type": "write a text; in quotes where it looks like a number",
    "literal_error": "write brief: 1",
    "missing": "begin the file with brief: 1",
}


class BriefForm(BaseModel):
    """A brief's file."""

    model_config = ConfigDict(strict=True, extra="forbid", allow_inf_nan=False)

    brief: int
    goal: str = ""
    timeframes: list[str] | None = None
    sides: list[str] | None = None
    families: list[str] | None = None
    inputs: list[str] | None = None
    max_nodes: int | None = None
    max_params: int | None = None
    ideas: list[str] | None = None
    only: list[str] | None = None
    never: list[str] | None = None
    longer: list[str] | None = None
    blocks: list[str] | None = None
    required: list[str] | None = None
    sizes: list[str] | None = None
    trades_a_month: list[float] | None = None
    avoid: list[str] | None = None


def brief_of(told: str) -> Brief:
    """Return the brief that an option names: a file where it ends in .yaml or .yml, else the words are its goal.

    Raises
    ------
    UsageError : as `read_brief`.
    """
    told = told.strip()
    if told.lower().endswith((".yaml", ".yml")):
        return read_brief(Path(told))
    if told and len(told) < _LONGEST_PATH and Path(told).exists():
        raise UsageError("a brief is words, or a file that ends in .yaml", told, "name the file itself")
    return Brief(goal=told)


def read_brief(path: Path) -> Brief:
    """Read a brief's file; see `parse_brief`."""
    return parse_brief(read_text(path, UsageError), str(path))


def parse_brief(text: str, where: str = "brief") -> Brief:
    """Return the brief that a YAML text describes; keys left out are those of `Brief()`.

    Raises
    ------
    UsageError : naming file and line, what was seen, and what would be taken.
    """
    return Brief(**fields_of(text, where))


def fields_of(text: str, where: str) -> dict[str, Any]:
    """Return the fields of a brief that a YAML text gives.

    Raises
    ------
    UsageError : with file and line.
    """
    document = load_text(text, where, UsageError)
    form = _form_of(document, where)
    given = form.model_dump(exclude={"brief"}, exclude_none=True)
    fault = first_fault({**_DEFAULTS, **given})
    if fault is not None:
        named = "" if fault.place[0] in given else f"{fault.place[0]}: "
        raise UsageError(f"{_path(fault.place)}: {fault.what}" if not named else named + fault.what,
                         f"{where}:{document.line(fault.place)}", fault.remedy)  # fmt: skip
    return given


def _form_of(document: Document, where: str) -> BriefForm:
    if not isinstance(document.data, dict):
        raise UsageError("no keys found", f"{where}:1", "write brief: 1 and what is wanted, one key a line")
    for key in document.data:
        if key not in BriefForm.model_fields:
            raise UsageError(f"{key[:40]!r} is no key of a brief", f"{where}:{document.line((key,))}",
                             nearest(key, BriefForm.model_fields))  # fmt: skip
    try:
        form = BriefForm.model_validate(document.data)
    except ValidationError as faults:
        fault = faults.errors(include_url=False, include_input=False)[0]
    else:
        if form.brief == 1:
            return form
        raise UsageError(
            f"brief: {form.brief} is not known", f"{where}:{document.line(('brief',))}", "write brief: 1"
        )
    place = fault["loc"]
    raise UsageError(
        f"{_path(place)}: {fault['msg']}", f"{where}:{document.line(place)}", _WANTED.get(fault["type"], "")
    )


def _path(place: tuple[str | int, ...]) -> str:
    return "".join(f"[{part}]" if isinstance(part, int) else part for part in place)


def brief_text(goal: str = "Any edge after costs, in strategies that a person can read.") -> str:
    """Return a brief to start from: every key with its default, and what it is for.

    What it says is `Brief()` with a goal.
    """
    plain = ", ".join(Brief().inputs)
    families = "\n".join(f"#   {name}: {', '.join(f.name for f in members[:4])}{', ...' * (len(members) > 4)}"
                         for name, members in FAMILIES.items())  # fmt: skip
    return f"""\
# What a generator is asked for. Every key but the first may be left out; what stands here is what then holds.
brief: 1

# What you are after, in a sentence or two. People and language models read it; it bounds nothing.
goal: {scalar(goal)}

# Bars that proposals may decide on, and sides that they may take: long, short, both. Shorts need a perpetual.
timeframes: [1h, 4h]
sides: [long]

# Functions come in families; the reference lists them all (docs/language.md).
{families}
families: [{", ".join(FAMILIES)}]
# Functions by name: `only` leaves no others, `never` takes some away.
only: []
never: []

# What they may read of the market: {", ".join(INPUTS)}.
# {" and ".join(PERPETUAL_ONLY)} are known of perpetuals only: add them where the data have them.
inputs: [{plain}]
# Longer timeframes that tf() may ask for.
longer: [4h, 1d]

# How large: operations of all conditions, stop and size together (30 is a page, 60 is much), and parameters.
# Each parameter is a way to fit.
max_nodes: 60
max_params: 4

# Parts that may stand beside the conditions, and those that must.
blocks: [{", ".join(BLOCKS)}]
required: []
# Kinds of size: a share of equity, a share lost at the stop, a target of annual volatility.
sizes: [{", ".join(SIZES)}]

# Least and most closed trades a month, such as [2, 60]; fitness asks for it where it is given.
# trades_a_month: [2, 60]

# Ideas to start from and things to leave alone, one each, for a language model. No symbols, dates or prices.
ideas: []
avoid: []
"""
