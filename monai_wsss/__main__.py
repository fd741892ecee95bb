"""`python -m monai_wsss`."""

from monai_wsss.cli import main

main()
