--- The peers: statements in, rows out. Many queries go to one process.
--
-- Both print a line `#` before each result, then a line for each row: values joined by `|`, each a letter for its
-- type and the value: `n`, `i-12`, `f` and the hexadecimal digits of the double, `s` and those of the bytes, `b0`.
local expressions = require "tests.oracle.expressions"

local peers = {}

local quote = expressions.quote

-- Environments in which DuckDB may be: the one of the benchmark, the system's.
local function find_python()
  local data = os.getenv("BENCH_DATA") or "bench/data"
  for _, python in ipairs { data .. "/venv/bin/python", "python3" } do
    if os.execute(("'%s' -c 'import duckdb' >/dev/null 2>&1"):format(python)) then return python end
  end
end

local commands = {}

function commands.sqlite()
  if not os.execute "sqlite3 --version >/dev/null 2>&1" then return nil, "sqlite3 is not installed (scripts/deps test)" end
  return "sqlite3 -batch :memory:"
end

function commands.duckdb()
  local python = find_python()
  if not python then return nil, "Python has no module duckdb (bench/setup)" end
  return ("'%s' -B tests/oracle/duck.py"):format(python)
end

--- The command of a peer, or nil and why there is none.
function peers.command(dialect) return commands[dialect]() end

-- sqlite's own text of a double is rounded.
local SQLITE_VALUE = "case typeof($1) when 'null' then 'n' when 'integer' then 'i' || $1 "
  .. "when 'real' then 'f' || hex(ieee754_to_blob($1)) else 's' || hex($1) end"

--- What a query must select for these columns.
function peers.columns(dialect, columns)
  local list = {}
  for i, column in ipairs(columns) do
    local name = quote(column.name)
    list[i] = dialect == "sqlite" and (SQLITE_VALUE:gsub("%$1", function() return name end)) or name
  end
  return table.concat(list, dialect == "sqlite" and " || '|' || " or ", ")
end

local decoders = {
  n = function() return nil end,
  i = function(text) return math.tointeger(tonumber(text)) end,
  b = function(text) return text == "1" end,
  f = function(text) return ((">d"):unpack((text:gsub("%x%x", function(hex) return string.char(tonumber(hex, 16)) end)))) end,
  s = function(text) return (text:gsub("%x%x", function(hex) return string.char(tonumber(hex, 16)) end)) end,
}

-- A boolean of sqlite is an integer: the column says what is meant.
local function decode(line, columns)
  local row, i = { n = #columns }, 0
  for kind, text in line:gmatch "(%a)([^|]*)" do
    i = i + 1
    local value = decoders[kind](text)
    if kind == "i" and columns[i].kind == "boolean" then value = value ~= 0 end
    row[i] = value
  end
  assert(i == #columns, "a row of the peer has another number of columns")
  return row
end

local function read(path)
  local file = assert(io.open(path, "rb"))
  local text = file:read("a")
  file:close()
  os.remove(path)
  return text
end

local preludes = { sqlite = { ".mode list", "PRAGMA case_sensitive_like = ON;" }, duckdb = {} }

--- Runs statements and queries.
-- @param statements list of those without a result
-- @param queries list of `{ sql =, columns = }`
-- @return list of lists of rows; a row is a list with nils
function peers.run(dialect, statements, queries)
  local script, output = os.tmpname(), os.tmpname()
  local file = assert(io.open(script, "wb"))
  for _, line in ipairs(preludes[dialect]) do file:write(line, "\n") end
  for _, statement in ipairs(statements) do file:write(statement, ";\n") end
  for _, query in ipairs(queries) do
    file:write(dialect == "sqlite" and ".print #\n" or "--#\n", query.sql, ";\n")
  end
  file:close()
  local ok = os.execute(("%s <'%s' >'%s' 2>'%s.err'"):format(assert(peers.command(dialect)), script, output, output))
  local text, problem = read(output), read(output .. ".err")
  os.remove(script)
  if not ok or problem ~= "" then error(("%s: %s"):format(dialect, problem), 0) end
  local results = {}
  for line in text:gmatch "[^\n]+" do
    if line == "#" then
      results[#results + 1] = {}
    else
      local rows = results[#results]
      rows[#rows + 1] = decode(line, queries[#results].columns)
    end
  end
  assert(#results == #queries, "the peer gave fewer results than queries")
  return results
end

return peers
