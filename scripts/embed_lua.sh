#!/bin/sh
# Writes the Lua files below a folder as a C table of name, text and size, to be linked into the program.
# Usage: embed_lua.sh FOLDER > OUT.c
set -eu
cd "$1"

files=$(find . -name '*.lua' | LC_ALL=C sort)
printf '/* Made by scripts/embed_lua.sh from the Lua library. */\n#include "embedded.h"\n\n'
n=0
for file in $files; do
    printf 'static const unsigned char text_%d[] = {\n' "$n"
    # od leaves out what repeats unless told not to.
    od -An -v -tx1 "$file" | sed 's/ *\([0-9a-f][0-9a-f]\)/0x\1,/g'
    printf '0};\n'
    n=$((n + 1))
done
printf '\nconst struct embedded_file embedded_files[] = {\n'
n=0
for file in $files; do
    name=$(printf '%s' "$file" | sed -e 's|^\./||' -e 's|\.lua$||' -e 's|/init$||' -e 's|/|.|g')
    printf '    {"%s", (const char *)text_%d, sizeof text_%d - 1},\n' "$name" "$n" "$n"
    n=$((n + 1))
done
printf '    {NULL, NULL, 0},\n};\n'
