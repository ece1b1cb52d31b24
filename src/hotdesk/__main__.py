"""`python -m hotdesk`."""

from hotdesk.cli.main import main

if __name__ == "__main__":
    main()
