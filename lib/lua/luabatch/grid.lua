--- Records as a table drawn for a terminal: boxes, types under the names, never wider than the window.
--
-- Numbers stand to the right; nil is not to be mistaken for a string; control characters are shown as escapes. What is too long
-- ends in "…"; when even so the columns do not fit, those in the middle are left out.
-- @module luabatch.grid
local compat = require "luabatch.compat"
local core = require "luabatch.core"

local grid = {}

local NARROWEST = 9 -- a column is not made narrower than this
local LONGEST = 60 -- nor wider than this when others want the room

-- The name of a value's type as schemas say it.
local function type_of(value)
  return compat.math_type(value) or type(value)
end

--- The type of a column of values: the one that all have, "number" for integers and floats, else "any".
function grid.column_type(rows, j)
  local kind
  for _, row in ipairs(rows) do
    local value = row[j]
    if value ~= nil then
      local one = type_of(value)
      if kind == nil or kind == one then
        kind = one
      elseif (kind == "integer" or kind == "float" or kind == "number") and compat.math_type(value) then
        kind = "number"
      else
        return "any"
      end
    end
  end
  return kind or "nil"
end

local function text_of(value, kind)
  if value == nil then return "nil" end
  if kind == "float" and type(value) == "number" then value = compat.float(value) end
  if type(value) == "string" then return value == "nil" and '"nil"' or value end
  local ok, text = pcall(core.format, value, "text")
  return ok and text or tostring(value)
end

-- Widths of the columns that are shown, and which these are: first to left, right to last.
local function fit(widths, room)
  local n = #widths
  local function total(left, right)
    local sum, shown = 1, 0
    for j = 1, n do
      if j <= left or j >= right then
        sum = sum + widths[j] + 3
        shown = shown + 1
      end
    end
    return sum + (shown < n and 4 or 0)
  end
  if not room then return n, n + 1 end
  -- The widest columns give room first.
  while total(n, n + 1) > room do
    local widest, second = 1, 0
    for j = 2, n do
      if widths[j] > widths[widest] then widest = j end
    end
    for j = 1, n do
      if j ~= widest then second = math.max(second, widths[j]) end
    end
    if widths[widest] <= NARROWEST then break end
    local over = total(n, n + 1) - room
    widths[widest] = math.max(NARROWEST, math.min(second, widths[widest] - 1), widths[widest] - over)
  end
  local left, right = n, n + 1
  if total(left, right) > room then
    left = math.ceil(n / 2)
    right = left + 1
    while total(left, right) > room and left + (n - right + 1) > 1 do
      if left > n - right + 1 then left = left - 1 else right = right + 1 end
    end
  end
  return left, right
end

--- Draws records.
-- @param rows list of `{n = columns, ...}`
-- @param options `names`, `types` (lists of strings; types may be nil), `width` (cells of the window; nil: no limit), `color`
--   (whether escape sequences may be used), `footer` (a line below)
-- @return string of lines without the last newline
function grid.draw(rows, options)
  local names, n = options.names, #options.names
  local types = options.types or {}
  local cells, widths, right_side = {}, {}, {}
  for j = 1, n do
    types[j] = types[j] and types[j] ~= "any" and types[j] or grid.column_type(rows, j)
    local _, name_cells = core.printable(names[j])
    widths[j] = math.max(1, name_cells, #types[j])
    right_side[j] = types[j] == "integer" or types[j] == "float" or types[j] == "number"
  end
  for i, row in ipairs(rows) do
    cells[i] = {}
    for j = 1, n do
      local text = text_of(row[j], types[j])
      local _, width = core.printable(text, 4096)
      cells[i][j] = text
      widths[j] = math.max(widths[j], width)
    end
  end
  local room = options.width
  if not room then
    for j = 1, n do widths[j] = math.min(widths[j], LONGEST) end
  end
  local left, right = fit(widths, room)

  local function style(text, code)
    return options.color and ("\27[%sm%s\27[0m"):format(code, text) or text
  end
  local lines = {}
  local function line(start, middle, stop, piece)
    local parts = {}
    for j = 1, n do
      if j <= left or j >= right then parts[#parts + 1] = piece(j) end
      if j == left and right <= n or j == left and right == n + 1 and left < n then parts[#parts + 1] = piece(nil) end
    end
    lines[#lines + 1] = start .. table.concat(parts, middle) .. stop
  end
  local function rule(start, middle, stop)
    line(start, middle, stop, function(j) return ("─"):rep((j and widths[j] or 1) + 2) end)
  end
  local function put(text, j, code)
    local shown, width = core.printable(text, widths[j])
    local space = (" "):rep(widths[j] - width)
    if code then shown = style(shown, code) end
    return " " .. (right_side[j] and space .. shown or shown .. space) .. " "
  end
  rule("┌", "┬", "┐")
  line("│", "│", "│", function(j) return j and put(names[j], j, "1") or " … " end)
  line("│", "│", "│", function(j) return j and put(types[j], j, "2") or "   " end)
  rule("├", "┼", "┤")
  for i, row in ipairs(rows) do
    line("│", "│", "│", function(j) return j and put(cells[i][j], j, row[j] == nil and "2" or nil) or " … " end)
  end
  rule("└", "┴", "┘")
  if options.footer then lines[#lines + 1] = options.footer end
  return table.concat(lines, "\n")
end

return grid
