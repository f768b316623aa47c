--- Values, tables and plans as text for people.
-- @module luabatch.display
local compat = require "luabatch.compat"
local core = require "luabatch.core"

local display = {}

--- Text for a terminal: control characters and the like are escapes, but for newlines and tabs.
function display.safe(text)
  return (text:gsub("[^\n\t]+", function(part) return (core.printable(part)) end))
end

-- Characters of a UTF-8 text, as an estimate of its width.
local function width(text)
  local _, continuation = text:gsub("[\128-\191]", "")
  return #text - continuation
end

local LONGEST_CELL = 60

local function cell(value)
  local text = core.format(value, "text")
  text = text:gsub("[%c]", function(c)
    return c == "\t" and "\\t" or c == "\n" and "\\n" or c == "\r" and "\\r" or ("\\%d"):format(c:byte())
  end)
  if width(text) > LONGEST_CELL then
    local cut = text:sub(1, LONGEST_CELL - 3):gsub("[\192-\255][\128-\191]*$", "")
    text = cut .. "..."
  end
  return text
end

local titles = {
  [1] = { "value" },
  [2] = { "key", "value" },
}

--- Records as a table with columns of equal width; numbers stand to the right.
-- @param rows list of `{n = columns, ...}`
-- @param more whether there are more records than these
-- @param columns list of the columns' names (nil: "key" and "value")
-- @return string
function display.grid(rows, more, columns)
  if #rows == 0 then return "(no records)" end
  local n = columns and #columns or 1
  for _, row in ipairs(rows) do n = math.max(n, row.n) end
  local names = columns or titles[n]
  if not names then
    names = { "key" }
    for i = 2, n do names[i] = "value " .. (i - 1) end
  end
  local cells, widths, right = {}, {}, {}
  for j = 1, n do
    widths[j], right[j] = width(names[j]), true
  end
  for i, row in ipairs(rows) do
    cells[i] = {}
    for j = 1, n do
      local value = row[j]
      cells[i][j] = cell(value)
      widths[j] = math.max(widths[j], width(cells[i][j]))
      if value ~= nil and type(value) ~= "number" then right[j] = false end
    end
  end
  local lines = {}
  local function add(texts)
    local parts = {}
    for j = 1, n do
      local space = (" "):rep(widths[j] - width(texts[j]))
      parts[j] = right[j] and space .. texts[j] or texts[j] .. space
    end
    lines[#lines + 1] = (table.concat(parts, "  "):gsub("%s+$", ""))
  end
  add(names)
  local rule = {}
  for j = 1, n do rule[j] = ("-"):rep(widths[j]) end
  lines[2] = table.concat(rule, "  ")
  for i = 1, #rows do add(cells[i]) end
  if more then lines[#lines + 1] = "..." end
  return table.concat(lines, "\n")
end

--- Whether escape sequences may colour what a terminal shows.
function display.has_color()
  local no_color = os.getenv "NO_COLOR"
  return (no_color == nil or no_color == "") and os.getenv "TERM" ~= "dumb"
end

--- The first records of a dataset as a table for a terminal, with types.
-- @param ds dataset
-- @param n how many
-- @param options `width` of the window in cells, `color`
-- @return string
function display.first_rows(ds, n, options)
  local runtime, node = require "luabatch.runtime", ds._node
  local store = runtime.run("show", { op = "limit", n = n + 1, inputs = { node }, columns = node.columns, names = node.names },
    function(b, stream) return b:add { op = "store", inputs = { stream }, result = true } end).store
  local rows, columns, known = {}, node.names and #node.names or 1, store:count()
  local read = store:rows()
  for i = 1, math.min(known, n) do
    rows[i] = compat.pack(read())
    columns = math.max(columns, rows[i].n)
  end
  local names, types = node.names or titles[columns], {}
  if node.names then
    local of = require("luabatch.columns").types(node)
    for j, name in ipairs(names) do types[j] = of[name] or "any" end
  elseif not names then
    names = { "key" }
    for j = 2, columns do names[j] = "value " .. (j - 1) end
  end
  local footer = ("%s × %d column%s"):format(
    known > n and ("first %d rows"):format(n) or ("%d row%s"):format(known, known == 1 and "" or "s"),
    columns, columns == 1 and "" or "s")
  return require("luabatch.grid").draw(rows, {
    names = names, types = types, width = options.width, color = options.color, footer = footer,
  })
end

--- How a dataset is computed.
-- @param node logical node
-- @param mode "logical", "optimised", "stages" or "all"
-- @return string
function display.plan(node, mode)
  local plan, rules, explain = require "luabatch.plan", require "luabatch.rules", require "luabatch.explain"
  if mode == "optimized" then mode = "optimised" end
  local parts = {}
  local function part(name, title, make)
    if mode == name or mode == "all" then parts[#parts + 1] = title .. "\n" .. make() end
  end
  part("logical", "logical plan", function() return explain.tree(node) end)
  part("optimised", "optimised plan", function() return explain.tree(rules.prune(rules.optimise(node))) end)
  part("stages", "stages", function()
    local description = plan.build(node, function(b, stream)
      return b:add { op = "store", inputs = { stream }, result = true }
    end)
    return (core.describe(description):gsub("\n+$", ""))
  end)
  return table.concat(parts, "\n")
end

--- One record, of columns 1..n, as a line without its end.
-- @param record list, which may have holes
-- @param n number of columns
-- @param format "text", "json", "csv", "tsv" or "lua"
function display.line(record, n, format)
  if format == "json" and n > 1 then
    -- Written by column: an array with nils inside stays whole.
    local parts = {}
    for i = 1, n do parts[i] = core.format(record[i], "json") end
    return "[" .. table.concat(parts, ",") .. "]"
  end
  local separator = format == "csv" and "," or format == "tsv" and "\t" or format == "lua" and ", " or "\t"
  local parts = {}
  for i = 1, n do parts[i] = core.format(record[i], format) end
  return table.concat(parts, separator)
end

-- Whether a table is a list: keys 1 to #t and no others.
local function is_list(t)
  local n = #t
  for key in pairs(t) do
    if compat.math_type(key) ~= "integer" or key < 1 or key > n then return false end
  end
  return true
end

-- A table as lines: the elements of a list, lists among them being several columns; otherwise pairs in order of keys. One line
-- at a time: a list may hold most of the memory already.
local function write_table(t, format, write)
  if is_list(t) then
    for i = 1, #t do
      local element = t[i]
      local is_record = type(element) == "table" and #element > 0 and is_list(element)
      write(is_record and display.line(element, #element, format) or core.format(element, format))
    end
    return
  end
  local keys = {}
  for key in pairs(t) do keys[#keys + 1] = key end
  table.sort(keys, function(a, b) return core.compare(a, b) < 0 end)
  for _, key in ipairs(keys) do write(display.line({ key, t[key] }, 2, format)) end
end

--- What a chunk returned, as lines: a table by its records, anything else as it is.
-- @param value the value
-- @param format "text", "json", "csv", "tsv" or "lua"
-- @param write function(text) called for each line, which has no newline
function display.value(value, format, write)
  local kind, meta = type(value), debug.getmetatable(value) -- what __metatable shows may be anything
  if kind == "table" and not (meta and rawget(meta, "__tostring")) then
    write_table(value, format, write)
  elseif kind == "function" or kind == "userdata" or kind == "thread" or kind == "table" then
    write(tostring(value))
  else
    write(core.format(value, format))
  end
end

return display
