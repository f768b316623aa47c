--- What is told at the end of a run about the records that it left out.
--
-- The engine gives `info` (core.execute): `skipped`, their number, and `skips`, a list in the order of the input with a
-- table for each verb, kind and place: `n`, `verb`, `kind`, `place` (a file, or a line of the job; may be ""), and of the
-- first of them `message` and, where they are known, `file`, `line` and `byte`; with `--replay-dir` also `replay`, where its call is.
-- Without memory for that list there is `skips_lacking`, which says so.
-- @module luabatch.skips
local core = require "luabatch.core"

local skips = {}

-- So many of the places are told.
skips.MOST_PLACES = 5
local MESSAGE_CELLS = 120

local KINDS_OF_FUNCTIONS = { error = true, timeout = true, instructions = true }

-- Files are where sources fail, lines of the job where functions do.
local function is_source(skip) return not KINDS_OF_FUNCTIONS[skip.kind] end

-- "2 in purchases.csv (csv: 8 fields, not 9; first at line 12)", "1 in map at job.lua:7 (...; first at a.txt:3)".
local function part(skip)
  local where, first
  local message = skip.message:gsub("%s*\n%s*", " ")
  if is_source(skip) then
    where = skip.place == "-" and "standard input" or skip.place ~= "" and skip.place or skip.verb
    message = skip.verb .. ": " .. message
    first = skip.line and ("line %d"):format(skip.line)
  else
    where = skip.place ~= "" and ("%s at %s"):format(skip.verb, skip.place) or skip.verb
    if skip.place ~= "" and message:sub(1, #skip.place + 2) == skip.place .. ": " then message = message:sub(#skip.place + 3) end
    first = skip.line and ("%s:%d"):format(skip.file == "-" and "standard input" or skip.file, skip.line)
  end
  message = core.printable(message, MESSAGE_CELLS)
  return ("%d in %s (%s%s%s)"):format(skip.n, (core.printable(where)), message,
    first and ("; %s at %s"):format(skip.n == 1 and "it is" or "the first", (core.printable(first))) or "",
    skip.replay and "; replay with: luabatch --replay " .. skip.replay or "")
end

--- One line about the records that a run left out.
-- @tparam table info what core.execute told
-- @return string
-- @usage print(require("luabatch.skips").text {
--   skipped = 1, skips = { { n = 1, verb = "csv", kind = "fields", place = "a.csv", message = "1 field, not 2" } },
-- }) --> 1 record skipped: 1 in a.csv (csv: 1 field, not 2)
function skips.text(info)
  local parts, more, places = {}, 0, 0
  for i, skip in ipairs(info.skips or {}) do
    if i <= skips.MOST_PLACES then parts[i] = part(skip) else more, places = more + skip.n, places + 1 end
  end
  if more > 0 then parts[#parts + 1] = ("%d in %d more place%s"):format(more, places, places == 1 and "" or "s") end
  if info.skips_lacking then parts[1] = "where is not known: " .. info.skips_lacking end
  return ("%d record%s skipped%s"):format(info.skipped, info.skipped == 1 and "" or "s", #parts > 0 and ": " or "")
    .. table.concat(parts, ", ")
end

--- The same as a line of JSON, for `--errors json`.
-- @string action name of the action that ran
-- @tparam table info what core.execute told
-- @return string
-- @usage print(require("luabatch.skips").json("count", { skipped = 0 })) --> {"action":"count","skipped":0,"skips":[]}
function skips.json(action, info)
  return core.format({ action = action, skipped = info.skipped, skips = info.skips or {}, lacking = info.skips_lacking }, "json")
end

return skips
