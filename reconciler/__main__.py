"""`python -m reconciler` is `pressluft`."""

from reconciler.cli.main import main

if __name__ == "__main__":
    main()
