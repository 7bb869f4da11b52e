"""Airflow sensors for Earth Engine."""
