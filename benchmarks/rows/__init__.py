"""What a table compares: methods, their runs, and the masks of every row."""
