--- Argument checks: misuse raises at the line of the user's call, however deep in the library it is found.
-- @module luabatch.check
local compat = require "luabatch.compat"
local core = require "luabatch.core"

local check = {}

-- What the sources of this library's files start with, so that their frames can be told from the user's.
local library = debug.getinfo(1, "S").source:match("^(.*)check%.lua$")

--- The script that runs, set by the program. A call that ends a script, `return lb.text(...)`, is a tail call and has left
-- no frame; then the script is all that can be said.
check.script = nil

-- "job.lua:12: " of the innermost frame that is neither C nor ours.
local function caller()
  local level = 2
  while true do
    local info = debug.getinfo(level, "Sl")
    if not info then return check.script and check.script .. ": " or "" end
    if info.what ~= "C" and info.source:sub(1, #library) ~= library then
      return info.currentline > 0 and ("%s:%d: "):format(info.short_src, info.currentline) or ""
    end
    level = level + 1
  end
end

--- Puts a place, as check.place gives it, before the message of an engine's failure that lacks one.
function check.add_place(failure, place)
  if type(failure) == "table" and failure.message and place ~= "" and failure.message:sub(1, #place) ~= place then
    failure.message = place .. failure.message
  end
end

--- "job.lua:12: " of the user's call, or "".
check.place = caller

local USAGE = 2

--- A function that makes datasets of files, such that a file that is missing is told with the line of the call: at once, or by
-- check.missing when a run finds out.
-- @param make function(...): gives a dataset
-- @return function
function check.source(make)
  return function(...)
    local place = caller()
    local ok, result = pcall(make, ...)
    if not ok then
      if type(result) == "table" and result.status == USAGE then check.add_place(result, place) end
      error(result, 0)
    end
    local function visit(node)
      if node.paths then node.place = place end
      for _, input in ipairs(node.inputs or {}) do visit(input) end
    end
    visit(result._node)
    return result
  end
end

--- Adds to a failure about a missing input where the job names that.
-- @param failure what pcall gave
-- @param root logical node
function check.missing(failure, root)
  local message = type(failure) == "table" and failure.status == USAGE and failure.message
  if not message or not (message:find "^no such file: " or message:find "^no input ") then return end
  local seen = {}
  local function visit(node)
    if seen[node] then return end
    seen[node] = true
    -- What is missing may lie in a folder that the job names: whose paths it is shows when they are looked for again.
    for _, path in ipairs(node.place and node.paths or {}) do
      local ok, problem = pcall(core.expand_paths, path)
      if not ok and type(problem) == "table" and problem.message == message then return check.add_place(failure, node.place) end
    end
    for _, input in ipairs(node.inputs or {}) do visit(input) end
  end
  visit(root)
end

--- Raises an error about the user's call, at that call.
-- @param format,... as for string.format
function check.misuse(format, ...)
  error(caller() .. format:format(...), 0)
end

local BAD_DATA, RESOURCE = 4, 5
local failure = { __tostring = function(self) return self.message end }

--- Raises an error about what an input holds.
-- @param format,... as for string.format; the file comes first
function check.bad_data(format, ...)
  error(setmetatable({ status = BAD_DATA, message = format:format(...) }, failure), 0)
end

--- Raises an error again that nobody's call is to blame for: no memory, of the engine or of Lua, a disk that fails.
-- @param problem what pcall gave
function check.pass_on(problem)
  if type(problem) == "table" and problem.status == RESOURCE then error(problem, 0) end
  if type(problem) == "string" and problem:find("not enough memory", 1, true) then error(problem, 0) end
end

--- "bad argument 'key' to group_by (string expected, got nil)".
-- @param verb the function that was called
-- @param name its parameter
-- @param expected what it wants
-- @param value what it got
function check.bad(verb, name, expected, value)
  local got = type(value)
  if got == "number" then got = tostring(value) end
  check.misuse("bad argument '%s' to %s (%s expected, got %s)", name, verb, expected, got)
end

--- Checks that a node's records are no rows, for what is done with pairs.
function check.no_rows(verb, node)
  if node.names then check.misuse("%s needs pairs, and these are rows; make pairs with key_by or map", verb) end
end

--- Checks that a node's records can be pairs: they are no rows, nor known to have one column only.
function check.pairs(verb, node)
  check.no_rows(verb, node)
  if node.columns == 1 then check.misuse("%s needs pairs: map to key, value first", verb) end
end

--- Checks that a node's records can be strings: they are not known to have several columns.
function check.text(verb, node)
  if node.columns and node.columns > 1 then check.misuse("%s needs text: one string a record", verb) end
end

--- Checks for a function.
function check.func(verb, name, value)
  if type(value) ~= "function" then check.bad(verb, name, "function", value) end
  return value
end

--- Checks for a function or nil.
function check.optional_func(verb, name, value)
  if value ~= nil and type(value) ~= "function" then check.bad(verb, name, "function", value) end
  return value
end

--- Checks for a string.
function check.string(verb, name, value)
  if type(value) ~= "string" then check.bad(verb, name, "string", value) end
  return value
end

--- Checks for what computes a column: its name, an SQL expression or a function of the row.
function check.column(verb, name, value)
  if type(value) ~= "string" and type(value) ~= "function" then
    check.bad(verb, name, "column, SQL expression or function", value)
  end
  return value
end

--- Checks for an integer (a float without fraction counts) of at least `min`.
-- @return the integer
function check.integer(verb, name, value, min)
  local integer = type(value) == "number" and compat.tointeger(value)
  if not integer then check.bad(verb, name, "integer", value) end
  if min and integer < min then
    check.bad(verb, name, ("integer of at least %d"):format(min), value)
  end
  return integer
end

--- Checks for a number.
function check.number(verb, name, value)
  if type(value) ~= "number" then check.bad(verb, name, "number", value) end
  return value
end

--- Checks what is to be done with bad records: "fail", "skip" or { to = path }.
function check.policy(verb, name, value)
  if value == "fail" or value == "skip" then return end
  if type(value) ~= "table" then
    check.misuse("bad option '%s' of %s ('fail', 'skip' or { to = path } expected, got %s)", name, verb,
      type(value) == "string" and ("'%s'"):format(value) or type(value))
  end
  local to = check.options(("%s: %s"):format(verb, name), value, { to = "string" }).to
  if not to or to == "" or to == "-" or to:sub(-1) == "/" then
    check.misuse("bad option '%s' of %s ({ to = path } needs the path of a file)", name, verb)
  end
end

--- Checks a table of options: no name but those allowed, each of its type.
-- @param verb the function that was called
-- @param options table or nil
-- @param allowed map of option name to type name ("salt" and "policy" are two), or to a list of the strings it may be
-- @return the options, {} for nil
function check.options(verb, options, allowed)
  if options == nil then return {} end
  if type(options) ~= "table" then check.bad(verb, "options", "table", options) end
  for name, value in pairs(options) do
    local want = allowed[name]
    if want == nil then
      local names = {}
      for known in pairs(allowed) do names[#names + 1] = known end
      table.sort(names)
      local hint = require("luabatch.suggest").hint(tostring(name), names)
      if hint == "" and #names > 0 and #names <= 16 then hint = "; its options are " .. table.concat(names, ", ") end
      check.misuse("%s has no option '%s'%s", verb, tostring(name), hint)
    elseif type(want) == "table" then
      local found = false
      for _, choice in ipairs(want) do found = found or choice == value end
      if not found then
        check.misuse("bad option '%s' of %s ('%s' expected, got %s)", name, verb,
          table.concat(want, "', '"), type(value) == "string" and ("'%s'"):format(value) or type(value))
      end
    elseif want == "policy" then
      check.policy(verb, name, value)
    elseif want == "salt" then
      local n = compat.math_type(value) == "integer" and value >= 1
      if not (n or value == "auto" or value == false or type(value) == "function") then
        check.misuse("bad option '%s' of %s ('auto', false, a positive integer or a function of the key expected, got %s)",
          name, verb, type(value) == "string" and ("'%s'"):format(value) or tostring(value))
      end
    elseif want == "integer" then
      if compat.math_type(value) ~= "integer" or value < 1 then
        check.misuse("bad option '%s' of %s (positive integer expected, got %s)", name, verb, tostring(value))
      end
    elseif want ~= true and type(value) ~= want then
      check.misuse("bad option '%s' of %s (%s expected, got %s)", name, verb, want, type(value))
    end
  end
  return options
end

return check
