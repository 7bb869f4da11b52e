"""The engine room: Earth Engine's REST API, grids, tiles and files, without Airflow and without the ``ee`` package."""
