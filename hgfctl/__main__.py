"""`python -m hgfctl`."""

from hgfctl.cli.app import main

if __name__ == "__main__":
    main()
