"""Airflow triggers for Earth Engine: they poll, they never submit."""
