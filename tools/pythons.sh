#!/usr/bin/env bash
# Install, run and test in other Pythons, each in an environment of its own that is kept:
#   tools/pythons.sh [VERSION...] [-- PYTEST ARGUMENTS]    default: every one found from 3.11 to 3.14, the fast tests
#   tools/pythons.sh --found [VERSION...]                  prints which of them are here, one a line
# Looks for `python3.X` on the path, then in pyenv's folder. One line a version at the end; exit 1 where one failed
# or was asked for and is not here. Environments: $KVL_EVAL_PYTHONS or ~/.cache/kvl-eval/pythons.
set -uo pipefail
cd "$(dirname "$0")/.." || exit 1
export OMP_NUM_THREADS=1 TOKENIZERS_PARALLELISM=false
unset PYTHONPATH PYTHONHOME VIRTUAL_ENV
folder=${KVL_EVAL_PYTHONS:-${XDG_CACHE_HOME:-$HOME/.cache}/kvl-eval/pythons}

interpreter() { # interpreter 3.12: prints its path; a shim of pyenv that leads nowhere does not count
    local path
    for path in "$(command -v "python$1")" "${PYENV_ROOT:-$HOME/.pyenv}/versions/$1".*/bin/python; do
        [ "$("$path" -c 'import ensurepip, sys, venv; print("%d.%d" % sys.version_info[:2])' 2>/dev/null)" = "$1" ] || continue
        echo "$path"
        return
    done
    return 1
}

install() { # install PYTHON ENVIRONMENT: made anew where an earlier try was cut off, else brought up to date
    [ -f "$2/complete" ] || { rm -rf "$2" && "$1" -m venv "$2"; } || return
    "$2/bin/python" -m pip install -q --disable-pip-version-check -c constraints.txt -e '.[test]' && touch "$2/complete"
}

demo() { # demo ENVIRONMENT: ten samples of the demo model, in a folder that is removed
    local work status
    work=$(mktemp -d)
    (cd "$work" && "$1/bin/kvl-eval" run --task mathvista --limit 10 --output-dir results --no-progress)
    status=$?
    rm -rf "$work"
    return $status
}

try() { # try VERSION PYTEST-ARGUMENTS...: sets `ending`
    local version=$1 path env=$folder/$1 begin=$SECONDS
    shift
    path=$(interpreter "$version") || { ending="not found"; return 1; }
    echo "=== Python $version: install"
    install "$path" "$env" || { ending="failed: install"; return 1; }
    echo "=== Python $version: kvl-eval run --task mathvista --limit 10"
    demo "$env" || { ending="failed: kvl-eval run"; return 1; }
    echo "=== Python $version: tests"
    "$env/bin/python" -m pytest "$@" || { ending="failed: tests"; return 1; }
    ending="passed, $("$env/bin/python" -c 'import platform; print(platform.python_version())'), $((SECONDS - begin)) s"
}

versions=() only_found=false
while [ $# -gt 0 ]; do
    case $1 in
        --found) only_found=true ;;
        --) shift && break ;;
        3.*) versions+=("$1") ;;
        *) echo "usage: tools/pythons.sh [--found] [VERSION...] [-- PYTEST ARGUMENTS]" >&2 && exit 2 ;;
    esac
    shift
done
asked=${#versions[@]}
[ "$asked" -gt 0 ] || versions=(3.11 3.12 3.13 3.14)

summary="" status=0
for version in "${versions[@]}"; do
    if $only_found; then
        interpreter "$version" >/dev/null && echo "$version"
        continue
    fi
    ending=""
    try "$version" "$@" || { [ "$ending" = "not found" ] && [ "$asked" -eq 0 ]; } || status=1
    summary+="Python $version: $ending"$'\n'
done
printf '%s' "$summary"
exit $status
