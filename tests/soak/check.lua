--- Runs a job of tests/soak in several settings of threads and memory and compares all that it writes, byte by byte; what it tells
-- of records left out, too.
local runtime = require "luabatch.runtime"
local skips = require "luabatch.skips"

local check = {}

local function shell(line, ...)
  local pipe = assert(io.popen(line:format(...) .. " 2>&1"))
  local text = pipe:read "a"
  pipe:close()
  return text
end

-- Does f with these settings; what it raises, or nil.
local function with(settings, f)
  local saved = {}
  for name, value in pairs(settings) do
    saved[name] = runtime.settings[name] or false
    runtime.settings[name] = value
  end
  local ok, problem = xpcall(f, function(e) return tostring(e) end)
  for name, value in pairs(saved) do runtime.settings[name] = value or nil end
  return not ok and problem or nil
end

--- Compares the outputs of a job.
-- @param job of jobs.lua
-- @param paths of data.lua
-- @param seed which goes to the job
-- @param folder where there is room; what is in it goes
-- @param settings list of { threads =, memory = }; the first one's output is what the others must give
-- @return nil, or what is wrong
function check.job(job, paths, seed, folder, settings)
  for i, setting in ipairs(settings) do
    local out = ("%s/%d/"):format(folder, i)
    shell("rm -rf '%s' && mkdir -p '%s'", out, out)
    local label = ("%s, seed %d, %d threads, memory %d"):format(job.name, seed, setting.threads, setting.memory)
    local notes = {}
    local function on_run(_, info)
      if (info.skipped or 0) > 0 then notes[#notes + 1] = skips.text(info) end
    end
    local problem = with({ threads = setting.threads, memory = setting.memory, on_run = on_run }, function() job.run(paths, out, seed) end)
    if problem then return label .. ": " .. problem end
    if notes[1] then
      local file = assert(io.open(out .. "skipped", "wb"))
      file:write(table.concat(notes, "\n"), "\n")
      file:close()
    end
    if i == 1 then
      if shell("find '%s' -type f", out) == "" then return label .. ": has written nothing" end
    else
      local found = shell("diff -r '%s/1' '%s' | head -n 5 | cut -c 1-300", folder, out)
      if found ~= "" then return label .. " differs from the first setting:\n" .. found end
      shell("rm -rf '%s'", out)
    end
  end
  return nil
end

return check
