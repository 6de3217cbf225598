"""``python -m pdeml``: the command."""

from pdeml.cli import main

if __name__ == "__main__":
    main()
