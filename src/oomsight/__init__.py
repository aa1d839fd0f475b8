"""Hindsight, insight and foresight for the Linux OOM killer."""
