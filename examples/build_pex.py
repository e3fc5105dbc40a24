#!/usr/bin/python3
"""Builds a PEX from a directory of Python sources with Debian's pex:

    examples/build_pex.py examples/hello hello.__main__ build/examples/hello.pex

Debian 12's pex 1.5.3 writes a bootstrap that Debian 12's Python 3.11 refuses
(ValueError: invalid mode: 'rU', as soon as there is a .pth file, and
python3-setuptools, which pex needs, brings one). So what pex wrote is copied,
without that mode. The copy has the same bytes for the same sources, so that
its checksum only changes when they do.
"""

import os
import shutil
import subprocess
import sys
import tempfile
import zipfile

SHEBANG = b"#!/usr/bin/python3\n"
UTIL = ".bootstrap/_pex/util.py"


def build(sources, entry_point, output):
    """Writes output, an executable file, whole or not at all."""
    os.makedirs(os.path.dirname(os.path.abspath(output)), exist_ok=True)
    with tempfile.TemporaryDirectory() as scratch:
        clean = os.path.join(scratch, "sources")
        shutil.copytree(sources, clean, ignore=shutil.ignore_patterns("__pycache__", "*.pyc"))
        written = os.path.join(scratch, "written.pex")
        subprocess.run(
            ["pex", "--no-pypi", "--disable-cache", "--sources-directory", clean,
             "--entry-point", entry_point, "--output-file", written],
            check=True)
        partial = output + ".partial"
        with open(partial, "wb") as file:
            file.write(SHEBANG)
            with zipfile.ZipFile(written) as old, zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as new:
                copy(old, new)
        os.chmod(partial, 0o755)
        os.replace(partial, output)


def copy(old, new):
    for name in sorted(old.namelist()):
        if name.endswith(".pyc"):  # bytes differ from build to build
            continue
        content = old.read(name)
        if name == UTIL:
            content = content.replace(b"open(filename, 'rU')", b"open(filename)")
        new.writestr(zipfile.ZipInfo(name), content, zipfile.ZIP_DEFLATED)


if __name__ == "__main__":
    if len(sys.argv) != 4:
        sys.exit("usage: build_pex.py SOURCES ENTRY_POINT OUTPUT")
    build(*sys.argv[1:])
