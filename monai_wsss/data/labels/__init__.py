"""The labels table: read as it comes, matched with the volumes, merged into the labels of each case."""
