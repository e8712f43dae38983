"""Lists the benchmarks, or runs one: ``python tests/benchmarks [NAME [its arguments]]``."""

import ast
import runpy
import sys
from pathlib import Path

FOLDER = Path(__file__).parent


def benchmarks() -> dict[str, Path]:
    """Every benchmark by name: a script, or a folder with a ``__main__.py``."""
    scripts = (path for path in FOLDER.glob("*.py") if not path.stem.startswith(("_", "test_")))
    folders = (path.parent for path in FOLDER.glob("*/__main__.py"))
    return {path.stem: path for path in sorted((*scripts, *folders))}


def summary(path: Path) -> str:
    """The first line of a benchmark's docstring."""
    source = path / "__main__.py" if path.is_dir() else path
    return (ast.get_docstring(ast.parse(source.read_text())) or "").partition("\n")[0]


def main(arguments: list[str]) -> int:
    """List or run; return the exit status."""
    known = benchmarks()
    if not arguments:
        for name, path in known.items():
            print(f"{name:<28} {summary(path)}")
        return 0
    name, *rest = arguments
    if name not in known:
        print(f"no benchmark named {name!r}; there are: {', '.join(known)}", file=sys.stderr)
        return 2
    sys.argv = [str(known[name]), *rest]
    sys.path[:1] = [str(FOLDER), str(FOLDER.parents[1])]
    runpy.run_path(str(known[name]), run_name="__main__")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
