"""Two readings of a machine -> its state in one answer: what is left, who holds it, who grows, who dies; pure."""
