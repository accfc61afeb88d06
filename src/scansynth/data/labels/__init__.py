"""labels.csv: how spreadsheets write it, whose each image is, where the lesion lies."""
