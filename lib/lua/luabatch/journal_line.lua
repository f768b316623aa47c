--- Whether a line of a job's journal is one. Its hash is right, but another version may have written it, or another program: it is
-- passed over like one that is damaged, before anybody relies on a field or makes a path of a name.
-- @module luabatch.journal_line
local compat = require "luabatch.compat"

local journal_line = {}

local function is_string(value) return type(value) == "string" end
local function is_table(value) return type(value) == "table" end
local function is_count(value) return compat.math_type(value) == "integer" and value >= 0 end
local function is_integer(value) return compat.math_type(value) == "integer" end

-- Of something in the folder of the job.
local function is_name(value) return is_string(value) and value:find("^[%w_.-]+$") ~= nil and not value:find("^%.%.?$") end

local function optional(check)
  return function(value) return value == nil or check(value) end
end

local function fields(checks)
  return function(value)
    if not is_table(value) then return false end
    for name, check in pairs(checks) do
      if not check(value[name]) then return false end
    end
    return true
  end
end

local function list(check)
  return function(value)
    if not is_table(value) then return false end
    local n = 0
    for _ in pairs(value) do n = n + 1 end
    for i = 1, n do
      if value[i] == nil or not check(value[i]) then return false end
    end
    return true
  end
end

local is_flag = optional(function(value) return type(value) == "boolean" end)
local is_files = list(fields { path = is_string })
local is_inputs = optional(is_files) -- none when they cannot be looked at again
local is_place = fields {
  n = is_count, verb = is_string, kind = is_string, place = is_string, message = is_string, file = optional(is_string),
  line = optional(is_count), byte = optional(is_count), replay = optional(is_string),
}

-- As skips.lua has them.
local function is_skip(value) return is_place(value) and (value.line == nil or value.file ~= nil) end

local is_info = fields { skipped = optional(is_count), skips = optional(list(is_skip)) }
local is_counters = list(fields { is_string, is_integer })

local function is_source(value)
  return fields { names = list(is_string), types = list(is_string) }(value) and #value.names == #value.types
end

local kinds = {
  checkpoint = fields {
    name = is_string, plan = is_string, data = is_name, records = is_count, inputs = is_files, counters = is_counters, info = is_info,
    parts = list(fields { name = is_string }), rejects = list(fields { to = is_string, name = is_name }), sources = list(is_source),
  },
  begin = fields {
    plan = is_string, turn = is_count, path = is_string, inputs = is_inputs, files = is_files, receipt = is_name, renews = is_flag,
  },
  save = fields {
    plan = is_string, turn = is_count, path = is_string, inputs = is_inputs, files = is_files, records = is_count,
    renews = is_flag, counters = is_counters, info = is_info,
  },
  ["end"] = is_table,
}

--- Whether it has all that one of its kind has.
-- @param line what the journal gave
-- @return boolean
-- @usage print(require("luabatch.journal_line").is_good { kind = "end" }) --> true
function journal_line.is_good(line)
  local check = is_table(line) and is_string(line.kind) and kinds[line.kind]
  return check ~= nil and check ~= false and check(line)
end

--- Whether the sources of a plan may have the columns that the line of a checkpoint tells of.
-- @tparam table line a good one
-- @tparam table sources list of the sources below the checkpoint
-- @return boolean
-- @usage print(require("luabatch.journal_line").fits({ sources = {} }, {})) --> true
function journal_line.fits(line, sources)
  if #line.sources ~= #sources then return false end
  for i, source in ipairs(sources) do
    for _, name in ipairs(line.sources[i].names) do
      if not source.types[name] and not source.late then return false end -- only some may have more (late.lua)
    end
  end
  return true
end

return journal_line
