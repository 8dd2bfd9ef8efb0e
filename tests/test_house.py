"""Rules that a reader of one file cannot see: how sentences begin, who speaks of flags, who asks for classes."""

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

PACKAGE = Path(__file__).parent.parent / "hgfctl"
FILES = sorted(PACKAGE.rglob("*.py"))
FLAG = re.compile(r"(^|[\s`(\[])--[a-z]")
PLAIN = {
    *("str", "int", "float", "bool", "bytes", "dict", "list", "tuple", "set", "type", "Mapping", "Sequence", "Path"),
    *("Tensor", "Callable", "Exception", "BaseException"),
}
"""Types whose values come from YAML, JSON, pickles or users; asking for these is no choice by class."""
MOST = 80
"""isinstance tests of the package's own classes, assertions for the type checker apart: in parsers, at doors, for flows
that are linear and data that are finite, whose methods others do not have."""


def _docstrings(tree: ast.AST) -> Iterator[tuple[int, str]]:
    """Docstrings, and the strings after attributes that take their place."""
    for node in ast.walk(tree):
        body = getattr(node, "body", None)
        for statement in body if isinstance(body, list) else []:
            value = getattr(getattr(statement, "value", None), "value", None)
            if isinstance(statement, ast.Expr) and isinstance(value, str):
                yield statement.lineno, value.strip()


def _texts(tree: ast.AST) -> Iterator[tuple[int, str]]:
    """Strings that are no docstrings."""
    documented = {(line, text) for line, text in _docstrings(tree)}
    for node in ast.walk(tree):
        text = getattr(node, "value", None)
        if isinstance(node, ast.Constant) and isinstance(text, str) and (node.lineno, text.strip()) not in documented:
            yield node.lineno, text


@pytest.mark.parametrize("file", FILES, ids=lambda file: str(file.relative_to(PACKAGE)))
def test_sentences_begin_with_the_thing_or_a_verb(file: Path) -> None:
    for line, text in _docstrings(ast.parse(file.read_text(encoding="utf-8"))):
        first = text.split()[0].strip("`,:;") if text.split() else ""
        assert first not in ("Of", "What", "Whether"), f"{file}:{line}: {text[:80]}"


@pytest.mark.parametrize(
    "file", [file for file in FILES if "engine" in file.parts], ids=lambda file: str(file.relative_to(PACKAGE))
)
def test_the_engine_names_no_flags(file: Path) -> None:
    """A line for pip is another program's."""
    for line, text in _texts(ast.parse(file.read_text(encoding="utf-8"))):
        assert not FLAG.search(text) or "pip install" in text, f"{file}:{line}: {text[:80]}"


def test_help_texts_begin_with_the_thing_or_a_verb() -> None:
    from typer.main import get_command

    from hgfctl.cli.app import app

    def walk(command: object) -> Iterator[str]:
        yield getattr(command, "help", None) or ""
        yield from (parameter.help or "" for parameter in command.params if hasattr(parameter, "help"))  # type: ignore[attr-defined]
        for part in getattr(command, "commands", {}).values():
            yield from walk(part)

    for text in walk(get_command(app)):
        assert not re.match(r"(Of|What|Whether)\b", text), text


def test_few_choices_are_made_by_class() -> None:
    found = []
    for file in FILES:
        tree = ast.parse(file.read_text(encoding="utf-8"))
        asserted = {part for node in ast.walk(tree) if isinstance(node, ast.Assert) for part in ast.walk(node)}
        for node in set(ast.walk(tree)) - asserted:
            if isinstance(node, ast.Call) and getattr(node.func, "id", "") in ("isinstance", "issubclass"):
                names = {part.id for part in ast.walk(node.args[1]) if isinstance(part, ast.Name)}
                if names and not names <= PLAIN:
                    found.append(f"{file.relative_to(PACKAGE)}:{node.lineno} {sorted(names)}")
    assert len(found) <= MOST, "\n".join([f"{len(found)} choices by class", *found])


def test_nothing_is_chosen_by_the_name_of_a_class() -> None:
    for file in FILES:
        text = file.read_text(encoding="utf-8")
        assert not re.search(r"type\((flow|solver|model|loss|data|prior)\w*\)\.__name__", text), file
