--- Calls of user functions that failed, in files: written by `--replay-dir DIR`, made again by `luabatch --replay FILE`.
--
-- A file holds a line that says what it is, one with the hash of what follows, then one encoded table: `plan` (bytes for
-- core.execute: the records that the call saw and the operator with its functions), `is_cut` (more records than are kept had come),
-- `message` of the error, `options` of the job, `program`, `build` and `lua`, what it was made by, `record_timeout` and
-- `max_instructions`.
-- @module luabatch.replay
local core = require "luabatch.core"

local replay = {}

local HEAD = "luabatch replay 2\n"
local MOST_FILES = 10000

-- A name in the directory that is free yet: "map-1.replay".
local function free_path(directory, message)
  local label = message:match("\n  in ([^\n]*)") or "call"
  local name = label:gsub("[^%w]+", "-"):sub(1, 60)
  for n = 1, MOST_FILES do
    local path = ("%s/%s-%d.replay"):format(directory:gsub("/+$", ""), name, n)
    if not core.output_exists(path) then return path end
  end
end

--- Whether calls can be kept in a directory, which is made when the first one is.
-- @string directory where
-- @return true, or nil, a message and the exit status that it stands for
-- @usage print((require("luabatch.replay").check("/etc/passwd/calls"))) --> nil
function replay.check(directory)
  local folder = directory:gsub("(.)/+$", "%1")
  while not core.output_exists(folder) do folder = folder:match("^(.+)/[^/]*$") or folder:sub(1, 1) == "/" and "/" or "." end
  local ok, message, status = require("luabatch.whole").check(folder:gsub("/$", "") .. "/luabatch")
  if ok then return true end
  return nil, (message:gsub("^cannot write '.*/luabatch'", function() return ("cannot write in '%s'"):format(core.printable(folder)) end)),
    status
end

--- Writes the call that failed.
-- @string directory where; it is made when it is not there
-- @tparam table info what core.execute told: `call`, `call_is_cut`
-- @string message of the error
-- @tparam table settings of the runtime
-- @return path, or nil and a message
-- @usage print((require("luabatch.replay").write("/dev/null/calls", { call = "" }, "failed", {}))) --> nil
function replay.write(directory, info, message, settings)
  local made, refused = core.make_folders(directory)
  if not made then return nil, refused end
  local path = free_path(directory, message)
  if not path then return nil, ("%s has %d files of this name"):format(directory, MOST_FILES) end
  local content = core.encode {
    plan = info.call, is_cut = info.call_is_cut, message = message, options = core.options(), program = core.version,
    build = core.build, lua = _VERSION, record_timeout = settings["record-timeout"],
    max_instructions = settings["max-instructions"],
  }
  local ok, problem = require("luabatch.whole").write(path, { HEAD, core.hash(content), "\n", content })
  if not ok then return nil, problem end
  return path
end

--- Writes calls that were left out: each of the first entries that has one gets `replay`, the path.
-- @string directory as of write
-- @tparam table skips what core.execute told of them (skips.lua)
-- @int most look at so many entries
-- @tparam table settings of the runtime
-- @return the first path, or nil and a message; nil if there is none
-- @usage print((require("luabatch.replay").write_skipped("/dev/null/calls", {}, 5, {}))) --> nil
function replay.write_skipped(directory, skips, most, settings)
  local first, failure
  for i = 1, math.min(most, #skips) do
    local skip = skips[i]
    if skip.call then
      local message = ("%s\n  in %s"):format(skip.message, skip.verb)
      if skip.file then
        local line = skip.line and skip.line .. " " or " "
        message = ("%s\n  record %s:%s(byte %d)"):format(message, (core.printable(skip.file)), line, skip.byte)
      end
      local path, problem = replay.write(directory, { call = skip.call, call_is_cut = skip.call_is_cut }, message, settings)
      skip.replay, first, failure = path, first or path, failure or problem
    end
  end
  return first, failure
end

--- Reads such a file. Trust it as you would trust a program: its functions are run.
-- @string path where it is
-- @return table, or nil and a message
-- @usage print((require("luabatch.replay").read("/nonexistent"))) --> nil
function replay.read(path)
  local file, message = io.open(path, "rb")
  if not file then return nil, "cannot open " .. message end
  local text
  text, message = file:read("a")
  file:close()
  if not text then return nil, ("cannot read %s: %s"):format(path, message) end
  if text:sub(1, #HEAD) ~= HEAD then
    return nil, text:find("^luabatch replay %d+\n") and path .. " was written by another version of luabatch"
      or path .. ": this is not a file written by --replay-dir"
  end
  local hash, content = text:match("^(%x+)\n(.*)$", #HEAD + 1)
  -- What has changed is not run: damaged bytecode can do anything.
  if not hash or hash ~= core.hash(content) then return nil, path .. " is damaged" end
  local ok, bundle = pcall(core.decode, content)
  if not ok or type(bundle) ~= "table" then return nil, path .. " is damaged" end
  for _, name in ipairs { "plan", "message", "lua", "build" } do
    if type(bundle[name]) ~= "string" then return nil, path .. " is damaged" end
  end
  if bundle.lua ~= _VERSION or bundle.build:match("%((.-)%)") ~= core.build:match("%((.-)%)") then
    return nil, ("%s was written by another Lua (%s)"):format(path, bundle.lua)
  end
  return bundle
end

--- Makes the call again, in a worker of its own.
-- @tparam table bundle what read gave
-- @tparam table settings of the runtime
-- @return list of the records that the operator gave
-- @raise the error of the call
-- @usage print(pcall(require("luabatch.replay").call, {}, {})) --> false
function replay.call(bundle, settings)
  core.options(bundle.options or {})
  local results = core.execute(bundle.plan, {
    threads = 1, memory = settings.memory, tmp = settings.tmp, signals = settings.signals,
    record_timeout = settings["record-timeout"] or bundle.record_timeout, give_up = settings.give_up,
    max_instructions = settings["max-instructions"] or bundle.max_instructions,
  })
  local _, result = next(results)
  return result.store:list()
end

--- What the call is made of, to look at it: the function and the records.
-- @tparam table bundle what read gave
-- @return function, list of records, each a list of its values
-- @usage print(pcall(require("luabatch.replay").parts, {})) --> false
function replay.parts(bundle)
  local plan = core.decode(bundle.plan)
  local nodes = plan.nodes
  local operator = nodes[#nodes - 1]
  local bytes = operator[plan.of or "fn"] or operator.create or operator.fns[1]
  return core.unship(bytes), nodes[1].rows
end

--- Where the call failed first: the lines of the message that say so.
-- @tparam table bundle what read gave
-- @return string
-- @usage print(require("luabatch.replay").place { message = "no\n  in map\n  record a.txt:1 (byte 0): x" }) --> record a.txt:1 (byte 0): x
function replay.place(bundle)
  local text = "\n" .. bundle.message
  return text:match("\n  (record [^\n]*)") or text:match("\n  (key [^\n]*)") or ""
end

return replay
