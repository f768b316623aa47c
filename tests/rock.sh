#!/bin/sh
# Installs the rock into an empty tree, as `luarocks make` does for a user, and tests it there in plain lua5.4: threads, coroutines,
# other libraries, the command line, and the Lua tests. Prints a line for each; the last is `N passed, N failed, N skipped`.
set -u
cd "$(dirname "$0")/.." || exit 1
scripts/deps rock || exit 1
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
    (cd "$work/source" && luarocks --lua-version=5.4 --only-server="file://$work/none" make --tree "$work/tree")
}

mkdir "$work/none"
check "luarocks lint" luarocks --lua-version=5.4 lint luabatch-scm-1.rockspec
check "luarocks make" install_rock
eval "$(luarocks --lua-version=5.4 path --tree "$work/tree")"
printf 'one two\nthree\n' >"$work/f"
cp "$work/f" "$work/g"
rock=$work/tree/bin/luabatch

expect "from lua5.4" 3 env F="$work/f" lua5.4 -e 'print(require "luabatch".text(os.getenv "F"):words():count())'
expect "in a coroutine" 1001000 \
    lua5.4 -e 'print(coroutine.wrap(function() return require("luabatch").range(1000):map(function(n) return n * 2 end):sum() end)())'
expect "beside lua-cjson" '{"n":6}' \
    lua5.4 -e 'local c = require "cjson"; print(c.encode { n = require("luabatch").from({ 1, 2, 3 }):sum() })'
expect "functions that use lua-cjson" 10.0 lua5.4 -e 'local cjson = require "cjson"
    print(require("luabatch").from({ "[1,2]", "[3,4]" }):map(function(s) local t = cjson.decode(s) return t[1] + t[2] end):sum())'
expect "inside a loop of luv" 55 lua5.4 -e 'local uv, n = require "luv"
    uv.new_timer():start(1, 0, function() n = require("luabatch").range(10):sum() uv.stop() end) uv.run() print(n)'
expect "as a program" 5 "$rock" -e 'lb.range(5):count()'
expect "and a job" "1	three" "$rock" -e 'lb.text(arg[1]):map(function(l) return select(2, l:gsub("%a+", "")), l end):filter(function(n) return n == 1 end)' "$work/f"

for spec in tests/lua/*_spec.lua; do
    check "$(basename "$spec" .lua)" lua5.4 "$(command -v busted)" --output=plainTerminal "$spec"
done

if command -v luajit >/dev/null && pkg-config --exists luajit; then
    rm -rf "$work/source"
    mkdir "$work/source"
    git ls-files --cached --others --exclude-standard -z | xargs -0 cp --parents -t "$work/source" 2>/dev/null
    install_for_luajit() {
        (cd "$work/source" && luarocks --lua-version=5.1 --only-server="file://$work/none" make --tree "$work/jit" \
            LUA_INCDIR="$(pkg-config --variable=includedir luajit)")
    }
    check "luarocks make for LuaJIT" install_for_luajit
    eval "$(luarocks --lua-version=5.1 path --tree "$work/jit")"
    expect "from luajit" 3 env F="$work/f" luajit -e 'print(require "luabatch".text(os.getenv "F"):words():count())'
    expect "a function from luajit" 110 luajit -e 'print(require("luabatch").range(10):map(function(n) return 2 * n end):sum())'
    for spec in tests/lua/*_spec.lua; do
        check "LuaJIT $(basename "$spec" .lua)" luajit "$(command -v busted)" --output=plainTerminal "$spec"
    done
fi

echo "$passed passed, $failed failed, $skipped skipped"
[ "$failed" = 0 ]
