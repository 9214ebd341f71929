"""The command line from an uninstalled checkout: python cli.py --help."""

from tritoncnn.commands import main

main()
