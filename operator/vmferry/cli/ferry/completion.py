"""Completion in bash, zsh and fish. The shells call `kubectl-ferry __complete WORD…`, which responds as kubectl does.

The last line, `:4`, means "no file names" to kubectl's completion; the scripts drop it.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable, Iterable, Sequence

from vmferry.cli.preflight import preflight

SHELLS = ("bash", "zsh", "fish")
NO_FILES = ":4"
#: commands whose argument is the name of an object or of a host
NAMED = ("status", "why", "cancel", "drain", "release", "resume")

_NOTE = """\
# For `kubectl ferry <TAB>`, put an executable `kubectl_complete-ferry` on the PATH:
#     #!/bin/sh
#     exec kubectl-ferry __complete "$@"
"""
_SCRIPTS = {
    "bash": """\
# source <(kubectl-ferry completion bash)
_kubectl_ferry() {
    local IFS=$'\\n'
    COMPREPLY=($(kubectl-ferry __complete "${COMP_WORDS[@]:1:COMP_CWORD}" 2>/dev/null | grep -v '^:'))
}
complete -F _kubectl_ferry kubectl-ferry
""",
    "zsh": """\
#compdef kubectl-ferry
# source <(kubectl-ferry completion zsh)
_kubectl_ferry() {
    local -a found
    found=(${(f)"$(kubectl-ferry __complete "${(@)words[2,CURRENT]}" 2>/dev/null | grep -v '^:')"})
    compadd -a found
}
compdef _kubectl_ferry kubectl-ferry
""",
    "fish": """\
# kubectl-ferry completion fish | source
function __kubectl_ferry
    set -l words (commandline -opc) (commandline -ct)
    kubectl-ferry __complete $words[2..] 2>/dev/null | string match -v ':*'
end
complete -c kubectl-ferry -f -a '(__kubectl_ferry)'
""",
}


def script(shell: str) -> str:
    return _SCRIPTS[shell] + _NOTE


def candidates(
    words: Sequence[str], parser: argparse.ArgumentParser, names: Callable[[str], Iterable[str]]
) -> list[str]:
    """Return the completions of the last word. `names` returns the objects that a command accepts."""
    *before, current = words or [""]
    command = next((word for word in before if word in _commands(parser)), None)
    if command == "preflight":
        return _that_begin(current, (option for param in preflight.params for option in param.opts))
    active = _commands(parser)[command] if command else parser
    options = {text: action for action in active._actions for text in action.option_strings}
    last = options.get(before[-1]) if before else None
    if last is not None and last.nargs != 0:
        return _that_begin(current, last.choices or ())
    if current.startswith("-"):
        return _that_begin(current, options)
    if command is None:
        return _that_begin(current, _commands(parser))
    if command in NAMED:
        return _that_begin(current, names(command))
    choices = [choice for action in active._actions if not action.option_strings for choice in action.choices or ()]
    return _that_begin(current, choices)


def _that_begin(current: str, all_: Iterable[str]) -> list[str]:
    return sorted({str(text) for text in all_ if str(text).startswith(current)})


def _commands(parser: argparse.ArgumentParser) -> dict[str, argparse.ArgumentParser]:
    for action in parser._actions:
        if isinstance(action, argparse._SubParsersAction):
            return dict(action.choices)
    return {}
