"""The work behind an import: read what the manifest names, and write the asset as a draft."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from airflow_ee.emulator.catalog.assets import Kind
from airflow_ee.emulator.catalog.stored import RECORD, write_image, write_json
from airflow_ee.emulator.catalog.tables import write_features
from airflow_ee.emulator.exports.drafts import Progress
from airflow_ee.emulator.imports import images, tables
from airflow_ee.emulator.imports.buckets import Buckets
from airflow_ee.emulator.imports.image_manifest import ImageImport
from airflow_ee.emulator.imports.table_manifest import TableImport
from airflow_ee.emulator.session import Session
from airflow_ee.emulator.values.dates import timestamp


@dataclass(frozen=True, slots=True)
class ImportWork:
    """Runs imports; holds no state of its own."""

    buckets: Buckets
    new_session: Callable[[], Session]
    now: Callable[[], datetime]

    def write(self, task: ImageImport | TableImport, draft: Path, progress: Progress) -> tuple[Kind, int]:
        """Write the asset into an empty folder; answers where its data come from, and how many values there are."""
        if isinstance(task, ImageImport):
            return self._image(task, draft, progress)
        return self._table(task, draft, progress)

    def _image(self, task: ImageImport, draft: Path, progress: Progress) -> tuple[Kind, int]:
        image = images.read_manifest(task, self.buckets, draft.parent, self.now())
        write_image(draft, image, progress)
        return image.kind, sum(grid.width * grid.height for grid in image.grids)

    def _table(self, task: TableImport, draft: Path, progress: Progress) -> tuple[Kind, int]:
        features = tables.read_manifest(task, self.buckets, draft.parent, self.new_session())
        for done in write_features(features, draft):
            progress(done / len(features))
        record = {
            "type": "TABLE",
            "updateTime": timestamp(self.now()),
            "kind": Kind.NONE.value,
            "times": task.fields.times,
            "properties": dict(task.fields.properties),
        }
        write_json(draft / RECORD, record)
        return Kind.NONE, len(features)
