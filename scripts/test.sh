#!/bin/sh
# Run all tests and leave nothing behind: caches, examples and temporary files live in one directory that goes away.
# JOBS at a time: one for each core, up to seven, and one for the tests of the real kernel, which mostly wait and run one
# after the other. Arguments go to pytest: scripts/test.sh -k library
set -eu
cd "$(dirname "$0")/.."

TMPDIR=$(mktemp -d "${TMPDIR:-/tmp}/oomsight-test.XXXXXX")
export TMPDIR PYTHONDONTWRITEBYTECODE=1 HYPOTHESIS_STORAGE_DIRECTORY="$TMPDIR/hypothesis"
chmod 755 "$TMPDIR" # tests that run as another user start programs below it
trap 'chmod -R u+rwX "$TMPDIR"; rm -rf "$TMPDIR"' EXIT
trap 'exit 130' INT
trap 'exit 143' TERM

cores=$(nproc)
[ "$cores" -lt 7 ] || cores=7
"${VENV:-.venv}/bin/python" -m pytest -n "${JOBS:-$((cores + 1))}" --dist loadgroup -p no:cacheprovider --basetemp "$TMPDIR/pytest" "$@"
