"""A dependency of the application, so that the PEX has something to find."""


def greeting(task):
    return "hello from " + task
