"""Rules about a running host: swap, sysctls, logs, protections, and who could take all of its memory."""
