"""Kubernetes objects: what they say about memory (``model``, ``read``), and the rules (OS4xx)."""
