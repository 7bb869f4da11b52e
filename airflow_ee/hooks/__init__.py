"""Airflow hooks for Earth Engine."""
