"""The drill on paper: where a harmless OOM kill may be made, and what following it came to; pure."""
