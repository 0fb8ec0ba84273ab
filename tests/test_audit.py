"""Known vulnerabilities of what is installed beside sslbolts, as a public service lists them (make audit)."""

import json
import subprocess
import sys
from typing import Any

import pytest

KNOWN: dict[str, str] = {}
"""Vulnerabilities that stay, by identifier, each with the reason why it cannot be reached from here."""


def read_answer(answer: dict[str, Any]) -> tuple[list[str], list[str]]:
    """Vulnerabilities, and packages that nobody looked up, of pip-audit's JSON."""
    packages = answer["dependencies"]
    found = [
        f"{package['name']} {package['version']}: {flaw['id']}, cured in {', '.join(flaw['fix_versions']) or 'none'}"
        for package in packages
        for flaw in package.get("vulns", [])
        if flaw["id"] not in KNOWN
    ]
    return found, [package["name"] for package in packages if "skip_reason" in package]


@pytest.mark.slow
def test_what_is_installed_has_no_known_vulnerability():
    """Where the service does not answer, the test is skipped and says so: pip-audit alone would call that a pass."""
    command = [
        sys.executable,
        "-m",
        "pip_audit",
        "--local",
        "--skip-editable",
        "--format=json",
        "--progress-spinner=off",
    ]
    done = subprocess.run([*command, "--timeout=30"], capture_output=True, text=True)
    if not done.stdout.strip():
        pytest.skip(f"nothing was audited: {done.stderr.strip().splitlines()[-1]}")
    found, unseen = read_answer(json.loads(done.stdout))
    assert not found, "\n".join(found)
    unseen = [name for name in unseen if name != "sslbolts"]
    if unseen:
        pytest.skip(
            f"{len(unseen)} packages could not be looked up, and may have any flaw: {', '.join(unseen[:5])} ..."
        )


def test_flaws_and_packages_that_were_not_looked_up_are_told_apart():
    flaw = {"id": "PYSEC-1", "fix_versions": ["2.1"], "aliases": [], "description": ""}
    packages = [
        {"name": "good", "version": "1", "vulns": []},
        {"name": "bad", "version": "2", "vulns": [flaw]},
        {"name": "lost", "skip_reason": "not found"},
    ]
    assert read_answer({"dependencies": packages}) == (["bad 2: PYSEC-1, cured in 2.1"], ["lost"])
