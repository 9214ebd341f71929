"""The command line from an uninstalled checkout: python cli.py --help."""

from tritoncnn.commands import main

if __name__ == "__main__":  # processes that gpu-report starts import this file
    main()
