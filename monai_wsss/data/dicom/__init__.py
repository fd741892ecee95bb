"""DICOM series: headers, geometry, pixels."""
