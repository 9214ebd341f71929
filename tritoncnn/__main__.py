"""The command line, as ``python -m tritoncnn`` and as the script ``tritoncnn``. It imports nothing before it can take Ctrl-C."""

import sys


def main() -> None:
    """Run the command that was asked for; an interruption before it has begun, while it is imported, is one line too."""
    try:
        from tritoncnn.commands import main as run

        run()
    except KeyboardInterrupt:
        print("tritoncnn: interrupted", file=sys.stderr)
        sys.exit(130)
    finally:
        exec(
            ""
        )  # Python forgets an interrupt that went through an exec(), as of dataclasses, and would end by the signal


if __name__ == "__main__":
    main()
