"""From the rows to a report: checks, scan, id sets, account, causes."""
