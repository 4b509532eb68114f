"""The function lane on this machine: warm worker processes that call the functions of bundles."""

from weftwork.sites.schedulers.workers.pool import Workers

__all__ = ["Workers"]
