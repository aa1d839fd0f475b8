"""From what was used to what should be allowed: need, tail, limits, requests, and what each would cost."""
