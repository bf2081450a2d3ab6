"""The completion scripts of the shells. They pass the words to ``vifplug complete-words``, and offer what it prints."""

from __future__ import annotations

from collections.abc import Mapping

_BASH = r"""# bash completion for vifplug; source it, or install it as /usr/share/bash-completion/completions/vifplug
_vifplug() {
    local line
    COMPREPLY=()
    while IFS= read -r line; do
        if [[ $line == :files ]]; then
            compopt -o default 2>/dev/null
        else
            COMPREPLY+=("${line%%$'\t'*}")
        fi
    done < <("${COMP_WORDS[0]}" complete-words "${COMP_WORDS[@]:1:COMP_CWORD}" 2>/dev/null)
}
complete -F _vifplug vifplug
"""

_ZSH = r"""#compdef vifplug
# zsh completion for vifplug; install it as _vifplug in a directory of fpath, or source it after compinit
_vifplug() {
    local line
    local -a candidates
    for line in "${(@f)$(${(Q)words[1]} complete-words "${(@Q)words[2,CURRENT]}" 2>/dev/null)}"; do
        if [[ $line == :files ]]; then
            _files
            return
        elif [[ -n $line ]]; then
            candidates+=("${line/$'\t'/:}")
        fi
    done
    _describe -V vifplug candidates
}
if [[ $funcstack[1] == _vifplug ]]; then
    _vifplug "$@"
else
    compdef _vifplug vifplug
fi
"""

_FISH = r"""# fish completion for vifplug; install it as vifplug.fish in a completions directory
function __vifplug_candidates
    set -l words (commandline -opc)
    set -l current (commandline -ct)
    for line in ($words[1] complete-words $words[2..-1] "$current" 2>/dev/null)
        if test "$line" = :files
            __fish_complete_path "$current"
        else
            echo -- $line
        end
    end
end
complete -c vifplug -f -a '(__vifplug_candidates)'
"""

SCRIPTS: Mapping[str, str] = {"bash": _BASH, "zsh": _ZSH, "fish": _FISH}
