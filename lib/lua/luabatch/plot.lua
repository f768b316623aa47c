--- Plots of datasets, drawn in the terminal or into an SVG file.
--
-- Records are counted into the cells of the drawing by the engine (SQL expressions and group_by), so what comes
-- back is as large as the drawing, however large the data is. `plot.data` finds what is to be drawn, `plot_text`
-- and `plot_svg` draw it.
-- @module luabatch.plot
local core = require "luabatch.core"
local check = require "luabatch.check"
local columns = require "luabatch.columns"
local compat = require "luabatch.compat"
local row = require "luabatch.row"
local dataset = require "luabatch.dataset"

local plot = {}

local kinds = { hist = 1, bar = 2, line = 2, scatter = 2 } -- and how many columns each wants
local kind_names = { "hist", "bar", "line", "scatter" }

local MAX_BARS = 1000

local function number(x)
  return ("(%.17g)"):format(x)
end

-- The dataset as rows, and the names of the columns to draw.
local function columns_of(ds, kind, names)
  local wanted = kinds[kind]
  local node = ds._node
  if not node.names and #names == 0 then
    -- A value, or a key and a value.
    local titles = wanted == 1 and { "value" } or { "key", "value" }
    local as_row = wanted == 1 and function(value) return { value = value } end
      or function(key, value) return { key = key, value = value } end
    return dataset.new(row.node(ds:map(as_row), "plot", titles)), titles
  end
  if #names ~= wanted then
    check.misuse("plot: %s wants %d column%s, got %d", kind, wanted, wanted == 1 and "" or "s", #names)
  end
  ds = dataset.new(row.node(ds, "plot", names))
  for _, name in ipairs(names) do columns.find("plot", ds._node.names, name) end
  return ds, names
end

-- The column as a number: of text, the seconds of the time that it tells.
local function numeric(ds, name)
  local kind = columns.types(ds._node)[name]
  local quoted = columns.quote(name)
  if kind == "string" then return ("epoch(%s)"):format(quoted), true end
  if kind == nil or kind == "any" then
    return ("case when typeof(%s) = 'string' then epoch(%s) else %s end"):format(quoted, quoted, quoted), false
  end
  if kind == "boolean" then return ("case when %s then 1 else 0 end"):format(quoted), false end
  return quoted, false
end

-- Rows x, y of finite numbers. Gives the dataset, and for each column whether it tells a time.
local function points(ds, names)
  local expressions, is_time, conditions = {}, {}, {}
  for i, name in ipairs(names) do
    local axis = i == 1 and "x" or "y"
    expressions[axis], is_time[axis] = numeric(ds, name)
    conditions[i] = ("%s - %s = 0"):format(axis, axis) -- not for nil, nan and the infinities
  end
  return ds:select(expressions), table.concat(conditions, " and "), is_time
end

-- Least and greatest values of the points that can be drawn, their number `n`, and how many records cannot.
local function range(all, finite_when, names)
  local lb = require "luabatch"
  local aggregates = { all = lb.count(), n = lb.count(("case when %s then 1 end"):format(finite_when)) }
  for _, axis in ipairs(names) do
    local value = ("case when %s then %s end"):format(finite_when, axis)
    aggregates["min_" .. axis], aggregates["max_" .. axis] = lb.min(value), lb.max(value)
  end
  local r = all:agg(aggregates):first()
  local left_out = r.all - r.n
  r.note = left_out > 0
    and ("%d record%s without a finite number left out"):format(left_out, left_out == 1 and "" or "s") or nil
  return r
end

-- Cells 0 to n - 1 of an axis as an SQL expression.
local function cell(axis, least, greatest, n)
  local width = (greatest - least) / n
  if width <= 0 then return "0" end
  return ("least(cast(floor((%s - %s) / %s) as integer), %d)"):format(axis, number(least), number(width), n - 1)
end

local data = {}

function data.hist(ds, names, options)
  local lb = require "luabatch"
  local all, finite_when, is_time = points(ds, names)
  local finite = all:where(finite_when)
  local r = range(all, finite_when, { "x" })
  local bins = options.bins or 20
  local drawing = { kind = "hist", bars = {}, note = r.note, x = names[1], y = "records", time = is_time.x }
  if r.n == 0 then return drawing end
  local least, greatest = r.min_x, r.max_x
  -- Each of a few whole numbers has a bin of its own.
  local whole = compat.math_type(least) == "integer" and compat.math_type(greatest) == "integer"
  if whole and greatest - least >= 0 and greatest - least < bins then
    bins = greatest - least + 1
    greatest = least + bins
  elseif greatest == least then
    bins = 1
  end
  for i = 0, bins - 1 do
    local from = least + (greatest - least) * i / bins
    drawing.bars[i + 1] = {
      from = from, value = 0, to = least + (greatest - least) * (i + 1) / bins,
      exact = (whole and greatest - least == bins or greatest == least) and math.floor(from) == from and compat.tointeger(from) or nil,
    }
  end
  local counts = finite:select({ bin = cell("x", least, greatest, bins) }):group_by("bin"):agg { n = lb.count() }
  for _, one in ipairs(counts:collect()) do drawing.bars[one.bin + 1].value = one.n end
  return drawing
end

function data.bar(ds, names, options)
  local limit = options.limit or 40
  if limit > MAX_BARS then check.misuse("plot: at most %d bars can be drawn", MAX_BARS) end
  local bars, skipped = {}, 0
  local list = ds:select(names[1], names[2]):take(limit + 1)
  local more = #list > limit
  for i = 1, math.min(#list, limit) do
    local label, value = list[i][names[1]], list[i][names[2]]
    if type(value) == "number" and value - value == 0 then
      bars[#bars + 1] = { label = label == nil and "nil" or core.format(label, "text"), value = value }
    elseif value == nil or type(value) == "number" then
      skipped = skipped + 1
    else
      error(("plot: bars are numbers; %s is %s"):format(names[2], type(value)), 0)
    end
  end
  local notes = {}
  if more then notes[1] = ("the first %d; limit = n draws more"):format(limit) end
  if skipped > 0 then notes[#notes + 1] = ("%d without a finite number left out"):format(skipped) end
  return { kind = "bar", bars = bars, x = names[1], y = names[2], note = notes[1] and table.concat(notes, "; ") }
end

-- Both: counts of points in cells.
local function drawn_points(kind, ds, names, options)
  local all, finite_when, is_time = points(ds, names)
  local finite = all:where(finite_when)
  local r = range(all, finite_when, { "x", "y" })
  return finite, {
    kind = kind, points = {}, note = r.note, x = names[1], y = names[2], time = is_time.x, y_time = is_time.y,
    min_x = r.min_x, max_x = r.max_x, min_y = r.min_y, max_y = r.max_y, n = r.n, cells_x = options.cells_x,
    cells_y = options.cells_y,
  }
end

function data.scatter(ds, names, options)
  local lb = require "luabatch"
  local finite, drawing = drawn_points("scatter", ds, names, options)
  if drawing.n == 0 then return drawing end
  drawing.points = finite:select({
    cx = cell("x", drawing.min_x, drawing.max_x, options.cells_x), cy = cell("y", drawing.min_y, drawing.max_y, options.cells_y),
    x = "x", y = "y",
  }):group_by("cx", "cy"):agg({ n = lb.count(), x = lb.avg "x", y = lb.avg "y" }):collect()
  return drawing
end

function data.line(ds, names, options)
  local lb = require "luabatch"
  local finite, drawing = drawn_points("line", ds, names, options)
  if drawing.n == 0 then return drawing end
  drawing.points = finite:select({ cx = cell("x", drawing.min_x, drawing.max_x, options.cells_x), x = "x", y = "y" })
    :group_by("cx"):agg({ n = lb.count(), x = lb.avg "x", y = lb.avg "y" }):order_by("cx"):collect()
  drawing.min_y, drawing.max_y = math.huge, -math.huge
  for _, point in ipairs(drawing.points) do
    drawing.min_y, drawing.max_y = math.min(drawing.min_y, point.y), math.max(drawing.max_y, point.y)
  end
  if drawing.n > #drawing.points then
    local note = ("means of %d points in %d places"):format(drawing.n, #drawing.points)
    drawing.note = drawing.note and note .. "; " .. drawing.note or note
  end
  return drawing
end

-- Names that promise another format.
local other_pictures = { png = true, jpg = true, jpeg = true, gif = true, webp = true, pdf = true, eps = true, ps = true, html = true }

local option_types = {
  bins = "integer", limit = "integer", width = "integer", height = "integer", title = "string", out = "string",
  mode = { "error", "overwrite" },
}

-- Writes text to a file that appears whole.
local function write_file(path, text, mode)
  local runtime = require "luabatch.runtime"
  local node = { op = "list", rows = { { text } }, columns = 1 }
  runtime.run("plot", node, runtime.write_sink(path, "text", { mode = mode or "overwrite" }))
end

--- Draws a dataset: `ds:plot(kind, column..., options)`.
-- @param ds dataset
-- @param kind "hist" (of one column), "bar" (a label and a number a record), "line" or "scatter" (x and y)
-- @param ... names of columns, then maybe options: `bins`, `limit` (of bars), `width` and `height` (cells, or pixels of an SVG), `title`,
--   `out` (path of an SVG file)
-- @return what is drawn: a string, or nil when it went to a file
function plot.draw(ds, kind, ...)
  if not kinds[kind] then
    check.misuse("bad argument 'kind' to plot ('%s' expected%s)", table.concat(kind_names, "', '"),
      type(kind) == "string" and require("luabatch.suggest").hint(kind, kind_names) or "")
  end
  local names = { ... }
  local options = {}
  if type(names[#names]) == "table" then options = table.remove(names) end
  for _, name in ipairs(names) do check.string("plot", "column", name) end
  for _, axis in ipairs { "x", "y", "column" } do
    if options[axis] ~= nil then
      check.misuse('plot: columns stand before the options, as in plot("%s", "%s")', kind,
        table.concat(({ hist = { "amount" }, bar = { "name", "amount" } })[kind] or { "x", "y" }, '", "'))
    end
  end
  check.options("plot", options, option_types)
  local extension = options.out and options.out:match("[^/]%.(%a%w*)$")
  if extension and other_pictures[extension:lower()] then
    check.misuse("plot: %s cannot be written; pictures are SVG files, such as %s.svg", extension, options.out:sub(1, -#extension - 2))
  end
  local source
  source, names = columns_of(ds, kind, names)
  local drawer = require(options.out and "luabatch.plot_svg" or "luabatch.plot_text")
  local size = drawer.size(options)
  local drawing = data[kind](source, names, {
    bins = options.bins, limit = options.limit, cells_x = size.cells_x, cells_y = size.cells_y,
  })
  drawing.title = options.title
  local text = drawer.draw(drawing, size)
  if not options.out then return text end
  write_file(options.out, text, options.mode)
  return nil
end

return plot
