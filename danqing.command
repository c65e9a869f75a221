#!/bin/sh
# macOS opens this file in a Terminal window by a double click.
exec "$(dirname "$0")/danqing.sh" "$@"
