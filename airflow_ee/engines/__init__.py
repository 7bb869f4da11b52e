"""Engines run a :class:`~airflow_ee.core.job.PixelJob` somewhere: in threads, processes, on Beam, Dask or Spark.

Each is a value with ``run(job)``. They need the core only, and no other engine; what an engine itself needs is imported when it runs.
"""
