-- What the release build's compiler and linker add against bugs that hostile data might reach: read from the files themselves.
local support = require "tests.cli.support"

local ipairs, pairs = ipairs, pairs

-- The parts that readelf tells of a file.
local function read(path)
  local parts = {}
  for name, option in pairs { segments = "-lW", dynamic = "-dW", symbols = "--dyn-syms -W" } do
    local status, out, err = support.shell(("LC_ALL=C readelf %s %s"):format(option, support.quote(path)))
    assert.equal(0, status, err)
    parts[name] = out
  end
  return parts
end

local function exists(path)
  local file = io.open(path, "rb")
  if file then file:close() end
  return file ~= nil
end

describe("the release build", function()
  local _, version = support.run("--version")
  if not version:find(", release,", 1, true) then return end
  local program = support.absolute(support.program)
  local folder = program:match("^(.*)/")
  local files = { program }
  for _, name in ipairs { "core", "terminal" } do
    local module = folder .. "/lua/luabatch/" .. name .. ".so"
    if exists(module) then files[#files + 1] = module end
  end

  it("has no memory that is written and run, and no pointers to write after loading", function()
    for _, path in ipairs(files) do
      local elf = read(path)
      assert.truthy(elf.segments:find("GNU_STACK[^\n]* RW "), path .. elf.segments)
      assert.falsy(elf.segments:find("LOAD[^\n]* RWE "), path .. elf.segments)
      assert.truthy(elf.segments:find("GNU_RELRO", 1, true), path)
      assert.truthy(elf.dynamic:find("BIND_NOW", 1, true), path .. elf.dynamic)
      assert.falsy(elf.dynamic:find("TEXTREL", 1, true), path .. elf.dynamic)
    end
  end)

  it("is loaded at a place nobody knows", function()
    local elf = read(program)
    assert.truthy(elf.segments:find("DYN (Position-Independent Executable file)", 1, true), elf.segments)
    assert.truthy(elf.dynamic:find("Flags:[^\n]* PIE"), elf.dynamic)
  end)

  it("checks the sizes of buffers and the ends of stack frames", function()
    -- Lua itself calls no vsnprintf.
    assert.truthy(read(program).symbols:find("__vsnprintf_chk", 1, true))
    if not files[2] then
      pending("the module is not built")
      return
    end
    -- The module has the same objects without Lua's.
    local symbols = read(files[2]).symbols
    assert.truthy(symbols:find("__vsnprintf_chk", 1, true), symbols)
    assert.truthy(symbols:find("__stack_chk_fail", 1, true), symbols)
  end)
end)
