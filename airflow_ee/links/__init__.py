"""Links from an Airflow task to Earth Engine."""
