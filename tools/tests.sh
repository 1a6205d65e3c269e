#!/usr/bin/env bash
# All tests, or those that the arguments name. The faults mostly wait, for leases and restarts; the rest is in two
# halves of about one length. They run beside each other, and the faults go first, for they look at clocks.
set -u
python=.venv/bin/python
if [ $# -gt 0 ]; then
  exec "$python" -m pytest -q "$@"
fi
logs=$(mktemp -d)
"$python" -m pytest -q tests/faults >"$logs/faults" 2>&1 &
faults=$!
nice -n 10 "$python" -m pytest -q tests/worker tests/bench >"$logs/workers" 2>&1 &
workers=$!
trap 'kill "$faults" "$workers" 2>/dev/null; rm -rf "$logs"' EXIT
nice -n 10 "$python" -m pytest -q --ignore tests/faults --ignore tests/worker --ignore tests/bench
status=$?
for half in workers faults; do
  wait "${!half}" || status=1
  echo "== $half"
  cat "$logs/$half"
done
exit "$status"
