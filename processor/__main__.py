"""`python -m processor` runs the command line."""

from processor.cli.main import main

main()
