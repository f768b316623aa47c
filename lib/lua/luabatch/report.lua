--- One page on all runs of a program: for `--report FILE.html`.
--
-- The page needs nothing but itself: drawings are SVG in place, there are no scripts and no links. It is written anew at the end of
-- each run, also of one that failed. All that comes from data, paths and code is escaped (report_svg.escape).
-- @module luabatch.report
local explain = require "luabatch.explain"
local stats = require "luabatch.stats"
local svg = require "luabatch.report_svg"
local whole = require "luabatch.whole"

local report = {}

local MOST_RUNS = 100
local escape = svg.escape

-- Several lines: each escaped by itself, for a line end would be shown as a number.
local function escape_lines(text)
  local lines = {}
  for line in (text .. "\n"):gmatch("(.-)\n") do lines[#lines + 1] = escape((line:gsub("\t", "    "))) end
  while lines[#lines] == "" do lines[#lines] = nil end
  return table.concat(lines, "\n")
end

local function card(title, content, class)
  return ('<div class="card%s">%s%s</div>\n'):format(class and " " .. class or "", title and "<h3>" .. title .. "</h3>" or "", content)
end

local function tiles(info)
  local read = 0
  for _, stage in ipairs(info.stages) do
    for _, operator in ipairs(stage.operators) do
      if not operator.rows_in and #operator.reads == 0 then read = read + operator.rows_out end
    end
  end
  local waited = 0
  for _, stage in ipairs(info.stages) do waited = waited + stage.claim_seconds + stage.idle_seconds end
  local list = {
    { stats.time(info.seconds), "wall time" }, { ("%d"):format(info.threads or 0), "threads" },
    { stats.time(stats.work(info)), "in operators" }, { stats.time(waited), "threads waited" },
    { ("%d"):format(read), "records read" }, { stats.bytes(info.peak_bytes or 0), "peak memory" },
    { stats.bytes(info.spilled_bytes or 0), "spilled" }, { ("%d"):format(info.skipped or 0), "records skipped" },
  }
  for i, tile in ipairs(list) do
    list[i] = ('<div class="tile"><b>%s</b><span>%s</span></div>'):format(tile[1], tile[2])
  end
  return '<div class="tiles">' .. table.concat(list) .. "</div>\n"
end

local LEGEND = '<div class="legend"><span><i class="c"></i>C</span><span><i class="lua"></i>user code (Lua)</span>'
  .. '<span><i class="gc"></i>garbage collector</span>'
  .. '<span><i class="spill"></i>spill files</span><span><i class="wait"></i>waiting for input</span></div>'

local function operator_rows(operator, work, most, rows)
  if operator.idle then return end
  local bytes = operator.bytes or operator.facts and operator.facts.bytes
  local bar = ('<svg width="160" height="12">%s</svg>'):format(svg.parts(operator, 0, 1, 160, 10, most))
  rows[#rows + 1] = ('<tr><td class="name">%s</td><td class="n">%s</td><td class="n">%s</td><td class="n">%s</td><td class="n">%s</td>'
    .. '<td class="n">%.1f %%</td><td>%s</td><td class="soft">%s</td></tr>'):format(escape(stats.name(operator)),
    operator.rows_in or "", operator.rows_out or "", bytes and stats.bytes(bytes) or "", stats.time(operator.seconds),
    work > 0 and operator.seconds / work * 100 or 0, bar, stats.parts(operator))
  for _, line in ipairs(stats.facts(operator)) do
    rows[#rows + 1] = ('<tr><td class="note" colspan="8">%s</td></tr>'):format(escape(line))
  end
end

local function operators(info)
  local rows, work, most = {}, stats.work(info), 0
  for _, stage in ipairs(info.stages) do
    for _, operator in ipairs(stage.operators) do most = math.max(most, operator.seconds) end
  end
  for i, stage in ipairs(info.stages) do
    local line = ("stage %d: %s, %s, peak memory %s"):format(i, stats.time(stage.seconds), stats.many(stage.morsels, "morsel"),
      stats.bytes(stage.peak_bytes))
    rows[#rows + 1] = ('<tr class="stage"><td colspan="8">%s</td></tr>'):format(line)
    for _, operator in ipairs(stage.operators) do operator_rows(operator, work, most, rows) end
  end
  return '<table><tr><th>operator</th><th class="n">records in</th><th class="n">records out</th><th class="n">bytes</th>'
    .. '<th class="n">time</th><th class="n">share</th><th colspan="2">of it</th></tr>\n'
    .. table.concat(rows, "\n") .. "</table>" .. LEGEND
end

local function shuffles(info)
  local out = {}
  for i, stage in ipairs(info.stages) do
    for _, operator in ipairs(stage.operators) do
      local facts = operator.facts
      if facts and (facts.partitions or 0) > 1 and facts.rows > 0 then
        out[#out + 1] = card(("Partitions of stage %d, %s"):format(i, escape(operator.label)),
          svg.partitions(facts) .. ('<p class="soft">%d partitions, largest first; %d to %d records, median %d (dashed)</p>'):format(
          facts.partitions, facts.rows_min, facts.rows_max, facts.rows_median))
      end
    end
  end
  return #out > 0 and '<div class="pair">' .. table.concat(out) .. "</div>" or ""
end

local function user_code(info)
  local lines, n = stats.lines(info)
  if n == 0 then return "" end
  local rows = {}
  for i, line in ipairs(lines) do
    rows[i] = ('<tr><td class="name">%s</td><td class="n">%.1f %%</td><td><svg width="300" height="12">'
      .. '<rect class="lua" y="1" width="%.1f" height="10"/></svg></td></tr>'):format(escape(line.place), line.share * 100,
      line.share * 300)
  end
  return card(("Lines of user code, of %d samples"):format(n), "<table>" .. table.concat(rows) .. "</table>")
end

local function counters()
  local names, values = stats.counters()
  if #names == 0 then return "" end
  for i, name in ipairs(names) do
    names[i] = ('<tr><td class="name">%s</td><td class="n">%d</td></tr>'):format(escape(name), values[name])
  end
  return card("Counters so far", "<table>" .. table.concat(names) .. "</table>")
end

local function section(number, action, info, node, message)
  info.stages = info.stages or {}
  local out = {
    ('<section><h2>Run %d: %s <span class="badge%s">%s</span></h2>\n'):format(number, escape(action), message and " bad" or "",
      message and "failed" or "ok"),
  }
  if message then out[#out + 1] = card("Error", "<pre>" .. escape_lines(message) .. "</pre>", "error") end
  out[#out + 1] = tiles(info)
  if #info.stages > 0 then
    out[#out + 1] = card("Plan", svg.plan(info.stages) .. LEGEND)
    out[#out + 1] = card("Stages", svg.stages(info))
    out[#out + 1] = card("Operators", operators(info))
  end
  out[#out + 1] = shuffles(info) .. user_code(info) .. counters()
  if (info.skipped or 0) > 0 then
    out[#out + 1] = card("Skipped records", ("<pre>%s</pre>"):format(escape_lines(require("luabatch.skips").text(info))))
  end
  local ok, text = pcall(explain.tree, node)
  if ok then
    out[#out + 1] = card(nil, '<details><summary>As it was written</summary><pre class="wide">' .. escape_lines(text) .. "</pre></details>")
  end
  out[#out + 1] = "</section>\n"
  return table.concat(out)
end

--- Makes a collector of runs.
-- @string title of the page
-- @return table with `add(action, info, node, message)`, which takes a run over, and `text()`, which gives the page as a list of strings
-- @usage print(require("luabatch.report").new("job.lua").text()[1]:match("^<!DOCTYPE html>")) --> <!DOCTYPE html>
function report.new(title)
  local sections, n, n_failed = {}, 0, 0
  local function add(action, info, node, message)
    n = n + 1
    if message then n_failed = n_failed + 1 end
    sections[#sections + 1] = section(n, action, info, node, message)
    if #sections > MOST_RUNS then table.remove(sections, 1) end
  end
  local function text()
    local note = #sections < n and (" The last %d are shown."):format(#sections) or ""
    return {
      '<!DOCTYPE html>\n<html lang="en"><head><meta charset="utf-8"><meta name="viewport" content="width=device-width">\n<title>',
      escape(title), ' · luabatch</title>\n<style>\n', require "luabatch.report_style", "</style></head><body>\n<header><h1>",
      escape(title), ('</h1><p class="soft">%d run%s, %d failed.%s</p></header>\n<main>\n'):format(n, n == 1 and "" or "s", n_failed, note),
      table.concat(sections), "</main></body></html>\n",
    }
  end
  return { add = add, text = text }
end

--- Makes what writes the page on all runs so far at the end of each.
-- @string path where
-- @return function(action, info, node, message) -> true, or nil and a message
-- @usage local write = require("luabatch.report").writer("/tmp/report.html")
function report.writer(path)
  local script = _G.arg and _G.arg[0] or "luabatch" -- luacheck: globals arg
  local collected = report.new(require("luabatch.check").script or script)
  return function(action, info, node, message)
    collected.add(action, info, node, message)
    return whole.write(path, collected.text())
  end
end

return report
