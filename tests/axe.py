"""What axe-core finds wrong with a page, for those who do not see it or use no mouse."""

from __future__ import annotations

from importlib import resources
from typing import Any

import pytest

RULES = ("wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa", "best-practice")
"""Groups of axe's rules that are run: WCAG 2.2, levels A and AA, and what axe calls good practice."""


def findings(page: Any) -> list[str]:
    """A line for each rule that an open page breaks, with the first element that does; nothing: it breaks none."""
    pytest.importorskip("axe_playwright_python", reason="it brings axe-core")
    script = (resources.files("axe_playwright_python") / "axe.min.js").read_text(encoding="utf-8")
    page.evaluate(script)
    run = "rules => axe.run(document, {runOnly: {type: 'tag', values: rules}, resultTypes: ['violations']})"
    found = page.evaluate(run, list(RULES))
    assert found["passes"], "axe ran"
    return [f"{one['id']}: {one['help']}: {one['nodes'][0]['html'][:200]}" for one in found["violations"]]
