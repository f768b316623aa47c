-- The pages of docs/: every command and job prints what stands below it.
local cli = require "tests.cli.support"
local page = require "tests.cli.page"

local least = { tutorial = 25, cookbook = 30, errors = 25, memory_and_speed = 7 }

for _, name in ipairs { "tutorial", "cookbook", "errors", "memory_and_speed" } do
  local path = "docs/" .. name .. ".md"
  local blocks = page.blocks(path)

  describe(path, function()
    setup(function() page.run(blocks) end)
    teardown(cli.clean)

    for _, block in ipairs(blocks) do
      if not block.file then
        it(("%s (line %d)"):format(block.title, block.line), function()
          assert.same({ block.status, block.output }, { block.left, block.printed })
        end)
      end
    end

    it("has its blocks", function() assert.is_true(#blocks >= least[name]) end)
  end)
end

describe("the pages", function()
  it("are linked from README", function()
    local readme = cli.read "README.md"
    for _, name in ipairs { "tutorial", "cookbook", "coming_from", "memory_and_speed", "errors", "reference", "tour" } do
      assert.is_truthy(readme:find("(docs/" .. name .. ".md)", 1, true))
    end
  end)
end)
