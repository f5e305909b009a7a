"""SOCKS proxies (`proxy-url: socks5://...`), by libraries that not everybody needs: `pip install 'vmferry[socks]'`."""

from __future__ import annotations

import importlib
import importlib.util

import aiohttp

from vmferry.runtime.access import Access, AccessError

ASYNCHRONOUS, SYNCHRONOUS = "aiohttp_socks", "socks"


def is_socks(proxy: str | None) -> bool:
    return proxy is not None and proxy.lower().startswith("socks")


def require(access: Access, module: str) -> None:
    """Raises AccessError where the way leads through a SOCKS proxy and nothing here can speak to one."""
    if is_socks(access.proxy) and importlib.util.find_spec(module) is None:
        raise AccessError(
            "no way to Kubernetes: proxy-url is a SOCKS proxy, which needs two more packages: "
            "pip install 'vmferry[socks]'"
        )


def connector(proxy: str) -> aiohttp.BaseConnector:
    """Of a session whose every connection goes through the proxy; `socks5h` resolves names there, as kubectl does."""
    found: aiohttp.BaseConnector = importlib.import_module(ASYNCHRONOUS).ProxyConnector.from_url(
        proxy.replace("socks5h://", "socks5://"), rdns=True, limit=0
    )
    return found
