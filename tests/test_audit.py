"""Known vulnerabilities of what is installed beside sslbolts, as a public service lists them (make audit)."""

import json
import os
import re
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


def gap(output: str, errors: str) -> str | None:
    """Why it cannot be said that nothing installed has a flaw, by what pip-audit says; None where it can.

    Where the service does not know a package, pip-audit leaves it out, and says "No known vulnerabilities found".
    """
    if not output.strip():
        return f"nothing was audited: {(errors.strip() or 'pip-audit said nothing').splitlines()[-1]}"
    answer = json.loads(output)
    count = len(answer["dependencies"])
    unseen = read_answer(answer)[1]
    if len(unseen) == count:
        return (
            f"nothing was audited: PyPI's list of vulnerabilities knows none of {count} packages, so it cannot be "
            "reached from here, or the package index is a mirror without it (https://pypi.org/pypi/torch/json must "
            "answer)."
        )
    if unseen := [name for name in unseen if name != "sslbolts"]:
        return f"{len(unseen)} of {count} packages were not audited, and may have any flaw: {', '.join(unseen[:5])} ..."
    return None


@pytest.mark.slow
def test_what_is_installed_has_no_known_vulnerability():
    """With SSLBOLTS_AUDIT (``make audit``) a gap is a failure; else the test is skipped, and says so."""
    command = [sys.executable, "-m", "pip_audit", "--local", "--skip-editable", "--format=json"]
    done = subprocess.run([*command, "--progress-spinner=off", "--timeout=30"], capture_output=True, text=True)
    if done.stdout.strip():
        found, _ = read_answer(json.loads(done.stdout))
        assert not found, "\n".join(found)
    if missing := gap(done.stdout, done.stderr):
        if os.environ.get("SSLBOLTS_AUDIT"):
            pytest.fail(missing, pytrace=False)
        pytest.skip(missing)


def test_flaws_and_packages_that_were_not_looked_up_are_told_apart():
    flaw = {"id": "PYSEC-1", "fix_versions": ["2.1"], "aliases": [], "description": ""}
    packages = [
        {"name": "good", "version": "1", "vulns": []},
        {"name": "bad", "version": "2", "vulns": [flaw]},
        {"name": "lost", "skip_reason": "not found"},
    ]
    assert read_answer({"dependencies": packages}) == (["bad 2: PYSEC-1, cured in 2.1"], ["lost"])


@pytest.mark.parametrize(
    ("packages", "said"),
    [
        ({"good": True, "better": True}, None),
        ({"good": True, "better": True, "sslbolts": False}, None),
        ({"good": True, "lost": False}, "1 of 2 packages were not audited, and may have any flaw: lost"),
        ({"gone": False, "lost": False, "sslbolts": False}, "nothing was audited: PyPI's list .* none of 3 packages"),
    ],
)
def test_no_answer_is_no_pass(packages, said):
    answer = [
        {"name": n, "version": "1", **({"vulns": []} if ok else {"skip_reason": ""})} for n, ok in packages.items()
    ]
    found = gap(json.dumps({"dependencies": answer}), "No known vulnerabilities found")
    assert found is None if said is None else re.match(said, found)


def test_nor_is_silence():
    assert gap("", "Traceback\nconnection refused\n") == "nothing was audited: connection refused"
    assert gap("", "") == "nothing was audited: pip-audit said nothing"
