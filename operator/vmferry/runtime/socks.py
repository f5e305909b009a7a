"""SOCKS proxies (`proxy-url: socks5://...`), with optional libraries: `pip install 'vmferry[socks]'`."""

from __future__ import annotations

import importlib
import importlib.util

import aiohttp

from vmferry.runtime.access import Access, AccessError

ASYNCHRONOUS, SYNCHRONOUS = "aiohttp_socks", "socks"


def is_socks(proxy: str | None) -> bool:
    return proxy is not None and proxy.lower().startswith("socks")


def require(access: Access, module: str) -> None:
    """Raises AccessError if the proxy is a SOCKS proxy and `module`, which supports these, is not installed."""
    if is_socks(access.proxy) and importlib.util.find_spec(module) is None:
        raise AccessError(
            "no way to Kubernetes: proxy-url is a SOCKS proxy, which needs two more packages: "
            "pip install 'vmferry[socks]'"
        )


def connector(proxy: str) -> aiohttp.BaseConnector:
    """The connector for a session that uses the proxy. The proxy resolves host names, as with kubectl."""
    found: aiohttp.BaseConnector = importlib.import_module(ASYNCHRONOUS).ProxyConnector.from_url(
        proxy.replace("socks5h://", "socks5://"), rdns=True, limit=0
    )
    return found
