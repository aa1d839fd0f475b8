"""Who is told what, and when: events, rules, a state and a moment in, messages out; pure."""
