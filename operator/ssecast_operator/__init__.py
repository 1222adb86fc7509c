"""The operator of ssecast: a fleet of pods that follows its streams and drains without storms.

What the fleet should be is decided in pure rooms, from values, with the time as an argument (seconds since the Unix epoch,
as floats: what is remembered in a status must mean the same after a restart). What is done about it is told as values too.
"""
