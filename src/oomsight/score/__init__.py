"""
Who would the OOM killer kill now: a snapshot of processes and cgroups in, a ranking with its reasons out.

The rules are :mod:`oomsight.kernel`'s; here they are put to a machine that is still running. Nothing reads the system:
a :class:`~oomsight.score.model.Snapshot` comes from a reader, a recording or a test.
"""
