"""Source files of a checkout of any age: parsed, never imported."""

from __future__ import annotations

import ast
import importlib.util
import io
import re
import subprocess
import tokenize
from collections.abc import Iterator
from functools import cached_property
from pathlib import Path

__all__ = ["LIBRARY", "PARTS", "Checkout", "Module"]

PARTS = {
    "library": "kstep_integrators",
    "training": "training/kstep_training",
    "tests": "tests",
    "benchmarks": "benchmarks",
    "examples": "examples",
}
LIBRARY = PARTS["library"]
DOCUMENTED = (ast.Module, ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef)
ANNOTATIONS = ("annotation", "returns")
IDENTIFIERS = {
    ast.Name: "id",
    ast.Attribute: "attr",
    ast.arg: "arg",
    ast.keyword: "arg",
    ast.Constant: "value",
}
LAYOUT = (tokenize.NL, tokenize.NEWLINE, tokenize.INDENT, tokenize.DEDENT, tokenize.ENDMARKER)


class Module:
    """One Python file: its text, syntax tree, dotted name, and what it imports."""

    def __init__(self, path: Path, part: str, folder: Path) -> None:
        self.path, self.part = path, part
        self.text = path.read_text(encoding="utf-8")
        self.tree = ast.parse(self.text)
        self.package = path.name == "__init__.py"
        parts = (folder.name, *path.relative_to(folder).with_suffix("").parts)
        self.name = ".".join(parts[:-1] if self.package else parts)
        self.line_count = self.text.count("\n")

    @cached_property
    def imported(self) -> list[tuple[str, str | None]]:
        """Pairs of a module and a name from it, or None where the module itself is imported."""
        pairs: list[tuple[str, str | None]] = []
        parent = self.name if self.package else self.name.rpartition(".")[0]
        for node in ast.walk(self.tree):
            if isinstance(node, ast.Import):
                pairs += [(alias.name, None) for alias in node.names]
            elif isinstance(node, ast.ImportFrom):
                relative = "." * node.level + (node.module or "")
                source = importlib.util.resolve_name(relative, parent) if node.level else relative
                pairs += [(source, alias.name) for alias in node.names]
        return pairs

    @cached_property
    def exports(self) -> list[str]:
        """Names in ``__all__``."""
        for node in self.tree.body:
            if isinstance(node, ast.Assign) and ast.unparse(node.targets[0]) == "__all__":
                return list(ast.literal_eval(node.value))
        return []

    @cached_property
    def annotated(self) -> set[str]:
        """Names in the annotations of arguments, results and fields."""
        notes = [getattr(n, key, None) for n in ast.walk(self.tree) for key in ANNOTATIONS]
        names = (node for note in notes if note is not None for node in ast.walk(note))
        return {node.id for node in names if isinstance(node, ast.Name)}

    @cached_property
    def identifiers(self) -> set[str]:
        """Names, attributes, arguments and whole strings of the code."""
        nodes = (node for node in ast.walk(self.tree) if type(node) in IDENTIFIERS)
        values = (getattr(node, IDENTIFIERS[type(node)]) for node in nodes)
        return {value for value in values if isinstance(value, str)}

    def lines(self) -> dict[str, int]:
        """Lines of code, docstrings and comments, and blank ones outside docstrings."""
        docstrings: set[int] = set()
        for node in ast.walk(self.tree):
            if isinstance(node, DOCUMENTED) and ast.get_docstring(node, clean=False) is not None:
                first = node.body[0]
                docstrings |= set(range(first.lineno, (first.end_lineno or first.lineno) + 1))
        code: set[int] = set()
        comments: set[int] = set()
        for token in tokenize.generate_tokens(io.StringIO(self.text).readline):
            if token.type == tokenize.COMMENT:
                comments.add(token.start[0])
            elif token.type not in LAYOUT:
                code |= set(range(token.start[0], token.end[0] + 1))
        code -= docstrings
        comments -= code | docstrings
        counts = {"code": len(code), "docstrings": len(docstrings), "comments": len(comments)}
        return {**counts, "blank": self.line_count - sum(counts.values())}


class Checkout:
    """A folder with the project in it.

    FileNotFoundError: if it has no ``kstep_integrators/__init__.py``.
    """

    def __init__(self, root: Path) -> None:
        self.root = root.resolve()
        if not (self.root / LIBRARY / "__init__.py").is_file():
            raise FileNotFoundError(
                f"{root} has no {LIBRARY}/__init__.py: give the root of a checkout of the project"
            )
        self.modules = [
            Module(path, part, self.root / folder)
            for part, folder in PARTS.items()
            for path in sorted((self.root / folder).rglob("*.py"))
            if not any(piece.startswith(("_build", "__pycache__")) for piece in path.parts)
        ]
        self.by_name = {module.name: module for module in self.modules}

    def part(self, *parts: str) -> list[Module]:
        """Modules of parts of the project."""
        return [module for module in self.modules if module.part in parts]

    def label(self) -> str:
        """The commit, or the name of the folder outside git."""
        command = ["git", "-C", str(self.root), "describe", "--always", "--dirty", "--exclude", "*"]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        return done.stdout.strip() if done.returncode == 0 else self.root.name

    def markdown(self) -> Iterator[Path]:
        """Markdown of the project, without that of tools and of built pages."""
        for path in sorted(self.root.rglob("*.md")):
            folders = path.relative_to(self.root).parts[:-1]
            if not any(f.startswith((".", "_build")) and f != ".github" for f in folders):
                yield path

    def origin(self, source: str, name: str) -> str | None:
        """Module of the project that ``from source import name`` is about, or None."""
        if f"{source}.{name}" in self.by_name:
            return f"{source}.{name}"
        module = self.by_name.get(source)
        if module is not None and module.package:
            for inner, imported in module.imported:
                if imported == name and inner != source and inner in self.by_name:
                    return self.origin(inner, name)
        return None if module is None else source

    def unused_exports(self) -> list[tuple[str, str]]:
        """Names in ``__all__`` of library and training module that nothing else mentions.

        A name that a package passes on is counted once, as the pair of defining module and name.
        Users are other modules, tests, benchmarks and examples that import it or write it with its
        module, and code in Markdown. Passing a name on is not a use.
        """
        homes: dict[tuple[str, str], set[str]] = {}
        for module in self.part("library", "training"):
            for name in module.exports:
                home = self.origin(module.name, name) or module.name
                homes.setdefault((home, name), {home}).add(module.name)
        documents = "\n".join(
            "\n".join(re.findall(r"```.*?```|`[^`\n]+`", path.read_text(), flags=re.DOTALL))
            for path in self.markdown()
        )
        return sorted(
            (home, name)
            for (home, name), doors in homes.items()
            if not re.search(rf"\b{name}\b", documents)
            and not any(self.uses(user, name, doors) for user in self.modules)
        )

    def uses(self, user: Module, name: str, doors: set[str]) -> bool:
        """Find out if a module needs a name that can be imported from several doors."""
        if user.name in doors:
            return False
        if any(re.search(rf"{re.escape(door)}[.:]{name}\b", user.text) for door in doors):
            return True
        whole = {f"{s}.{n}" if n else s for s, n in user.imported} & doors
        imported = any(source in doors and what == name for source, what in user.imported)
        return imported or bool(whole and name in user.identifiers)
