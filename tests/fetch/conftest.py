from tests.fetch.web import client, store, web

__all__ = ["client", "store", "web"]
