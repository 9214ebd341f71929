"""The command line from an uninstalled checkout: python cli.py --help."""

from tritoncnn.__main__ import main

if __name__ == "__main__":  # processes that gpu-report starts import this file
    main()
