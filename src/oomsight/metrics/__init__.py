"""
What the agent tells monitoring systems: a table of metrics, and pure functions that fill it.

Events, /proc and the agent's own state go in, families of samples come out; :mod:`oomsight.sinks` writes them as
Prometheus text, OTLP or Zabbix items.
"""
