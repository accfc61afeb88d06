"""Images from an archive and synthetic sets into one: DIMSE (PS3.4, PS3.7) and DICOMweb (PS3.18)."""
