"""Airflow operators for Earth Engine."""
