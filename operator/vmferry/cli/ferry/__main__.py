"""`python -m vmferry.cli.ferry`: runs the program `kubectl-ferry`."""

from vmferry.cli.ferry.main import main

if __name__ == "__main__":
    main()
