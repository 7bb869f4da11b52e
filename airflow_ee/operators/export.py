"""Exports: batch operations of Earth Engine that write files, assets or tables by themselves."""

from __future__ import annotations

from airflow_ee.operators.export_classifier import EarthEngineExportClassifierOperator
from airflow_ee.operators.export_collection import EarthEngineExportCollectionOperator
from airflow_ee.operators.export_image import EarthEngineExportImageOperator
from airflow_ee.operators.export_map import EarthEngineExportMapOperator
from airflow_ee.operators.export_table import EarthEngineExportTableOperator
from airflow_ee.operators.export_video import EarthEngineExportVideoOperator

__all__ = [
    "EarthEngineExportClassifierOperator",
    "EarthEngineExportCollectionOperator",
    "EarthEngineExportImageOperator",
    "EarthEngineExportMapOperator",
    "EarthEngineExportTableOperator",
    "EarthEngineExportVideoOperator",
]
