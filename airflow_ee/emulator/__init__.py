"""A local Earth Engine: the REST API, an evaluator of expressions, mounted and simulated imagery, exports to real files.

Nothing here imports another part of this project, Airflow, or Google's client: what the emulator gets wrong, the client
cannot get wrong in the same way.
"""

from airflow_ee.emulator.emulator import Emulator
from airflow_ee.emulator.errors import EmulatorError

__all__ = ["Emulator", "EmulatorError"]
