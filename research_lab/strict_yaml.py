"""YAML as plain data with line numbers: no aliases, anchors, tags, duplicate keys or surprises.

Only null, true, false, decimal integers and decimal floats are recognised; every other plain
scalar is text, so that ``no``, ``1:30`` and dates stay what was written. PyYAML's pure-Python
parser is used, since the C one can crash the process.
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar, get_args

import yaml
from pydantic import BaseModel, ValidationError
from pydantic_core import ErrorDetails, PydanticCustomError
from yaml.composer import Composer
from yaml.constructor import SafeConstructor
from yaml.nodes import MappingNode, Node, ScalarNode, SequenceNode
from yaml.parser import Parser
from yaml.reader import Reader
from yaml.scanner import Scanner

from research_lab.errors import GauntletError
from research_lab.wording import nearest

Place = tuple[str | int, ...]
Model = TypeVar("Model", bound=BaseModel)

MAX_BYTES = 1 << 20
MAX_DEPTH = 12
MAX_NODES = 50_000
MAX_DIGITS = 40

_INTEGER = re.compile(r"[-+]?[0-9]+")
_FLOAT = re.compile(r"[-+]?([0-9]+\.[0-9]*|\.[0-9]+|[0-9]+)([eE][-+]?[0-9]+)?")
_PLAIN = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.+-]*")
# PyYAML goes character by character. Ordinary words with one space between them mean themselves.
_WORDS_THEN_ONE = re.compile(r"(?:[A-Za-z0-9_.,+*/<>=()-]+ )+(?=[A-Za-z0-9_(])")
_QUOTED_WORDS = re.compile(r"[!#-&(-\[\]-~]+(?: [!#-&(-\[\]-~]+)*")
_NO_CHARACTER = "an escape that stands for no character"
_UNKNOWN = "extra_forbidden"
_RANGES = ("greater_than", "greater_than_equal", "less_than", "less_than_equal")
_REMEDIES = {
    "bool_type": "write true or false",
    "float_type": "write a number",
    "int_type": "write a whole number",
    "int_from_float": "write a whole number",
    "list_type": "write a list: [...]",
    "model_type": "write its keys, one a line",
    "string_type": "write a text; in quotes where it looks like a number",
    "missing": "write this key too",
}
_WORDS = {"": None, "~": None, "null": None, "true": True, "false": False}


@dataclass(frozen=True)
class Document:
    """A YAML document as plain data, with the line of every value.

    Parameters
    ----------
    data : dicts, lists, text, integers, floats, booleans and None.
    marks : line and column, counted from 1, by the path of keys and indices that leads to a value; the
        column is that of the first character of the text itself, behind an opening quote.
    """

    data: Any
    marks: dict[Place, tuple[int, int]]

    def mark(self, place: Place) -> tuple[int, int]:
        """Return line and column of a value, or of the nearest one around it that exists."""
        while place and place not in self.marks:
            place = place[:-1]
        return self.marks.get(place, (1, 1))

    def line(self, place: Place) -> int:
        """Return the line of a value, or of the nearest one around it that exists."""
        return self.mark(place)[0]


class _Refused(yaml.MarkedYAMLError):
    """A construct that this reader does not take, at its place."""


class _Loader(Reader, Scanner, Parser, Composer, SafeConstructor):
    """PyYAML's pure-Python loader, without a resolver and with aliases, tags and anchors refused."""

    def __init__(self, text: str, most: int) -> None:
        Reader.__init__(self, text)
        Scanner.__init__(self)
        Parser.__init__(self)
        Composer.__init__(self)
        SafeConstructor.__init__(self)
        self.depth = 0
        self.n_nodes = 0
        self.most = most

    def compose_node(self, parent: Node | None, index: Any) -> Node | None:
        event: Any = self.peek_event()  # type: ignore[no-untyped-call]
        mark = event.start_mark
        if isinstance(event, yaml.AliasEvent):
            raise _Refused(problem="aliases (*) are not taken; write the value out", problem_mark=mark)
        if getattr(event, "anchor", None) is not None:
            raise _Refused(problem="anchors (&) are not taken; write the value out", problem_mark=mark)
        if getattr(event, "tag", None) is not None:
            raise _Refused(problem="tags (!) are not taken; write the bare value", problem_mark=mark)
        self.n_nodes += 1
        self.depth += 1
        if self.n_nodes > self.most:
            raise _Refused(problem=f"more than {self.most} keys and values", problem_mark=mark)
        if self.depth > MAX_DEPTH:
            raise _Refused(problem=f"nested deeper than {MAX_DEPTH}", problem_mark=mark)
        node: Node | None = super().compose_node(parent, index)
        self.depth -= 1
        return node

    def fetch_flow_collection_start(self, kind: Any) -> None:
        """Refuse deep brackets before what follows is scanned, which takes the square of their depth."""
        if self.flow_level >= MAX_DEPTH:
            raise _Refused(problem=f"nested deeper than {MAX_DEPTH}", problem_mark=self._here())
        super().fetch_flow_collection_start(kind)

    def forward(self, length: int = 1) -> None:
        """Go on by some characters: at once within a line of ASCII, where PyYAML goes one by one."""
        passed = self.buffer[self.pointer : self.pointer + length]
        if len(passed) == length and passed.isascii() and "\n" not in passed and "\r" not in passed:
            self.pointer += length
            self.index += length
            self.column += length
        else:
            super().forward(length)

    def scan_plain(self) -> Any:
        """Scan a plain scalar: all but the last of its ordinary words on a line at once."""
        words = None if self.flow_level else _WORDS_THEN_ONE.match(self.buffer, self.pointer)
        if words is None:
            return super().scan_plain()
        start = self._here()
        self.forward(words.end() - words.start())
        token: Any = super().scan_plain()
        token.value, token.start_mark = words.group() + token.value, start
        return token

    def scan_flow_scalar_non_spaces(self, double: Any, start_mark: Any) -> Any:
        """Scan what stands in quotes up to the next space: many ordinary words at once."""
        words = _QUOTED_WORDS.match(self.buffer, self.pointer)
        if words is None:
            return super().scan_flow_scalar_non_spaces(double, start_mark)
        self.forward(words.end() - words.start())
        return [words.group(), *super().scan_flow_scalar_non_spaces(double, start_mark)]

    def _here(self) -> yaml.Mark:
        mark: yaml.Mark = self.get_mark()
        return mark

    def resolve(self, kind: type[Node], value: Any, implicit: Any) -> str:
        """Return a tag that nothing reads: the kinds of values are told apart in `_plain`."""
        return ""

    def descend_resolver(self, *_: Any) -> None:
        return None

    def ascend_resolver(self) -> None:
        return None


