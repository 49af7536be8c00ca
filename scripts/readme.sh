#!/bin/sh
# readme.sh TEST N BLOCK EXPECT: writes the N-th command block of README.md that
# is marked for TEST into the file BLOCK, and into EXPECT the pattern (grep -E)
# that its output must match. Fails when there is no such block.
#
# A block is marked by the comment before it:
#
#   <!-- test: compose; expect: HTTP/1.1 200 -->
#   ```sh
set -eu
cd "$(dirname "$0")/.."
rm -f "$3" "$4"
awk -v test="$1" -v n="$2" -v block="$3" -v expect="$4" '
	/^<!-- test: / {
		mark = $0
		sub(/^<!-- test: /, "", mark); sub(/ *-->$/, "", mark)
		pattern = "."
		if (split(mark, part, "; expect: ") > 1) { pattern = part[2]; mark = part[1] }
		next
	}
	/^```sh$/ { inside = 1; mine = (mark == test && ++count == n); if (mine) print pattern > expect; next }
	/^```/ && inside { inside = 0; mark = ""; next }
	inside && mine { print > block; found = 1 }
	END { exit !found }
' README.md
