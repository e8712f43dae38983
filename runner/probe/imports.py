"""Runs a function once a module has been imported, without importing anything itself."""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from importlib.machinery import ModuleSpec, SourceFileLoader
from typing import Any

Hook = Callable[[Any], None]
Around = Callable[[Callable[[Any], None]], Callable[[Any], None]]
"""Wraps how a module is executed."""


class PostImportFinder:
    """A meta path finder that finds nothing new: it lets the others find, and hooks the end of the import."""

    def __init__(self) -> None:
        self.hooks: dict[str, list[Hook]] = {}
        self.around: Callable[[], Around | None] = lambda: None
        """Asked at each import what to put around a module of plain source; None leaves it alone."""
        self._searching: set[str] = set()

    def when_imported(self, name: str, hook: Hook) -> None:
        """Call ``hook(module)`` after ``name`` has been imported; at once where it already is."""
        module = sys.modules.get(name)
        if module is not None and not getattr(getattr(module, "__spec__", None), "_initializing", False):
            hook(module)
        else:
            self.hooks.setdefault(name, []).append(hook)

    def find_spec(
        self, name: str, path: Sequence[str] | None = None, target: Any = None
    ) -> ModuleSpec | None:
        """The spec that the other finders give for a watched name, its loader hooked."""
        around = self.around()
        if (name not in self.hooks and around is None) or name in self._searching:
            return None
        self._searching.add(name)
        try:
            spec = next(
                filter(None, (_ask(finder, name, path, target) for finder in list(sys.meta_path))), None
            )
        finally:
            self._searching.discard(name)
        if spec is not None and spec.loader is not None:
            if around is not None and isinstance(spec.loader, SourceFileLoader):
                _put_around(around, spec.loader)
            if name in self.hooks:
                self._hook_loader(name, spec.loader)
        return spec

    def _hook_loader(self, name: str, loader: Any) -> None:
        original = loader.exec_module

        def exec_module(module: Any) -> None:
            original(module)
            loader.__dict__.pop("exec_module", None)
            for hook in self.hooks.pop(name, []):
                hook(module)

        try:
            # On the instance: the loader stays what it is for whoever asks the module for it.
            loader.exec_module = exec_module
        except AttributeError:
            self.hooks.pop(name, None)


def _put_around(around: Around, loader: Any) -> None:
    original = loader.exec_module

    def exec_module(module: Any) -> None:
        loader.__dict__.pop("exec_module", None)
        around(original)(module)

    loader.exec_module = exec_module


def _ask(finder: Any, name: str, path: Sequence[str] | None, target: Any) -> ModuleSpec | None:
    find = getattr(finder, "find_spec", None)
    spec: ModuleSpec | None = find(name, path, target) if find is not None else None
    return spec


FINDER = PostImportFinder()


def install_finder() -> None:
    """Put the finder in front, once."""
    if FINDER not in sys.meta_path:
        sys.meta_path.insert(0, FINDER)