def load_text(text: str, where: str, error: type[GauntletError], most: int = MAX_NODES) -> Document:
    """Parse one YAML document.

    Parameters
    ----------
    text : at most `MAX_BYTES` bytes of UTF-8.
    where : names the source in messages.
    error : the class raised for anything that is not taken. most : keys and values.
    """
    if len(text.encode("utf-8", errors="surrogatepass")) > MAX_BYTES:
        raise error(f"larger than {MAX_BYTES} bytes", where, "such a file is written by hand or by this tool")
    marks: dict[Place, tuple[int, int]] = {}
    try:
        data = _read(_Loader(text, most), marks)
    except yaml.MarkedYAMLError as fault:
        mark = fault.problem_mark or fault.context_mark
        place = f"{where}:{mark.line + 1}:{mark.column + 1}" if mark else where
        what = str(fault.problem or fault.context)
        if what.startswith("but "):  # PyYAML tells what it expected apart from what it found
            what = f"{fault.context}, {what}"
        raise error(what, place, remedy=_yaml_remedy(what)) from None
    except yaml.YAMLError as fault:
        raise error(f"no YAML text: {' '.join(str(fault).split())[:120]}", where) from None
    return Document(data, marks)


def _yaml_remedy(what: str) -> str:
    """Return what may be done about a fault that PyYAML tells in its own terms."""
    if r"'\t'" in what:
        return "indent with spaces, not tabs"
    if "<stream end>" in what:
        return "close the bracket or the quote"
    return "leave one document, without ---" if "another document" in what else ""


def _read(loader: _Loader, marks: dict[Place, tuple[int, int]]) -> Any:
    try:
        node = loader.get_single_node()
    except (ValueError, OverflowError):  # PyYAML lets chr() speak for an escape such as \UFFFFFFFF
        raise _Refused(problem=_NO_CHARACTER, problem_mark=loader._here()) from None
    return None if node is None else _plain(node, (), marks)


def load_file(path: Path, error: type[GauntletError]) -> Document:
    """Read and parse one YAML file; see `load_text`."""
    return load_text(read_text(path, error), str(path), error)


def read_text(path: Path, error: type[GauntletError]) -> str:
    """Return a file's text, refusing what is missing, too large or not UTF-8."""
    try:
        with path.open("rb") as file:
            raw = file.read(MAX_BYTES + 1)
    except FileNotFoundError:
        raise error("the file does not exist", str(path)) from None
    except OSError as fault:
        raise error(f"the file cannot be read: {fault.strerror}", str(path)) from None
    if len(raw) > MAX_BYTES:
        raise error(f"larger than {MAX_BYTES} bytes", str(path))
    try:
        return raw.decode("utf-8")
    except UnicodeDecodeError as fault:
        raise error(f"byte {fault.start} is not UTF-8", str(path)) from None


