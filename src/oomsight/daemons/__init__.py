"""Loops that only wire: sources to the pure rooms to the sinks."""
