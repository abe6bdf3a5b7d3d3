"""`python -m processor` is the command line."""

from processor.cli.main import main

main()
