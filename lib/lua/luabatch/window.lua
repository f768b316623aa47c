--- Windows: columns computed for each row from other rows of its partition.
-- @module luabatch
local check = require "luabatch.check"
local columns = require "luabatch.columns"
local aggregates = require "luabatch.aggregates"
local compat = require "luabatch.compat"

local window = {}
local meta = { __name = "window function" }
local constructors = {}

local function make(fn, column, n, default)
  return setmetatable({ fn = fn, columns = { column }, n = n, default = default }, meta)
end

local function plain(fn)
  return function() return make(fn) end
end

--- For `window`: the row's place in its partition: 1, 2, 3, ...
-- @function lb.row_number()
-- @return window_function
-- @usage lb.csv("sales.csv"):window({ partition_by = "country", order_by = "amount", v = lb.row_number() }):show()
constructors.row_number = plain "row_number"

--- For `window`: the place of the first row that is equal to this one in order. Wants `order_by`.
-- @function lb.rank()
-- @return window_function
-- @usage lb.csv("sales.csv"):window({ partition_by = "country", order_by = "amount", v = lb.rank() }):show()
constructors.rank = plain "rank"

--- For `window`: the row's place in order, counted without gaps. Wants `order_by`.
-- @function lb.dense_rank()
-- @return window_function
-- @usage lb.csv("sales.csv"):window({ partition_by = "country", order_by = "amount", v = lb.dense_rank() }):show()
constructors.dense_rank = plain "dense_rank"

--- For `window`: (rank - 1) / (rows - 1), a float from 0 to 1; 0 of a single row. Wants `order_by`.
-- @function lb.percent_rank()
-- @return window_function
-- @usage lb.csv("sales.csv"):window({ partition_by = "country", order_by = "amount", v = lb.percent_rank() }):show()
constructors.percent_rank = plain "percent_rank"

--- For `window`: the part of the partition's rows that are not behind this one in order, a float above 0, up to 1. Wants `order_by`.
-- @function lb.cume_dist()
-- @return window_function
-- @usage lb.csv("sales.csv"):window({ partition_by = "country", order_by = "amount", v = lb.cume_dist() }):show()
constructors.cume_dist = plain "cume_dist"

--- For `window`: the number of the row's bucket, from 1, when the partition is divided into n of about equal size. Wants `order_by`.
-- @param n integer: how many buckets, from 1
-- @return window_function
-- @usage lb.csv("sales.csv"):window({ order_by = "amount", quarter = lb.ntile(4) }):show()
function constructors.ntile(n)
  return make("ntile", nil, check.integer("ntile", "n", n, 1))
end

local function shifted(fn)
  return function(column, n, default)
    check.column(fn, "column", column)
    if n == nil then n = 1 end
    local kind = type(default)
    if default ~= nil and kind ~= "number" and kind ~= "string" and kind ~= "boolean" then
      check.bad(fn, "default", "number, string or boolean", default)
    end
    return make(fn, column, check.integer(fn, "n", n, 0), default)
  end
end

--- For `window`: a column's value n rows before the row in its partition. Wants `order_by`.
-- @function lb.lag(column, n, default)
-- @param column string|function: name, SQL expression or function of the row
-- @param n integer?: rows (default 1)
-- @param default number|string|boolean?: value where there is no such row (default nil)
-- @return window_function
-- @usage lb.csv("sales.csv"):window({ partition_by = "user", order_by = "day", other = lb.lag("day") }):show()
constructors.lag = shifted "lag"

--- For `window`: a column's value n rows behind the row in its partition. Wants `order_by`.
-- @function lb.lead(column, n, default)
-- @param column string|function: name, SQL expression or function of the row
-- @param n integer?: rows (default 1)
-- @param default number|string|boolean?: value where there is no such row (default nil)
-- @return window_function
-- @usage lb.csv("sales.csv"):window({ partition_by = "user", order_by = "day", other = lb.lead("day") }):show()
constructors.lead = shifted "lead"

