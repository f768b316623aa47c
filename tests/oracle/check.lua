--- Random plans compared with a peer: making, running, comparing, and making a difference small enough to read.
local lb = require "luabatch"
local peers = require "tests.oracle.peers"
local plans = require "tests.oracle.plans"
local tables = require "tests.oracle.tables"
local support = require "tests.lua.support"

local check = {}

--- The case with this number: tables and a plan. Every case has random numbers of its own.
function check.make(dialect, seed, number)
  math.randomseed(seed, number)
  local gen = { dialect = dialect, tables = {}, prefix = ("t%d_"):format(number) }
  local key_kind = math.random(4)
  for i = 1, math.random(1, 3) do
    -- Now and then more rows than one batch holds.
    local sizes = i == 1 and math.random(40) == 1 and { 2500 } or nil
    gen.tables[i] = tables.make(dialect, math.random(5) > 1 and key_kind or nil, sizes)
  end
  return { gen = gen, plan = plans.make(gen), dialect = dialect, seed = seed, number = number }
end

-- luabatch.

local function write(path, text)
  local file = assert(io.open(path, "wb"))
  file:write(text)
  file:close()
end

-- The Lua texts of a case's tables, with their files written.
local function sources(case)
  local texts = {}
  for i, t in ipairs(case.gen.tables) do
    local path = case.files and case.files[i]
    if t.source ~= "from" then
      path = path or support.path("." .. t.source)
      case.files = case.files or {}
      case.files[i] = path
      write(path, tables[t.source](t))
    end
    texts[i] = tables.lua(t, path)
  end
  return texts
end

