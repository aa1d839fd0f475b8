"""Configuration files of servers: which are known (``kinds``), their settings (``read``), the rules (OS510 on)."""
