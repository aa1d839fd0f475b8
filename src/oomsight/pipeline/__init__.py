"""From sources to explained incidents: scanning, parsing and diagnosing many logs with bounded memory on all cores."""
