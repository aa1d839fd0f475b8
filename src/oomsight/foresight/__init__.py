"""What is on record of a machine -> who leaks, what will be full when, by whose doing, and what buys time. Pure."""
