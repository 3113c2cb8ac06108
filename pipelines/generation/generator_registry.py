"""The generators by the names that commands call them, and how each is made of its options."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final

from research_lab.dsl.text_reader import read_bytes
from research_lab.errors import UsageError
from research_lab.generators.brief import Brief
from research_lab.generators.protocol import Generator
from research_lab.wording import count

MOST_IDEAS: Final = 1_000
_LONGEST_IDEA: Final = 2_000  # characters
_NO_STRATEGIES: Final = ("regimes.yaml", "macro.yaml")


@dataclass(frozen=True)
class Made:
    """What a generator is made of.

    Parameters
    ----------
    settings : file that configures a language model; None without.
    folder : where it may keep what it asked and spent. offline : whether it may ask nobody.
    answers : where what it was answered is kept, for other searches too; None for in the folder.
    """

    settings: Path | None = None
    folder: Path = Path()
    offline: bool = False
    answers: Path | None = None


def _grammar(made: Made) -> Generator:
    from research_lab.generators.grammar import Grammar

    return Grammar()


def _evolution(made: Made) -> Generator:
    from research_lab.generators.evolution import Evolution
    from research_lab.generators.grammar import Grammar

    if made.settings is None:
        return Evolution(Grammar())
    from research_lab.generators.mixture import Mixture

    return Mixture(Evolution(Grammar()), _language_model(made))


def _language_model(made: Made) -> Generator:
    from research_lab.generators.language_model.generator import LanguageModel
    from research_lab.generators.language_model.settings import read_settings

    assert made.settings is not None
    return LanguageModel(read_settings(made.settings), made.folder, made.answers, offline=made.offline)


GENERATORS: Final[Mapping[str, Callable[[Made], Generator]]] = {
    "grammar": _grammar,
    "evolve": _evolution,
    "llm": _language_model,
}


def check_options(name: str, made: Made) -> None:
    """Refuse a generator that does not exist, and options that do not fit it.

    Raises
    ------
    UsageError
        As said.
    """
    if name not in GENERATORS:
        raise UsageError(f"no generator {name[:40]!r}", "--generator", f"they are {', '.join(GENERATORS)}")
    if name == "llm" and made.settings is None:
        raise UsageError(
            "a language model needs to be told which, and for how much", "--model-config",
            "name its YAML file; docs/language_models.md says what stands in it",
        )  # fmt: skip
    if name not in ("llm", "evolve") and made.settings is not None:
        raise UsageError(
            f"{name} asks no language model", "--model-config", "leave it out, or take llm or evolve"
        )
    if made.settings is None and made.offline:
        raise UsageError(f"{name} needs no network at all", "--offline", "leave it out")


def make(name: str, made: Made) -> Generator:
    """Return a generator by its name; raises as `check_options`, and what it raises itself."""
    check_options(name, made)
    return GENERATORS[name](made)


@dataclass(frozen=True)
class Ideas:
    """What somebody brings along.

    Parameters
    ----------
    texts : of strategies, each by its file's name; they are proposed first. words : plain-text ideas.
    folder : that the files lie in, for people; no part of what they are.
    """

    texts: tuple[tuple[str, str], ...] = ()
    words: tuple[str, ...] = ()
    folder: Path = Path()

    @property
    def files(self) -> list[tuple[str, str]]:
        """Each file's name, and its text."""
        return [(f"{name}.yaml", text) for name, text in self.texts]

    @property
    def hash(self) -> str:
        return hashlib.sha256(repr((self.texts, self.words)).encode(errors="surrogatepass")).hexdigest()

    def told(self, brief: Brief) -> Brief:
        """Return the brief with the ideas in words."""
        return replace(brief, ideas=(*brief.ideas, *self.words)) if self.words else brief


def read_ideas(path: Path | None, generator: str) -> Ideas:
    """Read a folder of strategies, or a text file with one idea a line; blank lines and # are left out.

    Raises
    ------
    UsageError
        There is nothing, too much, or ideas in words for a generator that reads none.
    """
    if path is None:
        return Ideas()
    if path.is_dir():
        files = [file for file in sorted(path.glob("*.yaml")) if file.name not in _NO_STRATEGIES]
        texts = tuple((f.stem, read_bytes(f).decode("utf-8", errors="surrogateescape")) for f in files)
        found = Ideas(texts=texts, folder=path)
    elif path.is_file():
        lines = [line.strip() for line in _text_of(path).splitlines()]
        found = Ideas(words=tuple(line for line in lines if line and not line.startswith("#")))
    else:
        raise UsageError(
            "there is no such file or folder", str(path), "name a folder of YAML, or a text file"
        )
    n = len(found.texts) + len(found.words)
    if not 0 < n <= MOST_IDEAS:
        raise UsageError(count(n, "idea"), str(path), f"bring 1 to {MOST_IDEAS:,}")
    if found.words and generator != "llm":
        raise UsageError(
            f"{generator} cannot read ideas in words", "--ideas", "take llm, or bring a folder of YAML"
        )
    return found


def _text_of(path: Path) -> str:
    if path.stat().st_size > MOST_IDEAS * _LONGEST_IDEA:
        raise UsageError("too large for a list of ideas", str(path), "write one idea a line")
    try:
        text = path.read_text(encoding="utf-8")
    except UnicodeDecodeError:
        raise UsageError("not UTF-8 text", str(path), "write one idea a line") from None
    if any(len(line) > _LONGEST_IDEA for line in text.splitlines()):
        raise UsageError(f"an idea of more than {_LONGEST_IDEA} characters", str(path), "make it shorter")
    return text
