"""Running containers: what their runtime was told (``read``), and the rules (OS330 to OS337)."""
