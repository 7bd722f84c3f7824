# SPDX-License-Identifier: Apache-2.0
"""The recipe of a training set: one TOML file with a table for each stage.

A stage's settings live in the stage's own module; this module only puts them together.
"""

from __future__ import annotations

import tomllib
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from budgetforce.building.stage import digest_of
from budgetforce.curating.card import CardSettings
from budgetforce.curating.collect import CollectSettings
from budgetforce.curating.decontaminate import DecontaminateSettings
from budgetforce.curating.features import FeaturesSettings
from budgetforce.curating.grade import GradeSettings
from budgetforce.curating.render import RenderSettings
from budgetforce.curating.select import SelectSettings
from budgetforce.curating.settings import Reader, check
from budgetforce.curating.trace import TraceSettings
from budgetforce.errors import ConfigError

RECIPES = Path(__file__).with_name("recipes")


@dataclass(frozen=True, slots=True, kw_only=True)
class Recipe:
    """A recipe as read.

    Attributes:
        name: name of the training set.
        seed: every stage draws from a generator of its own, seeded with this and the stage's name.
        tokenizer: ``s1-tiny``, a folder, or the id of a model on the hub.
        tokenizer_revision: full commit of that model; "" for a folder.
    """

    name: str
    tokenizer: str
    collect: CollectSettings
    trace: TraceSettings
    select: SelectSettings
    seed: int = 0
    tokenizer_revision: str = ""
    grade: GradeSettings = field(default_factory=GradeSettings)
    features: FeaturesSettings = field(default_factory=FeaturesSettings)
    decontaminate: DecontaminateSettings = field(default_factory=DecontaminateSettings)
    render: RenderSettings = field(default_factory=RenderSettings)
    card: CardSettings = field(default_factory=CardSettings)

    def __post_init__(self) -> None:
        check("name", self.name, bool(self.name.strip()), "text")


@dataclass(frozen=True, slots=True, kw_only=True)
class LoadedRecipe:
    """A recipe with its text.

    Attributes:
        data: the TOML as read.
        folder: relative paths in it are relative to this folder.
    """

    recipe: Recipe
    data: dict[str, Any]
    folder: Path

    @property
    def sha256(self) -> str:
        """Digest of the recipe's content; comments and the order of keys do not change it."""
        return digest_of(self.data)


def bundled_recipes() -> list[str]:
    """Return the names of the recipes in this package."""
    return sorted(path.stem for path in RECIPES.glob("*.toml"))


def load_recipe(name: str) -> LoadedRecipe:
    """Read a recipe by the name of a bundled recipe, or by a path that ends in .toml.

    A relative path in a recipe is relative to the recipe's folder; in a bundled recipe, to the working directory. The key
    ``base`` names a recipe whose tables this one changes.

    Raises ConfigError naming the file, the key's path, its value and what is allowed.
    """
    path = _path_of(name, "--recipe", Path())
    data = _with_base(_read(path), path, ())
    folder = Path.cwd() if path.parent == RECIPES else path.resolve().parent
    recipe = Reader(folder=folder, file=str(path)).settings(Recipe, data, "")
    return LoadedRecipe(recipe=recipe, data=data, folder=folder)


def _path_of(name: object, field: str, folder: Path) -> Path:
    if isinstance(name, str):
        if name in bundled_recipes():
            return RECIPES / f"{name}.toml"
        if name.endswith(".toml"):
            return folder / name
    raise ConfigError(f"{field}: got {name!r}, allowed: {', '.join(bundled_recipes())}, or a file that ends in .toml")


def _read(path: Path) -> dict[str, Any]:
    try:
        return tomllib.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise ConfigError(f"recipe {path}: cannot be read: {error.strerror}") from None
    except ValueError as error:  # also of tomllib and of UTF-8
        raise ConfigError(f"recipe {path}: not TOML: {error}") from None


def _with_base(data: dict[str, Any], path: Path, seen: tuple[Path, ...]) -> dict[str, Any]:
    """Return a recipe's data laid over that of its base: tables are merged, arrays and values replaced."""
    if "base" not in data:
        return data
    base = _path_of(data["base"], f"{path}: base", path.parent)
    if base in (*seen, path):
        raise ConfigError(f"{path}: base: got {data['base']!r}, allowed: a recipe that is not based on this one")
    return _merged(_with_base(_read(base), base, (*seen, path)), {key: value for key, value in data.items() if key != "base"})


def _merged(base: dict[str, Any], changes: dict[str, Any]) -> dict[str, Any]:
    both = {key: _merged(base[key], value) for key, value in changes.items() if isinstance(value, dict) and isinstance(base.get(key), dict)}
    return base | changes | both
