"""What a scan looks like when it finds much."""

from __future__ import annotations

from listmonk_doctor.diagnosis.findings import Finding, ScanReport
from listmonk_doctor.render import pages_scan, plain


def finding(number: int, severity: str = "info", code: str = "LM111") -> Finding:
    """Return a finding about one campaign."""
    return Finding(code, "short-by-the-blocklisted", severity, "campaigns", number, f"Letter {number}", "4 are short.")  # type: ignore[arg-type]


def test_many_infos_of_one_check_are_one_line_and_the_rest_stay_apart() -> None:
    """Two thousand infos do not push the one error out of sight; their number is said."""
    found = (finding(1, "error", "LM101"), *(finding(number) for number in range(2, 2000)))
    page = plain.render(pages_scan.scan_table(ScanReport("v3.0.0", running=None, findings=found)))
    assert "1,998 campaigns" in page
    assert "LM101" in page
    assert len(page.splitlines()) < 10


def test_a_few_infos_are_listed_one_by_one() -> None:
    """Up to ten infos of a check each have their line."""
    page = plain.render(
        pages_scan.scan_table(ScanReport("v3.0.0", running=None, findings=tuple(map(finding, range(1, 11)))))
    )
    assert all(f"Letter {number}" in page for number in range(1, 11))
