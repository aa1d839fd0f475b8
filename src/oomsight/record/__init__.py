"""
The memory recorder's pure half: what is recorded, how it is packed, how dense and for how long.

A *row* is what changed at one moment; an *entity* is what it changed for (the host, a process, a name, a cgroup). Rows
of a tier are gathered in chunks, one stream per entity; see :mod:`oomsight.record.codec`.
"""
