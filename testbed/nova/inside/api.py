"""api.py NAME PORT: runs an OpenStack API (keystone, placement, glance or nova-api) in one process.

Environment: VMFERRY_NOVA_RUN (the lab's folder).
"""

import importlib
import os
import sys

import waitress
from lab_files import RUN_DIR

APPLICATIONS = {
    "keystone": "keystone.wsgi.api",
    "placement": "placement.wsgi.api",
    "glance": "glance.wsgi.api",
    "nova-api": "nova.wsgi.osapi_compute",
}


def main():
    name, port = sys.argv[1:]
    sys.argv = [name]  # some of them parse it as their own command line
    for project in ("KEYSTONE", "PLACEMENT", "GLANCE", "NOVA"):
        os.environ[f"OS_{project}_CONFIG_DIR"] = str(RUN_DIR / "etc" / project.lower())
    os.environ["OS_GLANCE_CONFIG_FILES"] = "glance-api.conf"
    application = importlib.import_module(APPLICATIONS[name]).application
    waitress.serve(
        application,
        listen=f"127.0.0.1:{port}",
        threads=8,
        # with waitress's default of 100, a client that never closes its connections makes all others wait for minutes
        connection_limit=1000,
        asyncore_use_poll=True,
        ident=None,
        clear_untrusted_proxy_headers=False,
    )


if __name__ == "__main__":
    main()
