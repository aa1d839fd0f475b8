"""Compose files: what each service says about memory (``read``), and the rules (OS3xx)."""
