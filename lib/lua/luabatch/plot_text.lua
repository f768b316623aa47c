--- Plots drawn with characters: bars of eighth blocks, points of Braille dots (2 by 4 a character).
-- @module luabatch.plot_text
local compat = require "luabatch.compat"
local core = require "luabatch.core"
local axis = require "luabatch.plot_axis"

local plot_text = {}

local eighths = { "▏", "▎", "▍", "▌", "▋", "▊", "▉" }

--- The size of the drawing in characters and dots.
function plot_text.size(options)
  local columns = core.terminal_size() or 80
  local width = math.max(20, math.min(options.width or columns, 400))
  local height = math.max(4, math.min(options.height or 16, 200))
  return { width = width, height = height, cells_x = 2 * (width - 12), cells_y = 4 * height }
end

local function bar(share, room)
  local units = math.floor(share * room * 8 + 0.5)
  local rest = units % 8
  return ("█"):rep(math.floor(units / 8)) .. (rest > 0 and eighths[rest] or "")
end

local function pad(text, width, left)
  local shown, cells = core.printable(text, width)
  local space = (" "):rep(width - cells)
  return left and space .. shown or shown .. space
end

-- Bars to the right, those of negative numbers to the left of a common line.
local function draw_bars(drawing, size, lines)
  local widest, widest_value, most, least = 1, 1, 0, 0
  local label = axis.labels(drawing.bars[1] and drawing.bars[1].from or 0,
    drawing.bars[#drawing.bars] and drawing.bars[#drawing.bars].to or 1, drawing.time)
  local labels, values = {}, {}
  for i, one in ipairs(drawing.bars) do
    labels[i] = one.label or one.exact and label(one.exact) or ("%s to %s"):format(label(one.from), label(one.to))
    values[i] = compat.math_type(one.value) == "integer" and tostring(one.value) or axis.short(one.value)
    local _, cells = core.printable(labels[i])
    widest, widest_value = math.max(widest, cells), math.max(widest_value, #values[i])
    most, least = math.max(most, one.value), math.min(least, one.value)
  end
  widest = math.min(widest, math.floor(size.width / 3))
  local room = math.max(5, size.width - widest - widest_value - 3)
  local span = most - least
  local left = span > 0 and math.floor(room * -least / span + 0.5) or 0
  for i, one in ipairs(drawing.bars) do
    local text
    if one.value < 0 then
      local n = math.max(1, math.floor(room * -one.value / span + 0.5))
      text = (" "):rep(left - n) .. ("█"):rep(math.min(n, left))
    else
      text = (" "):rep(left) .. bar(span > 0 and one.value / span or 0, room)
    end
    lines[#lines + 1] = (pad(labels[i], widest, drawing.kind == "hist") .. " " .. pad(values[i], widest_value, true) .. " "
      .. text):gsub("%s+$", "")
  end
end

-- A field of dots; x to the right, y upwards.
local function canvas(width, height)
  local cells, is_set = {}, {}
  -- The bit of each dot of a Braille character, by row from above and column.
  local bits = { { 0x01, 0x08 }, { 0x02, 0x10 }, { 0x04, 0x20 }, { 0x40, 0x80 } }
  local field = {}
  function field.dot(x, y)
    if x < 0 or y < 0 or x >= 2 * width or y >= 4 * height then return end
    local from_above = 4 * height - 1 - y
    local at = math.floor(from_above / 4) * width + math.floor(x / 2)
    local dot = y * 2 * width + x
    if is_set[dot] then return end
    is_set[dot] = true
    cells[at] = (cells[at] or 0) + bits[from_above % 4 + 1][x % 2 + 1]
  end
  function field.line(x0, y0, x1, y1)
    local steps = math.max(math.abs(x1 - x0), math.abs(y1 - y0), 1)
    for i = 0, steps do
      field.dot(math.floor(x0 + (x1 - x0) * i / steps + 0.5), math.floor(y0 + (y1 - y0) * i / steps + 0.5))
    end
  end
  function field.row(i)
    local parts = {}
    for x = 0, width - 1 do
      local dots = cells[i * width + x]
      parts[#parts + 1] = dots and compat.char(0x2800 + dots) or " "
    end
    return table.concat(parts)
  end
  return field
end

local function draw_points(drawing, size, lines)
  local width, height = math.floor(size.cells_x / 2), size.height
  local field = canvas(width, height)
  local function place(value, least, greatest, n)
    if greatest == least then return math.floor(n / 2) end
    return math.min(n - 1, math.floor((value - least) / (greatest - least) * n))
  end
  local last_x, last_y
  for _, point in ipairs(drawing.points) do
    local x = point.cx
    local y = drawing.kind == "scatter" and point.cy
      or place(point.y, drawing.min_y, drawing.max_y, 4 * height)
    if drawing.max_x == drawing.min_x then x = width end
    if drawing.max_y == drawing.min_y then y = 2 * height end
    if drawing.kind == "line" and last_x then field.line(last_x, last_y, x, y) else field.dot(x, y) end
    last_x, last_y = x, y
  end
  local y_label = axis.labels(drawing.min_y, drawing.max_y, drawing.y_time)
  for i = 0, height - 1 do
    local text = ""
    if i == 0 then text = y_label(drawing.max_y) elseif i == height - 1 then text = y_label(drawing.min_y) end
    lines[#lines + 1] = (pad(text, 9, true) .. " │" .. field.row(i)):gsub("%s+$", "")
  end
  lines[#lines + 1] = (" "):rep(10) .. "└" .. ("─"):rep(width)
  local x_label = axis.labels(drawing.min_x, drawing.max_x, drawing.time)
  local from, to = x_label(drawing.min_x), x_label(drawing.max_x)
  lines[#lines + 1] = (" "):rep(11) .. from .. (" "):rep(math.max(1, width - #from - #to)) .. to
end

--- Draws.
-- @return string of lines without the last newline
function plot_text.draw(drawing, size)
  local lines = {}
  local title = drawing.title
    or drawing.kind == "hist" and drawing.x or ("%s by %s"):format(drawing.y, drawing.x)
  lines[1] = (core.printable(title))
  if drawing.bars and #drawing.bars > 0 then
    draw_bars(drawing, size, lines)
  elseif drawing.points and #drawing.points > 0 then
    draw_points(drawing, size, lines)
  else
    lines[#lines + 1] = "(nothing to draw)"
  end
  if drawing.note then lines[#lines + 1] = "(" .. drawing.note .. ")" end
  return table.concat(lines, "\n")
end

return plot_text
