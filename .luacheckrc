-- Lua 5.4 is what runs; shared library code keeps to what LuaJIT has too.
std = "lua54"
max_line_length = 140
-- `not (a > b)` is not `a <= b` for NaN.
ignore = { "581" }
exclude_files = { "build", "bench/data" }

-- A job file reads its arguments and options; tests are busted's.
files["tests/lua"] = { std = "+busted" }
files["tests/cli"] = { std = "+busted" }
files["tests/fault"] = { std = "+busted" }
