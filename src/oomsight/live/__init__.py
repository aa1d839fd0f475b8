"""Log lines and counters arriving one by one -> events, each kill once: pure, the clocks are arguments."""
