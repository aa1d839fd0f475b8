#!/bin/bash
# What the action does. Inputs come as variables, never as text of this script. Audits once for people (the log and the
# summary of the run) and, if wanted, once for programs (SARIF). Status 4 says that a path is not there: the others are
# reported, and the last command says it once more.
set -euo pipefail

venv="${RUNNER_TEMP:-/tmp}/oomsight-audit"
if [ -z "${AUDIT_COMMAND:-}" ]; then
  # The release is that of the action: it is installed from the repository the action is in.
  "${AUDIT_PYTHON:-python3}" -m venv "$venv"
  "$venv/bin/pip" install --quiet "$GITHUB_ACTION_PATH/../..[audit]"
  AUDIT_COMMAND="$venv/bin/oomsight"
fi

paths=()
while IFS= read -r line; do
  [ -z "$line" ] || paths+=("$line")
done <<<"$AUDIT_PATH"

if [ -n "${AUDIT_SARIF:-}" ]; then
  "$AUDIT_COMMAND" audit --format sarif -- "${paths[@]}" >"$AUDIT_SARIF" || (($? == 4))
  echo "sarif=$AUDIT_SARIF" >>"$GITHUB_OUTPUT"
fi
summary=$(mktemp)
"$AUDIT_COMMAND" audit --format markdown -- "${paths[@]}" >"$summary" || (($? == 4))
head -c 1000000 "$summary" >>"$GITHUB_STEP_SUMMARY" # a summary of more than 1 MiB is refused
rm -f "$summary"

fail=()
[ "$AUDIT_FAIL_ON" = never ] || fail=(--fail-on "$AUDIT_FAIL_ON")
exec "$AUDIT_COMMAND" audit --color never "${fail[@]}" -- "${paths[@]}"
