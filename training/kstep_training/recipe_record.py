"""``recipe.json``: a recipe, and the time that each of its stages has taken."""

from __future__ import annotations

import dataclasses
import json
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.markup import escape

from kstep_integrators.files import write_text_atomically

__all__ = ["StageRecord"]


class StageRecord:
    """``recipe.json``: the recipe, and the seconds that each stage has taken, over all calls.

    Parameters
    ----------
    recipe : dataclass
    output : Path
        Folder of the recipe.
    """

    def __init__(self, recipe: Any, output: Path) -> None:
        self.path = output / "recipe.json"
        self.seconds: dict[str, float] = {}
        if self.path.exists():
            self.seconds = json.loads(self.path.read_text())["seconds"]
        self.recipe = recipe

    def timed(self, stage: str, make: Callable[[], Any]) -> None:
        """Do a stage, and keep its time.

        Parameters
        ----------
        stage : str
            Its name.
        make : callable
        """
        console = Console()
        console.rule(escape(stage), align="left")
        started = time.perf_counter()
        try:
            make()
        finally:  # an interrupted stage has taken time as well
            taken = time.perf_counter() - started
            self.seconds[stage] = self.seconds.get(stage, 0.0) + taken
            content = {"recipe": dataclasses.asdict(self.recipe), "seconds": self.seconds}
            write_text_atomically(self.path, json.dumps(content, indent=1) + "\n")
        console.print(f"{stage}: {taken:.1f} s", highlight=False)
