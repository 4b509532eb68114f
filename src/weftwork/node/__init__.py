"""Floor 1: what runs beside the calculation. Standard library, :mod:`weftwork.core` and :mod:`weftwork.errors` alone.

The command lane: a job folder (:mod:`~weftwork.node.job`) is run by a :class:`~weftwork.node.run.Runner`, on this machine within
the resident :mod:`~weftwork.node.supervisor`, elsewhere by ``python -m weftwork.node run FOLDER``. The engine's side is
:class:`~weftwork.node.supervised.Supervised`.
"""
