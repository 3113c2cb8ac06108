"""What differs between two strategies, by what they say rather than by how it is written."""

from __future__ import annotations

from collections.abc import Iterator

from research_lab.dsl.explanation import range_text
from research_lab.dsl.spec import CONDITIONS, Spec
from research_lab.dsl.spec_text import EnsembleForm
from research_lab.dsl.tree import number_text
from research_lab.errors import SpecError
from research_lab.strict_yaml import load_text

Difference = tuple[str, str, str]  # field, first, second; empty where one does not have it


def differences(
    first: Spec, second: Spec, ensembles: tuple[EnsembleForm | None, EnsembleForm | None] = (None, None)
) -> list[Difference]:
    """Return the fields in which two strategies differ, as their canonical forms have them.

    Parameters
    ----------
    ensembles : what both were written as, where both are ensembles: told instead of the conditions that they
        are written out to, where that is what differs.
    """
    sides = [dict(_fields(spec)) for spec in (first, second)]
    one, other = ensembles
    if one is not None and other is not None and one != other:
        sides = [
            {
                name: value
                for name, value in {**side, **dict(_ensemble(form))}.items()
                if name not in CONDITIONS
            }
            for side, form in zip(sides, (one, other), strict=True)
        ]
    names = [*sides[0], *(name for name in sides[1] if name not in sides[0])]
    pairs = [(name, sides[0].get(name, ""), sides[1].get(name, "")) for name in names]
    return [pair for pair in pairs if pair[1] != pair[2]]


def _ensemble(form: EnsembleForm) -> Iterator[tuple[str, str]]:
    """Yield an ensemble, field by field."""
    return _parts("ensemble", form.model_dump(exclude_none=True))


def relation(first: Spec, second: Spec) -> str:
    """Return how two strategies stand to each other, in one sentence without a full stop."""
    family = first.template_hash == second.template_hash
    if first.hash == second.hash:
        return "the same strategy" if family else "the same strategy now, but tuned over other values"
    return "one family, at other values of its parameters" if family else "different strategies"


def is_same(first: Spec, second: Spec) -> bool:
    """Whether two strategies trade alike, now and however they are tuned."""
    return (first.hash, first.template_hash) == (second.hash, second.template_hash)


def _fields(spec: Spec) -> Iterator[tuple[str, str]]:
    """Yield the canonical form, field by field; a field of several parts, part by part."""
    for name, value in load_text(spec.canonical(), spec.name, SpecError).data.items():
        if name == "params":
            for param, p in spec.params.items():
                yield f"params.{param}", f"{range_text(p)}, now {number_text(p.default)}"
        else:
            yield from _parts(name, value)


def _parts(name: str, value: object) -> Iterator[tuple[str, str]]:
    if isinstance(value, dict):
        for key, part in value.items():
            yield from _parts(f"{name}.{key}", part)
    elif isinstance(value, list) and all(isinstance(part, dict) for part in value):
        for k, part in enumerate(value, start=1):
            yield from _parts(f"{name}.{k}", part)
    else:
        yield name, ", ".join(map(str, value)) if isinstance(value, list) else str(value)
