"""Loads flyball's probe into every interpreter that finds this folder on PYTHONPATH, then gets out of the
way.
"""

import sys


def _load_probe(folder: str) -> None:
    import importlib.util
    import os

    name = "flyball.runner.probe"
    package = os.path.join(folder, "probe")
    spec = importlib.util.spec_from_file_location(
        name,
        os.path.join(package, "__init__.py"),
        submodule_search_locations=[package],
    )
    if spec is None or spec.loader is None or name in sys.modules:
        return
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    spec.loader.exec_module(module)
    module.activate(os.path.join(folder, "settings.json"))


def _run_shadowed(folder: str) -> None:
    """Run the sitecustomize that would have run without this one, under its own name."""
    import os
    from importlib.machinery import PathFinder
    from importlib.util import module_from_spec

    here = os.path.realpath(folder)
    others = [path for path in sys.path if os.path.realpath(path) != here]
    spec = PathFinder.find_spec("sitecustomize", others)
    if spec is None or spec.loader is None:
        return
    module = module_from_spec(spec)
    sys.modules["sitecustomize"] = module
    spec.loader.exec_module(module)


def _main() -> None:
    import contextlib
    import os

    site = os.path.dirname(os.path.abspath(__file__))
    try:
        _run_shadowed(site)
    finally:
        with contextlib.suppress(Exception):  # an interpreter must start as if this file were not there
            _load_probe(os.path.dirname(site))


_main()
