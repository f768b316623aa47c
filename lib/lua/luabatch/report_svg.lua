--- The drawings of a report: the plan as a graph of stages, the stages on the axis of time, partitions by size.
--
-- Sizes are pixels. Texts are escaped here; colours are classes of the style sheet (report_style.lua).
-- @module luabatch.report_svg
local core = require "luabatch.core"
local stats = require "luabatch.stats"

local report_svg = {}

local escapes = { ["&"] = "&amp;", ["<"] = "&lt;", [">"] = "&gt;", ['"'] = "&quot;", ["'"] = "&#39;" }

--- Text as HTML and XML: markup escaped, characters that cannot be shown by their number.
-- @param text of any bytes
-- @param[opt] width how many cells of it to show (nil: all)
-- @return string
-- @usage print(require("luabatch.report_svg").escape("a < b")) --> a &lt; b
function report_svg.escape(text, width)
  return ((core.printable(text, width)):gsub("[&<>\"']", escapes))
end
local escape = report_svg.escape

local BOX, ROW, HEAD, GAP_X, GAP_Y = 230, 22, 28, 44, 18
local PARTS = {
  { "c", "seconds_c" }, { "lua", "seconds_lua" }, { "gc", "seconds_gc" }, { "spill", "seconds_spill" }, { "wait", "seconds_wait" },
}

local function open(width, height, label)
  return ('<svg width="%d" height="%d" viewBox="0 0 %d %d" role="img" aria-label="%s">'):format(width, height, width, height, label)
end

