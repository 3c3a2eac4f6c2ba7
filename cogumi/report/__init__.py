"""The report of a run: report.json, and report.html that opens offline in any browser."""
