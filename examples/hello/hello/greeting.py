"""What the server says: a module of its own, so that the PEX has a dependency."""

import os


def greeting(environ=os.environ):
    """Returns one line that tells which task is speaking."""
    return "hello from instance {} of {} on port {}, attempt {} of deploy {}".format(
        environ.get("PERIGEE_INSTANCE", "?"),
        environ.get("PERIGEE_JOB", "nowhere"),
        environ.get("PORT", "?"),
        environ.get("PERIGEE_ATTEMPT", "?"),
        environ.get("PERIGEE_DEPLOY", "?"),
    )
