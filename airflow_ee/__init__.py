"""Google Earth Engine for Apache Airflow. Import what you need from its subpackages: this module imports nothing."""

__version__ = "0.1.0"
