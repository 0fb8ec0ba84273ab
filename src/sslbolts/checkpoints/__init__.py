"""Files of trained networks, each read without running anything that stands in it.

From the ground up: ``files`` opens a file, and ``safe_arguments`` sorts out what it may ask for; ``ours`` reads a
checkpoint of a module that was trained here, and ``foreign`` those of other libraries; ``backbone`` takes the bare
network out of either; and ``writing`` puts it into a file that other programs read. :mod:`sslbolts.export` is the
public face of all.
"""
