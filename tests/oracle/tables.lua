--- Random small tables: columns with their kinds, rows, and how luabatch and the peer get them.
local expressions = require "tests.oracle.expressions"

local tables = {}

local random, pick = math.random, expressions.pick
local quote = expressions.quote

local texts = {
  "", "a", "ab", "Ab", "é", "日本", "say \"hi\"", "it's", "two\nlines", "comma, here", "tab\there", "zz", "a\r\nb", ";", "😀",
  "007", "12", "-", "null", "NULL", "true", "\\N", " ", "%",
}
local dates = { "2024-01-31", "2024-02-29", "2023-12-31", "1999-07-04", "2024-02-01" }
local mixed = { 1, 1.0, 1.5, "1", "a", 0, -3, "", 2 ^ 53, 7 }
local large = { math.maxinteger, math.mininteger, 2 ^ 53 | 0, (2 ^ 53 | 0) + 1, -1, 0, 1, math.maxinteger - 1 }
local wild = { 1e300, -1e300, 5e-324, 0.1, -0.0, 0.0, 1e15, 123456.789, -2.5 }

-- Makers of a column's values. The kinds named `key...` have few values, which are alike in all tables, so that joins
-- and groups meet.
local makers = {
  { kind = "integer", bound = 50, make = function() return random(-50, 50) end },
  { kind = "integer", bound = 8, make = function() return random(0, 8) end },
  { kind = "integer", make = function() return pick(large) end },
  { kind = "float", bound = 100, make = function() return random(-800, 800) / 8 end },
  { kind = "float", bound = 100, make = function() return random() * 200 - 100 end },
  { kind = "float", make = function() return pick(wild) end },
  { kind = "float", only = "duckdb", nan = true, make = function() return pick { 0 / 0, 1 / 0, -1 / 0, 1.5, -2.0, 0.0 } end },
  { kind = "float", only = "sqlite", from = true, make = function() return pick { 1 / 0, -1 / 0, 1.5, -2.0 } end },
  { kind = "string", make = function() return pick(texts) end },
  { kind = "string", plain = true, make = function() return pick(expressions.words) end },
  { kind = "string", plain = true, date = true, make = function() return pick(dates) end },
  { kind = "boolean", make = function() return random(2) == 1 end },
  -- DuckDB's columns have one type.
  { kind = "mixed", only = "sqlite", from = true, make = function() return pick(mixed) end },
}
local keys = {
  { kind = "integer", bound = 8, make = function() return random(0, 6) end },
  { kind = "string", plain = true, make = function() return pick { "a", "b", "ab", "", "zz" } end },
  { kind = "float", bound = 4, make = function() return random(0, 8) / 2 end },
  { kind = "boolean", make = function() return random(2) == 1 end },
}
local names = { "a", "b", "c", "d", "x y", "select", "ü", 'q"t', "v1", "Order" }

local function copy(maker, name)
  return {
    name = name, kind = maker.kind, bound = maker.bound, plain = maker.plain, date = maker.date, nan = maker.nan,
    make = maker.make, from = maker.from or maker.nan,
  }
end

-- Shuffles a list.
local function shuffled(list)
  local result = { table.unpack(list) }
  for i = #result, 2, -1 do
    local j = random(i)
    result[i], result[j] = result[j], result[i]
  end
  return result
end
tables.shuffled = shuffled

-- Which sources can hold a table: `lb.from` knows only columns with a value, CSV has neither NaN nor mixed columns, JSON no NaN.
local function possible(t)
  local result = { csv = true, from = true, json = true }
  for c, column in ipairs(t.columns) do
    local has_value = false
    for _, row in ipairs(t.rows) do has_value = has_value or row[c] ~= nil end
    result.from = result.from and has_value
    result.csv = result.csv and not column.from
    result.json = result.json and (not column.from or column.kind == "mixed")
  end
  return result
end

--- Whether the table's source can still hold it.
function tables.is_possible(t) return possible(t)[t.source] end

-- Chooses how luabatch reads a table. A column for which there is no way is left out.
local function set_source(t)
  local can = possible(t)
  if not can.from and not can.csv and not can.json then
    for c = #t.columns, 1, -1 do
      if t.columns[c].from then
        table.remove(t.columns, c)
        for _, row in ipairs(t.rows) do
          for i = c, #t.columns + 1 do row[i] = row[i + 1] end
        end
      end
    end
    can.csv = true
  end
  t.newline, t.always_quoted = pick { "\n", "\r\n" }, random(2) == 1
  repeat t.source = pick { "from", "csv", "json" } until can[t.source]
end

