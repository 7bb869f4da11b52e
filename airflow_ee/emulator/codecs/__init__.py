"""File formats written byte by byte: TFRecord, shapefile, KML, CSV and GeoJSON. They know nothing of Earth Engine."""
