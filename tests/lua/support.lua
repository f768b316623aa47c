--- What the specs share: random data, files that go away, runs with other settings.
local runtime = require "luabatch.runtime"

local support = {}

--- Whether numbers are integers or floats, as in Lua 5.4. LuaJIT has floats only: there a whole number is an integer
-- for the engine, and what takes more than 53 bits is an int64_t.
support.has_integers = math.maxinteger ~= nil
--- The greatest and the least integer.
support.maxinteger = math.maxinteger or require("luabatch.compat").number "9223372036854775807"
support.mininteger = math.mininteger or require("luabatch.compat").number "-9223372036854775808"

-- The program adds these to LuaJIT's libraries; a rock does not touch the host's.
local compat = require "luabatch.compat"
rawset(table, "unpack", compat.unpack)
rawset(table, "pack", compat.pack)
rawset(math, "type", compat.math_type)
rawset(math, "tointeger", compat.tointeger)

--- The bytes of a double, and a double of any bytes; a number as a float, though it is whole.
if support.has_integers then
  function support.double_bytes(x) return string.pack("<d", x) end
  function support.any_double() return (string.unpack("<d", string.pack("<i8", math.random(0)))) end
  function support.float(x) return x + 0.0 end
else
  local ffi = require "ffi"
  function support.double_bytes(x) return ffi.string(ffi.new("double[1]", x), 8) end
  function support.any_double()
    -- But NaN: LuaJIT takes the other bits of one for a tag.
    local halves = ffi.new("uint32_t[2]", math.random(0, 2 ^ 32 - 1), math.random(0, 0x7fefffff) + 2 ^ 31 * math.random(0, 1))
    return tonumber(ffi.cast("double *", halves)[0])
  end
  support.float = compat.float
end

--- The seed of this run; LB_SEED repeats one.
support.seed = tonumber(os.getenv("LB_SEED")) or os.time()
math.randomseed(support.seed)

-- How much of the large data is made: slow builds do with less, and have smaller batches and limits anyway.
local effort = tonumber(os.getenv("LB_EFFORT")) or 1

--- A number of rows, less in slow builds.
-- @param n in the release build
-- @param least in any
function support.size(n, least)
  return math.max(least or 1, math.floor(n * effort))
end

--- A list of settings for `with`. Where the effort is least, under the thread sanitizer, without those of one thread: it has
-- nothing to see there.
function support.settings(list)
  local some = {}
  for _, settings in ipairs(list) do
    if effort >= 0.1 or settings.threads > 1 then some[#some + 1] = settings end
  end
  return some
end

--- Calls f with other settings of the runtime (threads, memory).
function support.with(settings, f)
  local saved = {}
  for name, value in pairs(settings) do
    saved[name] = runtime.settings[name] or false
    runtime.settings[name] = value
  end
  local ok, result = pcall(f)
  for name, value in pairs(saved) do runtime.settings[name] = value or nil end
  if not ok then error(result, 0) end
  return result
end

local files = {}

--- A file with this content, removed by support.clean.
function support.file(content, suffix)
  local path = os.tmpname()
  if suffix then
    os.remove(path)
    path = path .. suffix
  end
  local file = assert(io.open(path, "wb"))
  file:write(content)
  file:close()
  files[#files + 1] = path
  return path
end

--- A path where nothing is yet, removed by support.clean.
function support.path(suffix)
  local path = os.tmpname()
  os.remove(path)
  path = path .. (suffix or "")
  files[#files + 1] = path
  return path
end

function support.clean()
  for i = #files, 1, -1 do
    if files[i]:sub(-1) == "/" then os.execute("rm -rf '" .. files[i] .. "'") else os.remove(files[i]) end
    files[i] = nil
  end
end

function support.read(path)
  local file = assert(io.open(path, "rb"))
  local content = file:read("a")
  file:close()
  return content
end

--- A random word of few letters, so that words repeat.
function support.word(letters)
  local bytes = {}
  for i = 1, math.random(1, 4) do bytes[i] = string.char(96 + math.random(letters or 5)) end
  return table.concat(bytes)
end

--- A list of n values that make() gives.
function support.list(n, make)
  local list = {}
  for i = 1, n do list[i] = make(i) end
  return list
end

--- Random pairs `{key, value}` with few keys.
function support.pairs(n, keys)
  return support.list(n, function() return { "k" .. math.random(keys or 20), math.random(-100, 100) } end)
end

--- A list sorted by the order of values.
function support.sorted(list, desc)
  local core = require "luabatch.core"
  local copy = { table.unpack(list) }
  table.sort(copy, function(a, b)
    if desc then a, b = b, a end
    return core.compare(a, b) < 0
  end)
  return copy
end

--- `{ {k, v}, ... }` as a table, which must not have a key twice.
function support.map(list)
  local map = {}
  for _, pair in ipairs(list) do
    assert(map[pair[1]] == nil, "a key came twice")
    map[pair[1]] = pair[2]
  end
  return map
end

return support
