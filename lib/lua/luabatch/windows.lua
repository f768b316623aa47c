--- Windows of time as groups: `group_by(lb.tumble("ts", 3600), "user")`.
--
-- IDEA  The engine gives each record the start of its window, a number, as one more column (START), by which it is grouped.
--       Of the groups' rows a select then makes window_start and window_end: times like the least one of the group (SAMPLE), so
--       text where times are text. A session also needs the last time of the group (LAST).
-- @module luabatch
local check = require "luabatch.check"
local columns = require "luabatch.columns"
local compat = require "luabatch.compat"
local row = require "luabatch.row"

local windows = {}

local START, TIME, SAMPLE, LAST = "\1start", "\1time", "\1sample", "\1last"

local Window = { __name = "window of time" }

--- Whether a value is a window of time.
function windows.is(value)
  return getmetatable(value) == Window
end

local units = { second = 1, minute = 60, hour = 3600, day = 86400, week = 604800 }

-- A length of time in seconds: a number, or text such as "15 minutes".
local function seconds(verb, name, value, is_any)
  if type(value) == "string" then
    local count, unit = value:match("^%s*(%-?[%d.]*)%s*(%a+)%s*$")
    local factor = unit and (units[unit:lower()] or units[unit:lower():gsub("s$", "")])
    local number = count and (count == "" and 1 or tonumber(count))
    if not factor or not number then
      check.bad(verb, name, "number of seconds, or text such as \"15 minutes\" (second, minute, hour, day, week)", value)
    end
    value = number * factor
  end
  check.number(verb, name, value)
  if value ~= value or value - value ~= 0 or not (is_any or value > 0) then
    check.bad(verb, name, is_any and "finite number" or "positive number", value)
  end
  return compat.tointeger(value) or value
end

local function make(kind, column)
  return setmetatable({ kind = kind, column = check.string(kind, "column", column) }, Window)
end

--- For `group_by`: windows side by side, each `size` seconds long: [0, size), [size, 2 * size) and so on, before 0 as well. The
-- groups get the columns window_start and window_end.
-- @function lb.tumble(column, size, offset)
-- @param column string: name of a column of times: seconds, or ISO 8601 text
-- @param size number|string: in seconds, or text such as "15 minutes" (second, minute, hour, day, week)
-- @param offset number|string?: moves all windows by so many seconds (default 0)
-- @return window: for `group_by`
-- @usage lb.csv("sales.csv"):group_by(lb.tumble("day", "7 days"), "country"):agg({ n = lb.count() }):show()
function windows.tumble(column, size, offset)
  local window = make("tumble", column)
  window.size, window.offset = seconds("tumble", "size", size), seconds("tumble", "offset", offset or 0, true)
  return window
end

--- For `group_by`: windows that begin every `every` seconds, so that a record may be in several, or in none where they leave gaps.
-- @function lb.slide(column, size, every, offset)
-- @param column string: name of a column of times
-- @param size number|string: in seconds, or text such as "1 day"
-- @param every number|string: in seconds, or text
-- @param offset number|string?: moves all windows by so many seconds (default 0)
-- @return window: for `group_by`
-- @usage lb.csv("sales.csv"):group_by(lb.slide("day", "7 days", "1 day")):agg({ n = lb.count() }):show()
function windows.slide(column, size, every, offset)
  local window = make("slide", column)
  window.size, window.every = seconds("slide", "size", size), seconds("slide", "every", every)
  window.offset = seconds("slide", "offset", offset or 0, true)
  return window
end

--- For `group_by`: sessions. Records of one group are in one session as long as each comes less than `gap` seconds after the one
-- before; the session ends `gap` after its last record.
-- @function lb.session(column, gap)
-- @param column string: name of a column of times
-- @param gap number|string: in seconds, or text such as "30 minutes"
-- @return window: for `group_by`
-- @usage lb.csv("sales.csv"):group_by("user", lb.session("day", "3 days")):agg({ n = lb.count() }):show()
function windows.session(column, gap)
  local window = make("session", column)
  window.gap = seconds("session", "gap", gap)
  return window
end

local aggregate = function(fn, column) return { fn = fn, columns = { column } } end

--- Puts the window's start in front of the records of groups.
-- @param groups not given to the user yet: node and keys are replaced
-- @param window of time
-- @param place of window_start among the keys
function windows.apply(groups, window, place)
  local node = groups.node
  columns.find(groups.verb, node.names, window.column)
  local names = { compat.unpack(node.names) }
  names[#names + 1] = START
  local hidden = { { name = SAMPLE, aggregate = aggregate("any_value", window.column), label = window.column } }
  local label = ("%s(%s)"):format(window.kind, window.column)
  if window.kind == "session" then
    names[#names + 1] = TIME
    hidden[2] = { name = LAST, aggregate = aggregate("max", TIME), label = window.column }
    groups.node = row.derive(node, "session", {
      names = names, keys = groups.keys, column = window.column, gap = window.gap, label = label,
    })._node
  else
    groups.node = row.derive(node, "time_window", {
      names = names, column = window.column, size = window.size, every = window.every, offset = window.offset, label = label,
    })._node
  end
  groups.keys = { compat.unpack(groups.keys) }
  table.insert(groups.keys, place, START)
  groups.window = { of = window, hidden = hidden }
end

-- The end of a window in seconds, as an expression: what the engine takes it for.
local function end_of(window)
  local start = columns.quote(START)
  if window.kind == "session" then return ("%s + %s"):format(columns.quote(LAST), columns.literal("session", window.gap)) end
  local size, offset = window.size, window.offset
  local is_whole = compat.math_type(size) == "integer" and compat.math_type(offset) == "integer"
  if window.kind == "slide" or is_whole then return ("%s + %s"):format(start, columns.literal("window", size)) end
  size, offset = columns.literal("window", size), columns.literal("window", offset)
  return ("(round((%s - %s) / %s) + 1) * %s + %s"):format(start, offset, size, size, offset)
end

--- The rows of groups as users see them.
-- @param groups with a window
-- @param result dataset of rows of groups
-- @param items those whose columns stay
-- @return dataset, list of the names of the groups' columns
function windows.finish(groups, result, items)
  local picks, index = {}, {}
  for _, key in ipairs(groups.keys) do
    if key == START then
      local like = "time_like(%s, " .. columns.quote(SAMPLE) .. ")"
      picks[#picks + 1] = { window_start = like:format(columns.quote(START)) }
      picks[#picks + 1] = { window_end = like:format(end_of(groups.window.of)) }
      index[#index + 1] = "window_start"
      index[#index + 1] = "window_end"
    else
      picks[#picks + 1], index[#index + 1] = key, key
    end
  end
  for _, item in ipairs(items) do picks[#picks + 1] = item.name end
  result = result:select(compat.unpack(picks))
  for _, item in ipairs(result._node.items) do
    if item.sql then item.shown = ("%s of %s(%q)"):format(item.name, groups.window.of.kind, groups.window.of.column) end
  end
  return result, index
end

return windows
