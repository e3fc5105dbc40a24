"""Tells the tests what a task did: a module of its own, so that the PEX has a
dependency."""

import os
import urllib.parse
import urllib.request


def note(url, what):
    """Tells that this task did something; returns once the tests know."""
    text = "{} {} pid={} parent={} uid={}".format(
        what, os.environ.get("PERIGEE_TASK", "?"), os.getpid(), os.getppid(), os.getuid())
    urllib.request.urlopen(url + "/note?" + urllib.parse.urlencode({"text": text}), timeout=30).read()


def wait(url, gate):
    """Returns when the tests open a gate, however long that takes."""
    urllib.request.urlopen(url + "/gate?" + urllib.parse.urlencode({"name": gate}), timeout=300).read()
