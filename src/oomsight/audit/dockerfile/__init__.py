"""Dockerfiles: what the last stage runs and with which variables (``read``), and the rules (OS320 on)."""
