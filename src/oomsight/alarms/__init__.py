"""Memory alarms: a reading, limits, what was held before and a moment in, alarms raised and cleared out; pure."""
