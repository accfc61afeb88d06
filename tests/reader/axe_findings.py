"""What axe finds on the page that a browser shows now."""

from __future__ import annotations

from typing import Any

from axe_playwright_python.sync_playwright import Axe
from page_kit import Device

RULES = {"runOnly": ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa", "best-practice"]}


def findings(at: Device, **options: Any) -> list[str]:
    """Rule and place of each finding on what the page shows now."""
    told = Axe().run(at.page, options=RULES | options).response
    assert len(told["passes"]) > 3, "axe looked at nothing"
    return [f"{one['id']}: {node['target']} {node['html'][:80]}" for one in told["violations"] for node in one["nodes"]]