def fit(model: type[Model], document: Document, where: str, error: type[GauntletError]) -> Model:
    """Return a document as a pydantic model; a mismatch is raised with its line and its path.

    Parameters
    ----------
    model : strict. Its validators may raise `misplaced` to name a place below their own.
    """
    try:
        return model.model_validate_json(json.dumps(document.data))
    except ValidationError as fault:
        faults = sorted(fault.errors(include_url=False), key=lambda one: one["type"] != _UNKNOWN)
    first = faults[0]  # a key that is not known first: where one is missing as well, it is what was meant
    place: Place = (*first["loc"], *first.get("ctx", {}).get("place", ()))
    more = f" (and {len(faults) - 1} more)" if len(faults) > 1 else ""
    path = "".join(map(_step, place)).lstrip(".")
    message, remedy = _said(first, model)
    what = f"{path}: {message}" if path else message
    raise error(what + more, f"{where}:{document.line(place)}", remedy)


def _said(fault: ErrorDetails, model: type[BaseModel]) -> tuple[str, str]:
    """Return what is wrong and what to do; a text that was written is not repeated, for it may be a secret."""
    if fault["type"] == _UNKNOWN:
        return "this key is not known", nearest(str(fault["loc"][-1]), _keys(model, fault["loc"][:-1]))
    message = str(fault["msg"]).removeprefix("Value error, ")
    seen = fault["input"]
    if fault["type"] in _RANGES and isinstance(seen, (int, float)):
        message += f", not {seen:g}"
    return message, _REMEDIES.get(fault["type"], "")


def _keys(model: type[BaseModel], place: Place) -> list[str]:
    """Return the keys that may stand at a place of a model; those of its nearest model around it."""
    for part in place:
        field = model.model_fields.get(str(part))
        inner = None if field is None else _model_in(field.annotation)
        model = model if inner is None else inner
    return [field.alias or name for name, field in model.model_fields.items()]


def _model_in(annotation: Any) -> type[BaseModel] | None:
    """Return the model that a type is, or is made of."""
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return annotation
    return next((found for one in get_args(annotation) if (found := _model_in(one)) is not None), None)


def misplaced(what: str, *place: str | int) -> PydanticCustomError:
    """Return the error that a validator raises about a value at `place` below its model."""
    return PydanticCustomError("misplaced", "{what}", {"what": what, "place": place})


def scalar(value: str | int | float | bool | None) -> str:
    """Return a value as YAML text that `load_text` reads back as the same value.

    Examples
    --------
    >>> [scalar(v) for v in ("1h", "no", "3", "a: b", None, True, 0.5)]
    ['1h', 'no', '"3"', '"a: b"', 'null', 'true', '0.5']
    """
    if not isinstance(value, str):
        return json.dumps(value, allow_nan=False)
    if _PLAIN.fullmatch(value) and value not in _WORDS and not _FLOAT.fullmatch(value):
        return value
    return json.dumps(value)


def _step(key: str | int) -> str:
    if isinstance(key, int):
        return f"[{key}]"
    return f".{key}" if _PLAIN.fullmatch(key) and len(key) <= 40 else f".{key[:40]!r}"


def _plain(node: Node, place: Place, marks: dict[Place, tuple[int, int]]) -> Any:
    quote = 1 if isinstance(node, ScalarNode) and node.style in ("'", '"') else 0
    marks[place] = (node.start_mark.line + 1, node.start_mark.column + 1 + quote)
    if isinstance(node, SequenceNode):
        return [_plain(item, (*place, i), marks) for i, item in enumerate(node.value)]
    if isinstance(node, MappingNode):
        data: dict[str, Any] = {}
        for key, value in node.value:
            if not isinstance(key, ScalarNode):
                raise _Refused(problem="a key must be a word", problem_mark=key.start_mark)
            name = _text(key)
            if name in data:
                what = f"the key {name[:40]!r} stands twice"
                raise _Refused(problem=what, problem_mark=key.start_mark)
            data[name] = _plain(value, (*place, name), marks)
        return data
    if not isinstance(node, ScalarNode):
        raise TypeError(f"unknown kind of node: {type(node)}")
    return _value(node)


def _value(node: ScalarNode) -> str | int | float | bool | None:
    text = _text(node)
    if node.style is not None:
        return text
    if text in _WORDS:
        return _WORDS[text]
    if not _FLOAT.fullmatch(text):
        return text
    if len(text) > MAX_DIGITS:
        raise _Refused(problem=f"a number of more than {MAX_DIGITS} characters", problem_mark=node.start_mark)
    return int(text) if _INTEGER.fullmatch(text) else float(text)


def _text(node: ScalarNode) -> str:
    """Return a scalar's text, two escapes of UTF-16 as JSON has them made one character."""
    text = str(node.value)
    if text.isascii():
        return text
    try:
        return text.encode("utf-16", "surrogatepass").decode("utf-16")
    except UnicodeDecodeError:
        raise _Refused(problem=_NO_CHARACTER, problem_mark=node.start_mark) from None
