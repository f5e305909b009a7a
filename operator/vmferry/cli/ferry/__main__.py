"""`python -m vmferry.cli.ferry`: the same as the program `kubectl-ferry`."""

from vmferry.cli.ferry.main import main

if __name__ == "__main__":
    main()