--- The parts of an operator's time side by side.
-- @param operator of info.stages
-- @param x, y, width, height of the whole bar
-- @param most the time that would fill it
-- @return string of rectangles
-- @usage print(require("luabatch.report_svg").parts({ seconds_c = 0, seconds_lua = 0, seconds_spill = 0, seconds_wait = 0 },
--   0, 0, 100, 10, 1) == "") --> true
function report_svg.parts(operator, x, y, width, height, most)
  local out = {}
  for _, part in ipairs(PARTS) do
    local w = most > 0 and (operator[part[2]] or 0) / most * width or 0
    if w >= 0.05 then
      out[#out + 1] = ('<rect class="%s" x="%.1f" y="%.1f" width="%.1f" height="%d"/>'):format(part[1], x, y, w, height)
    end
    x = x + w
  end
  return table.concat(out)
end

-- Which column each stage stands in: behind all that it reads.
local function columns(stages)
  local column, n = {}, 0
  for i, stage in ipairs(stages) do
    column[i] = 1
    for _, below in ipairs(stats.reads(stage)) do column[i] = math.max(column[i], column[below] + 1) end
    n = math.max(n, column[i])
  end
  return column, n
end

-- The operators that were needed.
local function shown(stage)
  local list = {}
  for _, operator in ipairs(stage.operators) do
    if not operator.idle then list[#list + 1] = operator end
  end
  return list
end

local function draw_stage(i, stage, box, most, out)
  local function text(dx, y, class, content, anchor)
    out[#out + 1] = ('<text class="%s" x="%.1f" y="%.1f"%s>%s</text>'):format(class, box.x + dx, y,
      anchor and (' text-anchor="%s"'):format(anchor) or "", content)
  end
  out[#out + 1] = ('<rect class="box" x="%.1f" y="%.1f" width="%d" height="%d" rx="6"/>'):format(box.x, box.y, BOX, box.height)
  out[#out + 1] = ('<path class="top" d="M%.1f %.1fv%dh%dv-%da6 6 0 0 0 -6 -6h-%da6 6 0 0 0 -6 6z"/>'):format(box.x + 0.5, box.y + 6.5,
    HEAD - 7, BOX - 1, HEAD - 7, BOX - 13)
  text(12, box.y + 18, "head", "stage " .. i)
  text(BOX - 12, box.y + 18, "soft", stage.start > 0 and stats.time(stage.seconds) or "did not run", "end")
  for k, operator in ipairs(shown(stage)) do
    local y = box.y + HEAD + (k - 1) * ROW
    out[#out + 1] = ("<g><title>%s: %s</title>"):format(escape(stats.name(operator)), stats.time(operator.seconds))
    text(12, y + 15, "", (operator.rows_in and "" or "▸ ") .. escape(operator.label, 20))
    text(BOX - 12, y + 15, "soft", ("%d"):format(operator.rows_in or operator.rows_out), "end")
    out[#out + 1] = report_svg.parts(operator, box.x + 12, y + 19, BOX - 24, 2, most) .. "</g>"
  end
end

--- The plan: a box for each stage with its operators, records in, and bars of time; arrows to who reads it.
-- @param stages info.stages
-- @return string, an SVG element
-- @usage print(require("luabatch.report_svg").plan({}):match("^<svg")) --> <svg
function report_svg.plan(stages)
  local column, n_columns = columns(stages)
  local heights, boxes, most = {}, {}, 0
  for i, stage in ipairs(stages) do
    local c = column[i]
    boxes[i] = { x = 1 + (c - 1) * (BOX + GAP_X), y = 1 + (heights[c] or 0), height = HEAD + #shown(stage) * ROW + 6 }
    heights[c] = (heights[c] or 0) + boxes[i].height + GAP_Y
    for _, operator in ipairs(stage.operators) do most = math.max(most, operator.seconds) end
  end
  local height = 0
  for _, h in pairs(heights) do height = math.max(height, h) end
  local out = { open(math.max(1, n_columns * (BOX + GAP_X) - GAP_X + 2), math.max(1, height - GAP_Y + 2), "plan") }
  for i, stage in ipairs(stages) do
    for _, below in ipairs(stats.reads(stage)) do
      local from, to = boxes[below], boxes[i]
      local x1, y1, x2, y2 = from.x + BOX, from.y + HEAD / 2, to.x - 6, to.y + HEAD / 2
      out[#out + 1] = ('<path class="edge" d="M%.1f %.1fC%.1f %.1f %.1f %.1f %.1f %.1f"/>'):format(x1, y1, x1 + GAP_X / 2, y1,
        x2 - GAP_X / 2, y2, x2, y2)
      out[#out + 1] = ('<path class="tip" d="M%.1f %.1fl-7 -4v8z"/>'):format(x2 + 6, y2)
    end
  end
  for i, stage in ipairs(stages) do draw_stage(i, stage, boxes[i], most, out) end
  out[#out + 1] = "</svg>"
  return table.concat(out)
end

--- The stages as bars on the axis of time.
-- @param info what core.execute told
-- @return string, an SVG element
-- @usage print(require("luabatch.report_svg").stages({ start = 0, seconds = 1, stages = {} }):match("^<svg")) --> <svg
function report_svg.stages(info)
  local LABEL, WIDTH, BAR = 240, 1130, 24
  local plot, seconds = WIDTH - LABEL - 90, math.max(info.seconds or 0, 1e-9)
  local out = { open(WIDTH, #info.stages * BAR + 26, "stages over time") }
  for i = 0, 4 do
    local x = LABEL + plot * i / 4
    out[#out + 1] = ('<path class="axis" d="M%.1f 0V%d"/><text class="soft" x="%.1f" y="%d" text-anchor="middle">%s</text>'):format(x,
      #info.stages * BAR + 4, x, #info.stages * BAR + 20, stats.time(seconds * i / 4))
  end
  for i, stage in ipairs(info.stages) do
    local y = (i - 1) * BAR
    out[#out + 1] = ('<text x="0" y="%d">%d  %s</text>'):format(y + 16, i, escape(stage.operators[#stage.operators].label, 28))
    if stage.start > 0 then
      local x = LABEL + math.max(0, stage.start - info.start) / seconds * plot
      local w = math.max(1.5, stage.seconds / seconds * plot)
      out[#out + 1] = ('<rect class="bar" x="%.1f" y="%d" width="%.1f" height="14" rx="2"/>'):format(x, y + 5, w)
      out[#out + 1] = ('<text class="soft" x="%.1f" y="%d">%s</text>'):format(x + w + 6, y + 16, stats.time(stage.seconds))
    end
  end
  out[#out + 1] = "</svg>"
  return table.concat(out)
end

--- The partitions of a shuffle, largest first, with a line at the median.
-- @param facts of the operator that shuffles
-- @return string, an SVG element
-- @usage local facts = { rows_spread = { 1, 2 }, rows_median = 2, rows_max = 2 }
-- print(require("luabatch.report_svg").partitions(facts):match("^<svg")) --> <svg
function report_svg.partitions(facts)
  local LEFT, WIDTH, HEIGHT = 80, 500, 120
  local n, most = #facts.rows_spread, math.max(1, facts.rows_max)
  local step = (WIDTH - LEFT) / math.max(1, n)
  local out = { open(WIDTH, HEIGHT + 10, "records of partitions") }
  local function y_of(rows) return 8 + (HEIGHT - 8) * (1 - rows / most) end
  for _, rows in ipairs { 0, most } do
    out[#out + 1] = ('<path class="axis" d="M%d %.1fH%d"/><text class="soft" x="%d" y="%.1f" text-anchor="end">%d</text>'):format(LEFT,
      y_of(rows), WIDTH, LEFT - 8, y_of(rows) + 4, rows)
  end
  for i = 1, n do
    local rows = facts.rows_spread[n + 1 - i]
    out[#out + 1] = ('<rect class="bar" x="%.1f" y="%.1f" width="%.1f" height="%.1f"><title>%d records</title></rect>'):format(
      LEFT + (i - 1) * step, y_of(rows), math.max(1, step - 1), HEIGHT - y_of(rows), rows)
  end
  out[#out + 1] = ('<path class="median" d="M%d %.1fH%d"/></svg>'):format(LEFT, y_of(facts.rows_median), WIDTH)
  return table.concat(out)
end

return report_svg
