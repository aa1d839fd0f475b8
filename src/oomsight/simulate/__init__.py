"""
A machine on paper: what would happen to these processes under these limits, and what would prevent it.

Who dies is never decided here: every kill goes through :func:`oomsight.kernel.selection.select`. What is decided here
is how memory fills up until then, and :mod:`~oomsight.simulate.fidelity` says what that leaves out.
"""
