"""A drop-in for ``modelkit.assets``: the same sub-modules, names, signatures, settings and errors, over a Holdfast repository.

Moving is one import: ``modelkit.assets.manager`` becomes ``holdfast.modelkit.manager``, and so on for ``remote``, ``settings``,
``errors``, ``versioning`` and ``drivers``. Nothing here pushes or fetches by itself, but for pushes through a driver of the
user's own (``unprotected``), which no promise of a store stands behind.
"""
