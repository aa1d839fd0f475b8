"""
The texts of /proc and of cgroup directories, parsed: text in, values out, no files touched.

A parser takes the whole text of one file and never raises: a line it does not know is skipped, a number it cannot
read is ``None`` (not known), a text that is not such a file at all gives ``None`` or an empty result. Texts are decoded
with ``surrogateescape``, because names may hold any byte. ``"unlimited"`` is a limit that does not limit, never a big
number.
"""
