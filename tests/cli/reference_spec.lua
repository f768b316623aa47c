-- The tables of docs/reference.md: every example gives what stands beside it.
local cli = require "tests.cli.support"

local text = cli.read "docs/reference.md"
-- The names that examples share: the blocks of code that begin with a local other than lb, which a whole script has.
local names = ""
for block in text:gmatch("```lua\n(local .-)```") do
  if not block:find("^local lb =") then names = names .. block end
end

teardown(function() os.execute("rm -rf /tmp/lb-reference*") end)

-- LuaJIT shows floats without a fraction as integers.
local function shown(output)
  return cli.on_luajit and output:gsub("(%d)%.0%f[%D]", "%1") or output
end

-- `code` of a cell, or nil.
local function code(cell)
  return cell:match("^`(.*)`$")
end

describe("the reference's example", function()
  local n = 0
  for row in text:gmatch("\n| ([^\n]+) |%f[\n]") do
    local cells = {}
    for cell in (row .. " | "):gmatch("(.-) ?| ") do cells[#cells + 1] = cell end
    local example, want = code(cells[#cells - 1] or ""), code(cells[#cells])
    -- Tables of examples have three or four columns, and Lua in the last but one.
    if #cells >= 3 and example and example:find("[%(%{]") then
      n = n + 1
      it(example .. " gives " .. (want or "nothing"), function()
        local status, out, err = cli.run("--output-format", "json", "-e", names .. "return " .. example)
        assert.same({ 0, "" }, { status, (err:gsub("luabatch: %d+ records? skipped[^\n]*\n", "")) })
        if want then assert.equal(shown(want), shown((out:gsub("\n$", ""):gsub("\n", " ")))) end
      end)
    end
  end

  it("is found in the tables", function() assert.is_true(n > 70) end)
end)
