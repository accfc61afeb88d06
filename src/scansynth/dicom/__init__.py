"""DICOM files in and out: the only importer of pydicom."""
