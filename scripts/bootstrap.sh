#!/bin/sh
# Make .venv ready: scripts/bootstrap.sh run|dev
#   run   the package itself
#   dev   and everything that tests, lint and tools need, system programs included where we are root on Debian
# Fast when nothing changed (stamp files in .venv). Every failure is one clear line on stderr.
set -eu
cd "$(dirname "$0")/.."

profile=${1:-run}
venv=${VENV:-.venv}
python=${PYTHON:-python3}

say() { printf 'bootstrap: %s\n' "$1" >&2; }
die() {
    say "$1"
    exit 1
}

case $profile in
run) want=. anyway="; with nothing installed this works: PYTHONPATH=src $python -m oomsight explain" ;;
dev) want='.[test,lint]' anyway= ;;
*) die "usage: scripts/bootstrap.sh run|dev" ;;
esac

# Debian and its children; elsewhere the user is told what is missing.
can_apt() { [ "$(id -u)" = 0 ] && command -v apt-get >/dev/null; }

apt_log=
apt_updated=
apt_install() {
    apt_log=${apt_log:-$(mktemp)}
    export DEBIAN_FRONTEND=noninteractive
    if [ -z "$apt_updated" ]; then
        apt-get update -qq >"$apt_log" 2>&1 || return 1
        apt_updated=yes
    fi
    apt-get install -y -qq --no-install-recommends "$@" >>"$apt_log" 2>&1
}

# The line of a log that says that the network was not there, if one does; why: else its last line.
unreached='temporary failure|name resolution|could not resolve|connection|unreachable|timed out|proxy|no matching distribution'
reason() { grep -iE "$unreached" "$1" | tail -n 1 | sed 's/^ *//' | cut -c -200; }
why() { reason "$1" | grep . || tail -n 1 "$1"; }
trap 'rm -f ${apt_log:-} ${pip_log:-}' EXIT

# -- Python ---------------------------------------------------------------------------------------------------------

command -v "$python" >/dev/null || die "$python is missing: install Python 3.11 or newer (Debian: apt-get install python3)"
"$python" -c 'import sys; sys.exit(sys.version_info < (3, 11))' ||
    die "$("$python" --version 2>&1) is too old: oomsight needs Python 3.11 or newer (PYTHON=/path/to/python3.11 make …)"

# An environment whose Python went away (a moved directory, an upgraded system) is made anew.
if [ -d "$venv" ] && ! "$venv/bin/python" -c 'import pip' 2>/dev/null; then
    [ ! -e "$venv/bin/python" ] && [ ! -L "$venv/bin/python" ] && [ ! -e "$venv/pyvenv.cfg" ] &&
        die "$venv is in the way and no virtual environment: move it, or choose another: make VENV=DIR …"
    say "$venv is broken; making it anew"
    rm -rf "$venv"
fi

if [ ! -d "$venv" ]; then
    if ! "$python" -c 'import ensurepip, venv' 2>/dev/null; then
        # Debian splits venv off; its package for one version is called after that version.
        package=$("$python" -c 'import sys; print("python%d.%d-venv" % sys.version_info[:2])')
        can_apt || die "$python has no venv module: install it first (Debian, Ubuntu: sudo apt-get install $package)$anyway"
        say "installing $package"
        apt_install "$package" || apt_install python3-venv ||
            die "apt-get could not install $package (no network?): $(why "$apt_log")$anyway"
    fi
    "$python" -m venv "$venv" || die "$python -m venv $venv failed"
fi

# -- the package and what it needs ----------------------------------------------------------------------------------

# pip runs again only if what it was asked for has changed, or the place it was installed from. dev includes run.
asked=$(pwd && cat pyproject.toml src/oomsight/_version.py)
installed() { [ "$(cat "$venv/.oomsight-$1" 2>/dev/null)" = "$asked" ]; }

if ! installed "$profile" && ! installed dev; then
    say "installing $want into $venv"
    pip_log=$(mktemp)
    if ! "$venv/bin/python" -m pip install --disable-pip-version-check --no-input --quiet --editable "$want" \
        >"$pip_log" 2>&1; then
        line=$(reason "$pip_log")
        [ -z "$line" ] ||
            die "pip cannot reach the package index (no network? a proxy or PIP_INDEX_URL may be needed): $line$anyway"
        cat "$pip_log" >&2
        die "pip could not install $want"
    fi
    printf '%s\n' "$asked" >"$venv/.oomsight-$profile"
fi

# -- programs that some tests use -----------------------------------------------------------------------------------

# Without one its tests skip and say so. Nothing is asked for twice: a refusal is remembered with the list.
if [ "$profile" = dev ] && command -v dpkg-query >/dev/null; then
    missing=
    while read -r package _ mark _; do
        case $package:$mark in
        '':* | '#'*) continue ;;
        *:'[ci]') [ -n "${CI:-}" ] || continue ;;
        esac
        case $(dpkg-query -W -f '${db:Status-Status}' "$package" 2>/dev/null || true) in
        installed) ;;
        *) missing="$missing $package" ;;
        esac
    done <scripts/test-packages.txt
    asked=$venv/.oomsight-packages
    if [ -n "$missing" ] && [ "$(cat "$asked" 2>/dev/null)" != "$missing" ]; then
        if can_apt; then
            say "installing$missing"
            # shellcheck disable=SC2086 # a list of words
            apt_install $missing || say "apt-get could not install$missing; tests that use them will be skipped"
        else
            say "not installed:$missing; tests that use them will be skipped"
        fi
        printf '%s\n' "$missing" >"$asked"
    fi
fi