--- A table: `{ columns =, rows =, source = "from" | "csv" | "json" }`; a row is a list, with nil where a value is missing.
-- The first column is `id`, from 1 in input order; the second, `k`, is a key, of kind number `key_kind` of four.
function tables.make(dialect, key_kind, sizes)
  local columns = {
    { name = "id", kind = "integer", unique = true, bound = 5000 },
    copy(keys[key_kind] or pick(keys), "k"),
  }
  local free = shuffled(names)
  for i = 1, random(1, 5) do
    local maker
    repeat maker = pick(makers) until not maker.only or maker.only == dialect
    columns[#columns + 1] = copy(maker, free[i])
  end
  local n, nulls, rows = pick(sizes or { 0, 1, 7, 20, 60, 60, 200 }), pick { 2, 4, 10, 1000000 }, {}
  for i = 1, n do
    local row = { i }
    for c = 2, #columns do
      if random(nulls) > 1 then row[c] = columns[c].make() end
    end
    rows[i] = row
  end
  local result = { columns = columns, rows = rows }
  set_source(result)
  return result
end

-- CSV.

local function csv_field(value, always)
  if value == nil then return "" end
  if math.type(value) == "float" then return (("%.17g"):format(value):gsub("^-?%d+$", "%0.0")) end
  local text = tostring(value)
  if type(value) == "string" and (always or text == "" or text:find '[",\r\n]') then
    return '"' .. text:gsub('"', '""') .. '"'
  end
  return text
end

--- The text of a CSV file.
function tables.csv(t)
  local always, lines = t.always_quoted, {}
  local function line(row, quoted)
    local fields = {}
    for c = 1, #t.columns do fields[c] = csv_field(row[c], quoted) end
    lines[#lines + 1] = table.concat(fields, ",")
  end
  local header = {}
  for c, column in ipairs(t.columns) do header[c] = column.name end
  line(header, always)
  for _, row in ipairs(t.rows) do line(row, always) end
  return table.concat(lines, t.newline) .. (#t.rows % 2 == 1 and t.newline or "")
end

-- JSON.

local escapes = { ['"'] = '\\"', ["\\"] = "\\\\", ["\n"] = "\\n", ["\r"] = "\\r", ["\t"] = "\\t" }

local function json_value(value)
  if value == nil then return "null" end
  if type(value) == "string" then return '"' .. value:gsub('["\\\n\r\t]', escapes) .. '"' end
  return csv_field(value)
end

--- The text of a file of JSON lines. A missing value is null, or not there.
function tables.json(t)
  local lines = {}
  for i, row in ipairs(t.rows) do
    local fields = {}
    for c, column in ipairs(t.columns) do
      if row[c] ~= nil or (i + c) % 2 == 0 then
        fields[#fields + 1] = json_value(column.name) .. (i % 2 == 0 and ": " or ":") .. json_value(row[c])
      end
    end
    lines[i] = "{" .. table.concat(fields, i % 3 == 0 and ", " or ",") .. "}"
  end
  return table.concat(lines, "\n") .. (#t.rows % 2 == 1 and "\n" or "")
end

--- A Lua expression that makes luabatch's dataset of it; the file is written to `path`.
function tables.lua(t, path)
  if t.source == "csv" then
    local types = {}
    for i, column in ipairs(t.columns) do types[i] = ("[%q] = %q"):format(column.name, column.kind) end
    return ("lb.csv(%q, { types = { %s } })"):format(path, table.concat(types, ", "))
  end
  if t.source == "json" then
    local types, wanted = {}, {}
    for i, column in ipairs(t.columns) do
      types[i] = ("[%q] = %q"):format(column.name, column.kind == "mixed" and "any" or column.kind)
      wanted[i] = ("%q"):format(column.name)
    end
    return ("lb.json(%q, { columns = { %s }, types = { %s } })"):format(path, table.concat(wanted, ", "), table.concat(types, ", "))
  end
  local rows = {}
  for i, row in ipairs(t.rows) do
    local fields = {}
    for c, column in ipairs(t.columns) do
      if row[c] ~= nil then fields[#fields + 1] = ("[%q] = %q"):format(column.name, row[c]) end
    end
    rows[i] = "{ " .. table.concat(fields, ", ") .. " }"
  end
  return "lb.from {\n  " .. table.concat(rows, ",\n  ") .. "\n}"
end

--- The columns in luabatch's order: of a file as they stand there, of tables by bytes.
function tables.order(t)
  local list = { table.unpack(t.columns) }
  if t.source == "from" then table.sort(list, function(a, b) return a.name < b.name end) end
  return list
end

-- SQL.

local duck_types = { integer = "BIGINT", float = "DOUBLE", string = "VARCHAR", boolean = "BOOLEAN" }

local function hex(bytes)
  return (bytes:gsub(".", function(c) return ("%02x"):format(c:byte()) end))
end

-- sqlite reads decimals with the last bit wrong now and then, and has no text for infinities; its shell turns CRLF into LF.
local function sql_value(dialect, value)
  if value == nil then return "NULL" end
  if type(value) == "string" and value:find "\r" and dialect == "sqlite" then return "cast(x'" .. hex(value) .. "' as text)" end
  if type(value) == "string" then return expressions.string_literal(value) end
  if math.type(value) == "float" then
    if dialect == "sqlite" then
      return "ieee754_from_blob(x'" .. hex((">d"):pack(value)) .. "')"
    end
    return ("'%s'::DOUBLE"):format(value ~= value and "nan" or ("%.17g"):format(value))
  end
  if value == math.mininteger then return "(-9223372036854775807 - 1)" end
  return tostring(value)
end

--- Statements that make the peer's table.
function tables.sql(t, dialect, name)
  local columns = {}
  for i, column in ipairs(t.columns) do
    -- Without types sqlite converts nothing.
    columns[i] = quote(column.name) .. (dialect == "duckdb" and " " .. duck_types[column.kind] or "")
  end
  local statements = { ("CREATE TABLE %s (%s)"):format(name, table.concat(columns, ", ")) }
  for first = 1, #t.rows, 200 do
    local rows = {}
    for r = first, math.min(first + 199, #t.rows) do
      local values = {}
      for c = 1, #t.columns do values[c] = sql_value(dialect, t.rows[r][c]) end
      rows[#rows + 1] = "(" .. table.concat(values, ", ") .. ")"
    end
    statements[#statements + 1] = ("INSERT INTO %s VALUES %s"):format(name, table.concat(rows, ", "))
  end
  return statements
end

return tables
