--- How far a run is, on standard error: a line that is drawn over and over, or lines of JSON.
--
-- Nothing is shown during the first two seconds, nor where standard error is no terminal, unless asked for.
-- @module luabatch.progress
local core = require "luabatch.core"
local stats = require "luabatch.stats"

local progress = {}

local QUIET_SECONDS = 2
local BAR = 24
local LEAST_BAR = 4

-- "85 s" as people read it.
local function duration(seconds)
  seconds = math.floor(seconds + 0.5)
  if seconds < 60 then return ("%d s"):format(seconds) end
  if seconds < 3600 then return ("%d min %02d s"):format(math.floor(seconds / 60), seconds % 60) end
  return ("%d h %02d min"):format(math.floor(seconds / 3600), math.floor(seconds / 60) % 60)
end

local function count(n)
  for _, unit in ipairs { { 1e9, "G" }, { 1e6, "M" }, { 1e3, "k" } } do
    if n >= unit[1] then return ("%.1f%s"):format(n / unit[1], unit[2]) end
  end
  return ("%d"):format(n)
end

-- The line for people, with a bar of so many cells.
local function line(p, cells)
  local parts = { ("stage %d/%d %s"):format(p.stage, p.stages, core.printable(p.label, 24)) }
  local seconds = math.max(p.seconds, 1e-9)
  if p.total then
    local share = math.min(1, p.done / p.total)
    local full = math.floor(share * cells + 0.5)
    parts[#parts + 1] = ("█"):rep(full) .. ("░"):rep(cells - full) .. (" %3d %%"):format(math.floor(share * 100))
    if share > 0.02 and share < 1 then parts[#parts + 1] = "ETA " .. duration(seconds * (1 - share) / share) end
  end
  if p.bytes then
    if not p.total then parts[#parts + 1] = stats.bytes(p.done) end
    parts[#parts + 1] = stats.bytes(math.floor(p.done / seconds)) .. "/s"
  end
  if p.records > 0 then parts[#parts + 1] = count(p.records / seconds) .. " records/s" end
  parts[#parts + 1] = stats.bytes(p.memory_bytes)
  if p.spilled_bytes > 0 then parts[#parts + 1] = "spilled " .. stats.bytes(p.spilled_bytes) end
  if (p.slowest_seconds or 0) > 5 then
    parts[#parts + 1] = ("one piece since %s"):format(duration(p.slowest_seconds))
  end
  return table.concat(parts, "  ")
end

--- The line for people.
-- @param p what core.execute tells
-- @param width of the terminal in cells, or nil: the bar gives way to the numbers
function progress.line(p, width)
  local text = line(p, BAR)
  local over = width and select(2, core.printable(text, #text)) - width or 0
  return over > 0 and line(p, math.max(LEAST_BAR, BAR - over)) or text
end

--- Makes what runtime.settings.progress is.
-- @param when "auto", "always", "never" or "json"
-- @param quiet whether notes are unwanted
-- @return function(action), or nil
function progress.teller(when, quiet)
  local is_terminal = core.is_terminal(2)
  if when == "never" or when == "auto" and (not is_terminal or quiet) then return nil end
  local last = 0
  local shown = false
  local function clear()
    if shown then io.stderr:write("\r\27[K") end
    shown = false
  end
  local function tell(action, p)
    local now = core.clock()
    if when == "json" then
      if now - last < 1 then return end
      last = now
      p.action = action
      io.stderr:write(core.format(p, "json"), "\n")
      return
    end
    if when == "auto" and p.run_seconds < QUIET_SECONDS then return end
    if is_terminal then
      local width = math.max(10, (core.terminal_size() or 80) - 1)
      io.stderr:write("\r", (core.printable(progress.line(p, width), width)), "\27[K")
      shown = true
    else
      if now - last < 1 then return end
      last = now
      io.stderr:write(progress.line(p), "\n")
    end
  end
  return function(action)
    return function(p) tell(action, p) end, clear
  end
end

return progress
