--- Plots as SVG pictures, for light and dark backgrounds.
-- @module luabatch.plot_svg
local axis = require "luabatch.plot_axis"

local plot_svg = {}

local LEFT, RIGHT, TOP, BOTTOM = 76, 20, 44, 56
-- What a character takes of a label's width, at most, and a label.
local CHARACTER, LABEL = 7.5, 60

--- The size of the drawing in pixels, and its cells.
function plot_svg.size(options)
  local width = math.max(200, math.min(options.width or 800, 8000))
  local height = math.max(150, math.min(options.height or 450, 8000))
  return {
    width = width, height = height, cells_x = math.floor((width - LEFT - RIGHT) / 2), cells_y = math.floor((height - TOP - BOTTOM) / 2),
  }
end

-- Text as XML: markup escaped, characters that XML has not are shown by their number.
local function xml(text)
  local safe = require("luabatch.core").printable(text)
  return (safe:gsub('[&<>"]', { ["&"] = "&amp;", ["<"] = "&lt;", [">"] = "&gt;", ['"'] = "&quot;" }))
end

local style = [[<style>
  svg { background: #fff; color: #222; font: 13px system-ui, sans-serif }
  text { fill: currentColor }
  .grid { stroke: currentColor; stroke-opacity: .15 }
  .axis { stroke: currentColor; stroke-opacity: .6; fill: none }
  .bar, .dot { fill: #2f6fb2 }
  .line { stroke: #2f6fb2; stroke-width: 1.5; fill: none }
  .title { font-weight: 600; font-size: 15px }
  .note { opacity: .7 }
  @media (prefers-color-scheme: dark) {
    svg { background: #16181d; color: #e6e6e6 }
    .bar, .dot { fill: #6cabef }
    .line { stroke: #6cabef }
  }
</style>]]

local function text_at(x, y, text, anchor, class)
  return ('<text x="%.1f" y="%.1f" text-anchor="%s"%s>%s</text>'):format(x, y, anchor,
    class and (' class="%s"'):format(class) or "", xml(text))
end

-- Scales values to pixels; a range of one value stands in the middle.
local function scale(least, greatest, from, to)
  if greatest == least then return function() return (from + to) / 2 end end
  return function(value) return from + (value - least) / (greatest - least) * (to - from) end
end

local function horizontal_lines(out, least, greatest, y, size, is_time)
  local label = axis.labels(least, greatest, is_time)
  for _, tick in ipairs(axis.ticks(least, greatest, 6)) do
    out[#out + 1] = ('<line class="grid" x1="%d" x2="%d" y1="%.1f" y2="%.1f"/>'):format(LEFT, size.width - RIGHT, y(tick), y(tick))
    out[#out + 1] = text_at(LEFT - 8, y(tick) + 4, label(tick), "end")
  end
end

local function draw_bars(drawing, size, out)
  local least, greatest = 0, 0
  for _, one in ipairs(drawing.bars) do
    least, greatest = math.min(least, one.value), math.max(greatest, one.value)
  end
  if least == greatest then greatest = 1 end
  local y = scale(least, greatest, size.height - BOTTOM, TOP)
  horizontal_lines(out, least, greatest, y, size)
  local n = #drawing.bars
  local step = (size.width - LEFT - RIGHT) / n
  local gap = drawing.kind == "hist" and 0.5 or math.min(step * 0.2, 8)
  local label = axis.labels(drawing.bars[1].from or 0, drawing.bars[n].to or 1, drawing.time)
  local every = math.max(1, math.ceil(n * LABEL / (size.width - LEFT - RIGHT)))
  for i, one in ipairs(drawing.bars) do
    local x = LEFT + (i - 1) * step
    local top, bottom = math.min(y(one.value), y(0)), math.max(y(one.value), y(0))
    local name = one.label or one.exact and label(one.exact) or ("%s to %s"):format(label(one.from), label(one.to))
    out[#out + 1] = ('<rect class="bar" x="%.1f" y="%.1f" width="%.1f" height="%.1f"><title>%s: %s</title></rect>'):format(
      x + gap, top, math.max(0.5, step - 2 * gap), bottom - top, xml(name), xml(tostring(one.value)))
    if (i - 1) % every == 0 then
      if one.from and not one.exact then
        out[#out + 1] = text_at(x, size.height - BOTTOM + 18, label(one.from), "middle")
      else
        -- What does not fit is cut; all of it is in the title of the bar.
        local short = require("luabatch.core").printable(name, math.max(3, math.floor(every * step / CHARACTER)))
        out[#out + 1] = text_at(x + step / 2, size.height - BOTTOM + 18, short, "middle")
      end
    end
  end
  out[#out + 1] = ('<line class="axis" x1="%d" x2="%d" y1="%.1f" y2="%.1f"/>'):format(LEFT, size.width - RIGHT, y(0), y(0))
end

local function draw_points(drawing, size, out)
  local x = scale(drawing.min_x, drawing.max_x, LEFT, size.width - RIGHT)
  local y = scale(drawing.min_y, drawing.max_y, size.height - BOTTOM, TOP)
  horizontal_lines(out, drawing.min_y, drawing.max_y, y, size, drawing.y_time)
  local label = axis.labels(drawing.min_x, drawing.max_x, drawing.time)
  for _, tick in ipairs(axis.ticks(drawing.min_x, drawing.max_x, 7)) do
    out[#out + 1] = text_at(x(tick), size.height - BOTTOM + 18, label(tick), "middle")
  end
  out[#out + 1] = ('<path class="axis" d="M%d %dV%dH%d"/>'):format(LEFT, TOP, size.height - BOTTOM, size.width - RIGHT)
  if drawing.kind == "line" then
    local parts = {}
    for i, point in ipairs(drawing.points) do
      parts[i] = ("%.1f,%.1f"):format(x(point.x), y(point.y))
    end
    out[#out + 1] = ('<polyline class="line" points="%s"/>'):format(table.concat(parts, " "))
    return
  end
  local most = 1
  for _, point in ipairs(drawing.points) do most = math.max(most, point.n) end
  for _, point in ipairs(drawing.points) do
    out[#out + 1] = ('<circle class="dot" cx="%.1f" cy="%.1f" r="2" fill-opacity="%.2f"/>'):format(x(point.x), y(point.y),
      most == 1 and 0.8 or 0.25 + 0.75 * math.log(point.n + 1) / math.log(most + 1))
  end
end

--- Draws.
-- @return string
function plot_svg.draw(drawing, size)
  local out = {
    ('<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 %d %d" width="%d" height="%d" role="img">'):format(size.width,
      size.height, size.width, size.height),
    style,
  }
  local title = drawing.title
    or drawing.kind == "hist" and drawing.x or ("%s by %s"):format(drawing.y, drawing.x)
  out[#out + 1] = text_at(LEFT, 26, title, "start", "title")
  if drawing.bars and #drawing.bars > 0 then
    draw_bars(drawing, size, out)
  elseif drawing.points and #drawing.points > 0 then
    draw_points(drawing, size, out)
  else
    out[#out + 1] = text_at(size.width / 2, size.height / 2, "(nothing to draw)", "middle")
  end
  local below = drawing.x .. (drawing.note and " (" .. drawing.note .. ")" or "")
  out[#out + 1] = text_at((LEFT + size.width - RIGHT) / 2, size.height - 14, below, "middle", "note")
  out[#out + 1] = "</svg>"
  return table.concat(out, "\n")
end

return plot_svg
