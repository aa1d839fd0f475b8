"""What changes the system; each action has a dry run of the same result type."""
