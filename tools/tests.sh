#!/usr/bin/env bash
# All tests, or those that the arguments name. The faults mostly wait, for leases and restarts: they run beside the rest.
set -u
python=.venv/bin/python
if [ $# -gt 0 ]; then
  exec "$python" -m pytest -q "$@"
fi
log=$(mktemp)
"$python" -m pytest -q tests/faults >"$log" 2>&1 &
faults=$!
trap 'kill "$faults" 2>/dev/null' EXIT
"$python" -m pytest -q --ignore tests/faults
rest=$?
wait "$faults"
status=$?
trap 'rm -f "$log"' EXIT
echo "== tests/faults"
cat "$log"
exit $((rest ? rest : status))
