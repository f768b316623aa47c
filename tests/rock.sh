#!/bin/sh
# Installs the rock into an empty tree, as `luarocks make` does for a user, and tests it there in plain lua5.4, or in luajit with
# `tests/rock.sh luajit`: threads, coroutines, other libraries, the command line, and the Lua tests. Prints a line for each; the last
# is `N passed, N failed, N skipped`.
set -u
cd "$(dirname "$0")/.." || exit 1
scripts/deps rock || exit 1
lua=${1:-lua5.4}
case $lua in
lua5.4) version=5.4 ;;
luajit)
    version=5.1
    include=$(pkg-config --variable=includedir luajit) || { echo "rock: LuaJIT's headers are missing (libluajit-5.1-dev)" >&2 && exit 1; }
    ;;
*) echo "usage: tests/rock.sh [lua5.4|luajit]" >&2 && exit 2 ;;
esac
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
passed=0 failed=0 skipped=0

check() {
    name=$1
    shift
    if "$@" >"$work/out" 2>&1; then
        passed=$((passed + 1))
        echo "ok      rock: $name"
    else
        failed=$((failed + 1))
        echo "FAILED  rock: $name"
        sed 's/^/    /' "$work/out" | tail -n 40
    fi
}

# expect NAME OUTPUT COMMAND...
expect() {
    name=$1 wanted=$2
    shift 2
    # shellcheck disable=SC2016 # the inner shell expands
    check "$name" sh -c 'wanted=$1; shift; got=$("$@") && [ "$got" = "$wanted" ] || { echo "got: $got"; false; }' \
        sh "$wanted" "$@"
}

# The sources are copied: a build leaves its objects beside them.
mkdir "$work/source"
git ls-files --cached --others --exclude-standard -z | xargs -0 cp --parents -t "$work/source" 2>/dev/null

install_rock() {
    # No server is asked: the rock must install where there is none.
    (cd "$work/source" && luarocks --lua-version="$version" --only-server="file://$work/none" make --tree "$work/tree" \
        ${include:+LUA_INCDIR="$include"})
}

mkdir "$work/none"
check "luarocks lint" luarocks --lua-version="$version" lint luabatch-scm-1.rockspec
check "luarocks make" install_rock
eval "$(luarocks --lua-version="$version" path --tree "$work/tree")"
printf 'one two\nthree\n' >"$work/f"
cp "$work/f" "$work/g"
rock=$work/tree/bin/luabatch

expect "from $lua" 3 env F="$work/f" "$lua" -e 'print(require "luabatch".text(os.getenv "F"):words():count())'
expect "in a coroutine" 1001000 \
    "$lua" -e 'print(coroutine.wrap(function() return require("luabatch").range(1000):map(function(n) return n * 2 end):sum() end)())'
expect "beside lua-cjson" '{"n":6}' \
    "$lua" -e 'local c = require "cjson"; print(c.encode { n = require("luabatch").from({ 1, 2, 3 }):sum() })'
expect "functions that use lua-cjson" "$([ "$lua" = luajit ] && echo 10 || echo 10.0)" "$lua" -e 'local cjson = require "cjson"
    print(require("luabatch").from({ "[1,2]", "[3,4]" }):map(function(s) local t = cjson.decode(s) return t[1] + t[2] end):sum())'
expect "inside a loop of luv" 55 "$lua" -e 'local uv, n = require "luv"
    uv.new_timer():start(1, 0, function() n = require("luabatch").range(10):sum() uv.stop() end) uv.run() print(n)'
printf 'a\n1,2\n3\n4,5\n' >"$work/bad.csv"
# setting NAME=VALUE MESSAGE CODE: what the library says to it; MESSAGE is a pattern of Lua.
setting() {
    expect "reads ${1%%=*}" true env "$1" F="$work/bad.csv" "$lua" -e "local lb = require 'luabatch'
        local ok, problem = pcall(function() $3 end)
        print(not ok and tostring(problem):find('$2') ~= nil or tostring(problem))"
}
count='return lb.csv(os.getenv "F", { on_bad = "skip" }):count()'
loop='return lb.range(3):map(function() while true do end end):count()'
setting LUABATCH_MAX_ERRORS=1 '^2 records are left out, and %-%-max%-errors allows 1' "$count"
setting LUABATCH_MAX_ERRORS=few '^LUABATCH_MAX_ERRORS: a number of records expected, got .few.$' "$count"
setting LUABATCH_RECORD_TIMEOUT=0.2 'took more than 0.2 s for one record' "$loop"
setting LUABATCH_RECORD_TIMEOUT=-1 '^LUABATCH_RECORD_TIMEOUT: a number of seconds expected, got .%-1.$' "$count"
setting LUABATCH_MAX_INSTRUCTIONS=1000 "$([ "$lua" = luajit ] && echo 'needs Lua 5.4' || echo 'executed more than 1000 instructions')" "$loop"
setting LUABATCH_REPLAY_DIR="$work/calls" 'replay with: luabatch %-%-replay .*/calls/map%-1.replay$' \
    'return lb.range(3):map(function() error "x" end):count()'
# shellcheck disable=SC2016 # the inner shell expands
expect "but no limit of the process" 'luabatch: --safe and --max-time need the program itself; that of a rock runs in a Lua which is not its own
2' sh -c '"$1" --max-time 5 -e "lb.range(5):count()" 2>&1; echo $?' sh "$rock"
expect "as a program" 5 "$rock" -e 'lb.range(5):count()'
expect "and a job" "1	three" "$rock" -e 'lb.text(arg[1]):map(function(l) return select(2, l:gsub("%a+", "")), l end):filter(function(n) return n == 1 end)' "$work/f"

# What LuaRocks runs the program by may be Lua 5.1; it hands over its status, and a signal.
# shellcheck disable=SC2016 # the inner shell expands
expect "its status" 3 sh -c '"$1" -e "for"; echo $?' sh "$rock"
# shellcheck disable=SC2016
expect "a signal ends it" "143 none" sh -c '"$1" -e "lb.range(10):map(function() while true do end end):count()" rock-$$ & sleep 1
    kill -TERM $!; wait $! ; printf "%s " $?; sleep 1; pgrep -f "[r]ock-$$" >/dev/null && echo left || echo none' sh "$rock"

for spec in tests/lua/*_spec.lua; do
    check "$(basename "$spec" .lua)" "$lua" "$(command -v busted)" --output=plainTerminal "$spec"
done

echo "$passed passed, $failed failed, $skipped skipped"
[ "$failed" = 0 ]
