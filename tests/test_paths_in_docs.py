import os
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]
FOLDERS = "agent|collectors|policies|runner|tuners|tests|docs|deploy|grafana|src"
LINK = re.compile(r"\]\((?!\w+:)([^)#\s]+)")
NAMED = re.compile(rf"(?<![\w./])(?:{FOLDERS})/[\w./*-]*")
PLACEHOLDER = "X.Y.Z"


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_what_a_page_links_to_or_names_is_there(page):
    text = page.read_text(encoding="utf-8")
    linked = {os.path.relpath(page.parent / found, ROOT) for found in LINK.findall(text)}
    code = " ".join(re.findall(r"`[^`\n]+`", text))
    named = {found.rstrip(".") for found in NAMED.findall(code) if PLACEHOLDER not in found}
    assert [path for path in sorted(linked | named) if not any(ROOT.glob(path.rstrip("/")))] == []
