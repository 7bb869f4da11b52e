"""The algorithms. Each module is one family and adds itself to the registry when it is imported; all are, here."""

from importlib import import_module
from pkgutil import iter_modules

from airflow_ee.emulator.functions.promote import registry

for _module in iter_modules(__path__):
    import_module(f"{__name__}.{_module.name}")

__all__ = ["registry"]