local function dataset(plan, texts)
  local lines = { "local lb = ...", "local t = {}" }
  for i, text in ipairs(texts) do lines[#lines + 1] = ("t[%d] = %s"):format(i, text) end
  lines[#lines + 1] = "return " .. plan.lb
  return assert(load(table.concat(lines, "\n"), "=plan"))(lb)
end

-- The rows as lists.
local function run(plan, texts)
  local ds = dataset(plan, texts)
  local names = {}
  for i, column in ipairs(ds:schema()) do names[i] = column.name end
  for i = 1, math.max(#names, #plan.columns) do
    local wanted = plan.columns[i] and plan.columns[i].name
    if names[i] ~= wanted then
      error(("column %d is %s, not %s"):format(i, tostring(names[i]), tostring(wanted)), 0)
    end
  end
  local rows = ds:collect()
  local lists = {}
  for i, row in ipairs(rows) do
    local list = {}
    for c, name in ipairs(names) do list[c] = row[name] end
    lists[i] = list
  end
  return lists
end

local function text_of(rows, n_columns)
  local lines = {}
  for i, row in ipairs(rows) do
    local values = {}
    for c = 1, n_columns do values[c] = ("%q"):format(row[c]) end
    lines[i] = table.concat(values, " ")
  end
  return table.concat(lines, "\n")
end

--- Settings under which the same rows must come in the same order. A frame of all rows must fit into memory, which
-- the debug build's own budget does not hold: so windows get one that does.
local MIB = 1024 * 1024
local settings = { { threads = 1 }, { threads = 3, memory = 2 * MIB } }
local window_settings = { { threads = 1, memory = 64 * MIB }, { threads = 3, memory = 64 * MIB } }

-- The rows after they were written as CSV and read again. Only columns of one type come back as they were.
local function through_csv(plan, texts)
  local types = {}
  for _, column in ipairs(plan.columns) do
    if column.kind == "mixed" then return nil end
    types[column.name] = column.kind
  end
  local path = support.path ".csv"
  dataset(plan, texts):save_csv(path)
  local rows = {}
  for i, row in ipairs(lb.csv(path, { types = types }):collect()) do
    rows[i] = {}
    for c, column in ipairs(plan.columns) do rows[i][c] = row[column.name] end
  end
  os.remove(path)
  return rows
end

-- The rows of a plan, or nil and what is wrong.
local function run_all(plan, texts)
  local first
  for _, setting in ipairs(plan.lb:find(":window {", 1, true) and window_settings or settings) do
    local ok, rows = pcall(support.with, setting, function() return run(plan, texts) end)
    if not ok then return nil, "luabatch: " .. tostring(rows) end
    if first and text_of(rows, #plan.columns) ~= text_of(first, #plan.columns) then
      return nil, "the rows differ under other settings (threads, memory)"
    end
    first = first or rows
  end
  local ok, rows = pcall(support.with, { memory = 64 * MIB }, function() return through_csv(plan, texts) end)
  if not ok then return nil, "luabatch, through CSV: " .. tostring(rows) end
  if rows and text_of(rows, #plan.columns) ~= text_of(first, #plan.columns) then
    return nil, "the rows differ after they were written as CSV and read again"
  end
  return first
end

-- Comparing.

local function is_number(value) return type(value) == "number" end

local function close(a, b)
  if a ~= a or b ~= b then return a ~= a and b ~= b end
  return a == b or math.abs(a - b) <= 1e-6 + 1e-9 * math.max(math.abs(a), math.abs(b))
end

-- 1 and 1.0 are one value where a column may hold both.
local function same(column, ours, theirs)
  if ours == nil or theirs == nil then return ours == theirs end
  if column.kind == "integer" or column.kind == "float" then
    if math.type(ours) ~= column.kind then return false end
    if column.fuzzy then return is_number(theirs) and close(ours, theirs) end
  elseif column.kind ~= "mixed" and type(ours) ~= column.kind then
    return false
  elseif is_number(ours) and is_number(theirs) and column.fuzzy then
    return close(ours, theirs)
  end
  return ours == theirs or (ours ~= ours and theirs ~= theirs)
end

-- Equal values give equal texts, whatever their type.
local function sort_text(columns, row)
  local parts = {}
  for c, column in ipairs(columns) do
    local value = row[c]
    if column.fuzzy then
      parts[c] = ""
    elseif is_number(value) then
      parts[c] = value ~= value and "nan" or tostring(math.tointeger(value) or ("%.17g"):format(value))
    else
      parts[c] = type(value) .. tostring(value)
    end
  end
  return table.concat(parts, "\0")
end

local function sorted(columns, rows)
  local list = {}
  for i, row in ipairs(rows) do list[i] = { row = row, text = sort_text(columns, row) } end
  table.sort(list, function(a, b)
    if a.text ~= b.text then return a.text < b.text end
    for c, column in ipairs(columns) do
      local x, y = a.row[c], b.row[c]
      if column.fuzzy and x ~= y and is_number(x) and is_number(y) and not close(x, y) then return x < y end
      if column.fuzzy and (x == nil) ~= (y == nil) then return x == nil end
    end
    return false
  end)
  local result = {}
  for i, entry in ipairs(list) do result[i] = entry.row end
  return result
end

local function compare_lists(columns, ours, theirs)
  for i = 1, math.max(#ours, #theirs) do
    for c, column in ipairs(columns) do
      if not ours[i] or not theirs[i] or not same(column, ours[i][c], theirs[i][c]) then
        return ("row %d (of %d here, %d there), column %s: %q here, %q there"):format(i, #ours, #theirs, column.name,
          ours[i] and ours[i][c], theirs[i] and theirs[i][c])
      end
    end
  end
end

-- nil, or what differs: rows in any order, and of a sorted result the keys in order.
local function compare(plan, ours, theirs)
  if plan.order then
    local numbers, keys = {}, {}
    for c, column in ipairs(plan.columns) do numbers[column.name] = c end
    for i, key in ipairs(plan.order) do keys[i] = key end
    local function picked(rows)
      local list = {}
      for r, row in ipairs(rows) do
        list[r] = {}
        for i, key in ipairs(keys) do list[r][i] = row[numbers[key.name]] end
      end
      return list
    end
    local problem = compare_lists(keys, picked(ours), picked(theirs))
    if problem then return "order: " .. problem end
  end
  return compare_lists(plan.columns, sorted(plan.columns, ours), sorted(plan.columns, theirs))
end

-- Statements and query of a case.
local function peer_input(case, plan, statements)
  for i, t in ipairs(case.gen.tables) do
    for _, statement in ipairs(tables.sql(t, case.dialect, case.gen.prefix .. i)) do statements[#statements + 1] = statement end
  end
  return { sql = plans.query(plan, peers.columns(case.dialect, plan.columns)), columns = plan.columns }
end

-- Whether one plan of a case differs: nil, or what.
local function differs(case, plan)
  local statements = {}
  local query = peer_input(case, plan, statements)
  local theirs = peers.run(case.dialect, statements, { query })[1]
  local ours, problem = run_all(plan, sources(case))
  return problem or compare(plan, ours, theirs)
end

-- Making a difference small.

local function shortest(case)
  local chain, plan = {}, case.plan
  while plan do
    table.insert(chain, 1, plan)
    plan = plan.prev
  end
  for _, one in ipairs(chain) do
    if differs(case, one) then return one end
  end
  return case.plan
end

-- Leaves out pieces of the tables' rows while the difference stays, halves first.
local function reduce(case, plan)
  local tries = 0
  for _, t in ipairs(case.gen.tables) do
    local size = math.max(1, #t.rows // 2)
    while size >= 1 and tries < 150 do
      local first = 1
      while first <= #t.rows and tries < 150 do
        tries = tries + 1
        local before, rows = t.rows, {}
        for i, row in ipairs(before) do
          if i < first or i >= first + size then rows[#rows + 1] = row end
        end
        t.rows = rows
        local ok, problem = pcall(differs, case, plan)
        if not ok or not problem or not tables.is_possible(t) then
          t.rows = before
          first = first + size
        end
      end
      size = size // 2
    end
  end
end

--- A report of a difference: the smallest tables and the shortest plan that show it, to be run by hand.
function check.report(case, problem)
  local plan = shortest(case)
  reduce(case, plan)
  local lines = {
    ("plan %d of seed %d differs from %s: %s"):format(case.number, case.seed, case.dialect, problem),
    ("(again: make oracle PEER=%s SEED=%d FIRST=%d N=1)"):format(case.dialect, case.seed, case.number),
    "", 'local lb = require "luabatch"', "local t = {}",
  }
  for i, text in ipairs(sources(case)) do
    if not plan.lb:find(("t[%d]"):format(i), 1, true) then goto continue end
    lines[#lines + 1] = ("t[%d] = %s"):format(i, text)
    local t = case.gen.tables[i]
    if t.source ~= "from" then lines[#lines + 1] = ("-- the file: %q"):format(tables[t.source](t)) end
    ::continue::
  end
  lines[#lines + 1] = "return " .. plan.lb
  lines[#lines + 1] = ""
  local statements = {}
  local query = peer_input(case, plan, statements)
  local ok, theirs = pcall(function() return peers.run(case.dialect, statements, { query })[1] end)
  for _, statement in ipairs(statements) do lines[#lines + 1] = statement .. ";" end
  lines[#lines + 1] = plans.query(plan, "*") .. ";"
  lines[#lines + 1] = ""
  if ok then
    local ours, message = run_all(plan, sources(case))
    lines[#lines + 1] = message or compare(plan, ours, theirs)
    if ours then lines[#lines + 1] = "here:\n" .. text_of(ours, #plan.columns):sub(1, 2000) end
    lines[#lines + 1] = "there:\n" .. text_of(theirs, #plan.columns):sub(1, 2000)
  end
  return table.concat(lines, "\n")
end

--- Runs the cases first to last and compares them.
-- @return list of reports
function check.run(dialect, seed, first, last)
  local cases, statements, queries = {}, {}, {}
  for number = first, last do
    local case = check.make(dialect, seed, number)
    cases[#cases + 1] = case
    queries[#queries + 1] = peer_input(case, case.plan, statements)
  end
  local results = peers.run(dialect, statements, queries)
  local reports = {}
  for i, case in ipairs(cases) do
    local ours, problem = run_all(case.plan, sources(case))
    problem = problem or compare(case.plan, ours, results[i])
    -- A join whose keys are never equal is no result for the peers, and an error here.
    local refused = problem and problem:find("which are never equal; declare one type", 1, true)
    if problem and not refused then reports[#reports + 1] = check.report(case, problem) end
    for _, path in pairs(case.files or {}) do os.remove(path) end
  end
  return reports
end

return check