--- For `window`: a column's value in the n-th row of the frame, nil where the frame has fewer.
-- @param column string|function: name, SQL expression or function of the row
-- @param n integer: 1 is the first row of the frame
-- @return window_function
-- @usage lb.csv("sales.csv"):window({ partition_by = "country", order_by = "day", second = lb.nth_value("item", 2) }):show()
function constructors.nth_value(column, n)
  return make("nth_value", check.column("nth_value", "column", column), check.integer("nth_value", "n", n, 1))
end

--- For `window`: what a function makes of the frame: `#frame` rows, `frame[i]`, and `for row in frame do`. The rows are tables that are
-- shared between frames, to be read only.
-- @param f function(frame) -> value
-- @return window_function
-- @raise an error of f ends the run, or with `on_error` of the window leaves the row out
-- @usage
-- lb.csv("sales.csv"):window({ order_by = "day", rows = { -6, 0 }, spread = lb.over(function(frame)
--   return frame[#frame].amount - frame[1].amount
-- end) }):show()
function constructors.over(f)
  local made = make("over")
  made.f = check.func("over", "f", f)
  return made
end

window.constructors = constructors

-- { -7, 0 } as { from = -7, to = 0 }; math.huge is unbounded, which is no field.
local function frame_ends(name, ends)
  if type(ends) ~= "table" then check.bad("window", name, "list {from, to}", ends) end
  local frame = {}
  for i, field in ipairs { "from", "to" } do
    local value = ends[i]
    if type(value) ~= "number" or value ~= value then
      check.misuse("window: %s = {from, to} needs two numbers; -math.huge and math.huge are unbounded ends", name)
    end
    local is_unbounded = value == (i == 1 and -math.huge or math.huge)
    if not is_unbounded then
      if name == "rows" then value = compat.tointeger(value) end
      if not value or value - value ~= 0 then
        check.misuse("window: %s[%d] must be %s or %smath.huge", name, i, name == "rows" and "an integer" or "a number",
          i == 1 and "-" or "")
      end
      frame[field] = value
    end
  end
  if next(ends, #ends) ~= nil or #ends ~= 2 then check.misuse("window: %s = {from, to} has two elements", name) end
  if frame.from and frame.to and frame.from > frame.to then
    check.misuse("window: %s = {%s, %s} ends before it begins", name, tostring(frame.from), tostring(frame.to))
  end
  frame.kind = name
  return frame
end

local needs_order = {
  row_number = false, rank = true, dense_rank = true, percent_rank = true, cume_dist = true, ntile = true, lag = true,
  lead = true,
}

local settings = { partition_by = true, order_by = true, rows = true, range = true, partitions = true, on_error = true }

-- The functions, by name of the column in order of bytes.
local function functions(node, options, bind)
  local names, list = {}, {}
  for name in pairs(options) do
    if type(name) ~= "string" then check.bad("window", "column", "string as name", name) end
    if not settings[name] then names[#names + 1] = name end
  end
  table.sort(names)
  for i, name in ipairs(names) do
    local fn = options[name]
    if getmetatable(fn) ~= meta and not aggregates.is(fn) then
      local known = {}
      for setting in pairs(settings) do known[#known + 1] = setting end
      table.sort(known)
      local hint = require("luabatch.suggest").hint(name, known)
      if hint ~= "" then check.misuse("window has no option '%s'%s", name, hint) end
      check.bad("window", name, "window function such as lb.row_number() or lb.sum \"amount\"", fn)
    end
    list[i] = bind(node, name, fn)
  end
  if #list == 0 then check.misuse("window: no column is named") end
  return list
end

--- The logical node of ds:window, for row.lua.
-- @param node of the rows
-- @param options what the user gave
-- @param tools `order_keys` and `bind` of row.lua
function window.node(node, options, tools)
  if type(options) ~= "table" then check.bad("window", "options", "table", options) end
  local partition = options.partition_by
  if type(partition) == "string" then partition = { partition } end
  if partition ~= nil and type(partition) ~= "table" then check.bad("window", "partition_by", "column or list of columns", partition) end
  partition = columns.list("window", node.names, partition or {})
  local order = options.order_by
  if type(order) == "string" or order ~= nil and tools.is_desc(order) then order = { order } end
  if order ~= nil and type(order) ~= "table" then check.bad("window", "order_by", "column or list of columns", order) end
  order = order and tools.order_keys("window", node, compat.unpack(order)) or {}
  if options.on_error ~= nil then check.policy("window", "on_error", options.on_error) end
  if options.partitions ~= nil then check.integer("window", "partitions", options.partitions, 1) end
  if options.rows ~= nil and options.range ~= nil then check.misuse("window: a frame has rows or range, not both") end
  local frame = options.rows ~= nil and frame_ends("rows", options.rows) or options.range ~= nil and frame_ends("range", options.range)
  if frame and #order == 0 then check.misuse("window: a frame with %s needs order_by", frame.kind) end
  if frame and frame.kind == "range" and #order ~= 1 then
    check.misuse("window: range needs one column of order_by, of numbers or times, not %d", #order)
  end
  local list = functions(node, options, tools.bind)
  local names, index = { compat.unpack(node.names) }, columns.index(node.names)
  for _, fn in ipairs(list) do
    if needs_order[fn.fn] and #order == 0 then check.misuse("window: %s of '%s' needs order_by", fn.fn, fn.name) end
    names[index[fn.name] or #names + 1] = fn.name
  end
  return {
    op = "window", inputs = { node }, partition = partition, order = order, frame = frame or nil, functions = list,
    names = names, columns = #names, partitions = options.partitions, on_error = options.on_error,
    label = "window",
  }
end

--- Whether computing a function of a window cannot fail.
-- @param fn of the node's `functions`
-- @param input node of the rows
function window.is_safe(fn, input)
  for _, item in pairs(fn.computed) do
    if not require("luabatch.row_rules").is_safe(item, input) then return false end
  end
  return fn.fn ~= "over" and (constructors[fn.fn] ~= nil or aggregates.takes_any[fn.fn] == true)
end

-- Functions that look at no row behind the current one, whatever the frame.
local looks_back = { row_number = true, rank = true, dense_rank = true, lag = true }

-- The greatest number that a column may have by a condition `column <= number`, when it is one; and the column.
local function bound_of(steps, step)
  local flipped = { ge = "le", gt = "lt", eq = "eq" }
  local class, left, right = step[1], step[4] and steps[step[4]], step[5] and steps[step[5]]
  if not left or not right then return nil end
  if left[1] == "literal" then
    left, right, class = right, left, flipped[class]
  elseif class == "ge" or class == "gt" then
    return nil
  end
  if left[1] ~= "column" or right[1] ~= "literal" or compat.math_type(right[4]) ~= "integer" then return nil end
  if class == "le" or class == "eq" then return right[4], left[4] end
  if class == "lt" and right[4] > compat.mininteger then return right[4] - 1, left[4] end
  return nil
end

--- How many rows of each partition a condition leaves, when that is sure from a row_number or rank that it compares with a number,
-- and the window's other functions do not miss the rows behind them.
-- @param node of a window
-- @param sql condition on its columns
-- @return number, whether rows of equal order as the last of them stay too; or nil
function window.first_rows(node, sql)
  local by_name = {}
  for _, fn in ipairs(node.functions) do
    by_name[fn.name] = fn
    if not looks_back[fn.fn] then
      local frame = node.frame
      local is_back = frame and frame.kind == "rows" and frame.to and frame.to <= 0
      if not is_back or fn.fn == "ntile" or fn.fn == "lead" or fn.fn == "percent_rank" or fn.fn == "cume_dist" then return nil end
    end
  end
  local program = columns.sql("where", sql, node.names)
  local steps, best, ties = program.steps, nil, false
  local function visit(step)
    if step[1] == "and" then
      for i = 4, #step do visit(steps[step[i]]) end
      return
    end
    local n, column = bound_of(steps, step)
    local fn = n and by_name[node.names[column]]
    if fn and (fn.fn == "row_number" or fn.fn == "rank") and (not best or n < best) then
      best, ties = n, fn.fn == "rank"
    end
  end
  visit(steps[#steps])
  return best, ties
end

--- Lowering, called by lower_row.lua.
-- @param tools `bound` gives the functions' parameters and the stream that has their columns
function window.lower(b, node, tools)
  local input = node.inputs[1]
  local names, index = input.names, columns.index(input.names)
  local list, takes_rows = {}, false
  for _, fn in ipairs(node.functions) do
    if not columns.is_idle_function(node, fn, node.needed) then
      list[#list + 1] = fn
      takes_rows = takes_rows or fn.fn == "over" or fn.fn == "lua" and #fn.columns == 0
    end
  end
  local replaced = {}
  for _, fn in ipairs(node.functions) do replaced[fn.name] = true end
  -- With no function left the rows are the same but for their order, which shows.
  if #list == 0 then list[1] = { name = "", fn = "row_number", columns = {}, used = {}, computed = {} } end
  local stream, descriptions = tools.bound(b, b:input(node), names, list, node.label, node.on_error)
  -- A value that an aggregate refuses is found where its place in the input is known; but only if each row is in a frame, its own, for
  -- what is in none ends no run. With on_error it is left out wherever it is, before the window.
  local frame = node.frame and { from = node.frame.from, to = node.frame.to }
  local has_own = not frame or node.frame.kind == "rows" and (frame.from or 0) <= 0 and (frame.to or 0) >= 0
  if (node.on_error or "fail") ~= "fail" or not node.top and has_own then
    local found = {}
    for _, description in ipairs(descriptions) do
      if not constructors[description.fn] then found[#found + 1] = description end
    end
    stream = tools.fitting(b, stream, names, found, node.label, node.on_error)
  end

  -- The columns that rows carry, as numbers of the stream, and where each of them comes to stand.
  local kept, place = {}, {}
  local function keep(number)
    if number and not place[number] then
      kept[#kept + 1] = number
      place[number] = #kept
    end
    return place[number]
  end
  for i, name in ipairs(names) do
    if takes_rows or not node.needed or node.needed[name] and not replaced[name] then keep(i) end
  end
  local fns = {}
  for i, fn in ipairs(list) do
    local description = descriptions[i]
    description.column, description.column2 = keep(description.column), keep(description.column2)
    if description.columns then
      for k, number in ipairs(description.columns) do description.columns[k] = keep(number) end
    end
    description.n, description.default = fn.n, fn.default
    if fn.fn == "over" then
      description.f, description.names = tools.ship(fn.f, ("%s of column %s"):format(node.label, fn.name)), names
    end
    fns[i] = description
  end
  local order, keys, range_column = node.order, {}, nil
  for i, key in ipairs(order) do keys[i] = { column = index[key.name], desc = key.desc or nil } end
  if node.frame and node.frame.kind == "range" then range_column = keep(index[order[1].name]) end
  local partition = {}
  for i, name in ipairs(node.partition) do partition[i] = index[name] end

  local sink = b:add {
    op = "window", inputs = { stream }, partition = partition, order = keys, columns = kept, top = node.top, ties = node.ties,
    partitions = node.partitions or tools.PARTITIONS, label = node.label,
  }
  if frame and next(frame) == nil then frame.open = true end
  local scan = b:add {
    op = "scan.window", inputs = { sink }, functions = fns, order = #order, range_column = range_column,
    desc = range_column and order[1].desc or nil, label = node.label, on_error = node.on_error,
    rows = node.frame and node.frame.kind == "rows" and frame or nil,
    range = node.frame and node.frame.kind == "range" and frame or nil,
  }
  local picks, number = {}, {}
  for i, fn in ipairs(list) do number[fn.name] = #kept + i end
  for i, name in ipairs(node.names) do
    picks[i] = number[name] or not replaced[name] and place[index[name]] or tools.BEYOND
  end
  return b:add { op = "project", inputs = { scan }, columns = picks }
end

return window
