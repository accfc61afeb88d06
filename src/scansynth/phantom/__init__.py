"""A procedural chest-MR cohort, written as real DICOM: nobody's scans."""
