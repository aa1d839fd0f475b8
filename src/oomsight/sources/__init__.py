"""
Where kernel logs come from: files, standard input, the journal, ``/dev/kmsg``, ``dmesg``; read only.

Every reader is a :class:`~oomsight.sources.source.Source` that yields plain log bytes, and
:func:`~oomsight.sources.scan.scan` finds in them the few windows the parser has to see.
"""
