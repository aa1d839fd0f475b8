"""systemd units: their settings with drop-ins on top (``read``), and the rules (OS2xx)."""
