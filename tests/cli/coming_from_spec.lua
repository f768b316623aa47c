-- docs/coming_from.md: what stands in the last column of its tables runs. Lua in one process, commands of the shell in one shell.
local cli = require "tests.cli.support"

local text = cli.read "docs/coming_from.md"
local names = text:match "```lua\n(local lb = .-)```"
local directory = cli.path "-coming" -- in place of the page's /tmp/lb-coming: builds may be tested side by side

-- The code of each row's last cell; "\|" is a bar.
local function cells()
  local lua, shell = {}, {}
  for row in text:gmatch "\n| ([^\n]+) |%f[\n]" do
    local last = (" | " .. row:gsub("\\|", "\1")):match(".*| `(.*)`$")
    if last then
      last = last:gsub("\1", "|"):gsub("/tmp/lb%-coming", directory)
      table.insert(last:find "^luabatch " and shell or lua, last)
    end
  end
  return lua, shell
end

-- Runs a cell; a dataset is computed, a job is run over lines.
local runner = [=[
local lb = require "luabatch"
local print_to = io.stdout
print = function() end
for _, code in ipairs(cells) do
  local chunk, message = load(names .. "\nreturn " .. code, "=cell")
  local ok = chunk ~= nil
  if chunk then
    ok, message = pcall(function()
      local result = chunk()
      local kind = getmetatable(result) and getmetatable(result).__name
      if kind == "job" then
        -- Its options have their defaults, as the command line gives them.
        for name, value in pairs(result.options) do lb.options[name] = value end
        require("luabatch.core").options(lb.options)
        result = result:dataset(lb.from { "to be", "or not" }):count()
      end
      if kind == "dataset" then result = result:collect() end
    end)
  end
  print_to:write("cell\t", ok and "ok" or code .. "\t" .. tostring(message), "\n")
end
]=]

describe("docs/coming_from.md", function()
  local lua, shell = cells()

  setup(function() os.execute("mkdir -p '" .. directory .. "'") end)
  teardown(cli.clean)

  it("has cells to run", function()
    assert.is_true(#lua > 110)
    assert.is_true(#shell > 20)
  end)

  it("runs in Lua", function()
    local list = {}
    for i, code in ipairs(lua) do list[i] = ("%q"):format(code) end
    local script = cli.file(("local names = %q\nlocal cells = { %s }\n%s"):format(names, table.concat(list, ", "), runner), ".lua")
    local status, out, err = cli.run(script)
    assert.same({ 0, "" }, { status, err })
    local n, failed = 0, {}
    for line in out:gmatch "cell\t([^\n]*)" do
      n = n + 1
      if line ~= "ok" then failed[#failed + 1] = line end
    end
    assert.same({}, failed)
    assert.equal(#lua, n)
  end)

  it("runs in the shell", function()
    local commands = {}
    for i, code in ipairs(shell) do commands[i] = ("%s >/dev/null || echo %s"):format(code, cli.quote(code)) end
    local status, out, err = cli.shell(table.concat(commands, "\n"))
    assert.same({ 0, "", "" }, { status, out, err })
  end)
end)
