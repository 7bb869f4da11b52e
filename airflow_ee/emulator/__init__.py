"""A local Earth Engine: its REST API, an evaluator of its expressions, simulated and mounted imagery, exports to real files.

``Emulator`` is all of it as a context manager, ``ComputeOptions`` says how its pixels are computed, a ``ManualClock`` moves only
when told to, and what cannot be done is an ``EmulatorError``. ``python -m airflow_ee.emulator`` serves until told to stop.

Nothing here imports another part of this project, Airflow, or Google's client: what the emulator gets wrong, the client
cannot get wrong in the same way.
"""

from airflow_ee.emulator.clock import ManualClock
from airflow_ee.emulator.compute.service import ComputeOptions
from airflow_ee.emulator.emulator import Emulator
from airflow_ee.emulator.errors import EmulatorError

__all__ = ["ComputeOptions", "Emulator", "EmulatorError", "ManualClock"]
