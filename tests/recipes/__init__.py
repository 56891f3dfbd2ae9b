"""One tiny recipe for each public model, a file for each family. A public model without a recipe fails a test."""

import importlib
import pkgutil

from recipes.recipe import Recipe

FAMILIES = [name for _, name, _ in pkgutil.iter_modules(__path__) if name not in {"recipe", "columns"}]
#: Public model -> how to make a tiny one.
RECIPES: dict[str, Recipe] = {}
for family in FAMILIES:
    RECIPES |= importlib.import_module(f"recipes.{family}").RECIPES
