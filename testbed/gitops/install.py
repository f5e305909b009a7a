"""Builds the engines of GitOps tools (see main.go) into the cache folder, unless they are up to date."""

from __future__ import annotations

from pathlib import Path

from testbed.golang import Module

#: Kubernetes libraries have the same versions as in testbed/kubernetes, so that they are compiled once
MODULE = Module(
    name="gitops",
    source=Path(__file__).resolve().parent,
    programs="the engines of Argo CD, Flux and kstatus",
    packages=(".",),
    patience="a minute or two",
)


if __name__ == "__main__":
    MODULE.main()
