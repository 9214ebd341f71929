"""``python -m tritoncnn``: the command line."""

from tritoncnn.commands import main

main()
