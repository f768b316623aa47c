-- Saving: text and the native format, files and directories, modes.
local lb = require "luabatch"
local support = require "tests.lua.support"

describe("saving", function()
  after_each(support.clean)

  local records = {
    { "a", 1 }, { "b", 2.5 }, { "c", true }, { "d", { 1, { x = "y" } } }, { "tab\there", -0.0 }, { "big", math.maxinteger },
  }

  it("save and read keep every value", function()
    local path = support.path ".lbb"
    assert.equal(#records, lb.from_pairs(records):save(path))
    local got = lb.read(path):collect()
    assert.same(records, got)
    assert.equal("float", math.type(got[5][2]))
    assert.equal("-0.0", tostring(got[5][2]))
    assert.equal("integer", math.type(got[6][2]))
  end)

  it("save_text writes columns by tabs and tables as JSON", function()
    local path = support.path ".txt"
    assert.equal(4, lb.from_pairs({ { "a", 1 }, { "b", 2.5 }, { "c", true }, { "d", { 1, { x = "y" } } } }):save_text(path))
    assert.equal('a\t1\nb\t2.5\nc\ttrue\nd\t[1,{"x":"y"}]\n', support.read(path))
  end)

  it("modes: error, overwrite, append, ignore", function()
    local path = support.path ".txt"
    lb.range(2):save_text(path)
    local ok, err = pcall(function() lb.range(1):save_text(path) end)
    assert.is_false(ok)
    assert.equal(2, err.status)
    assert.equal("1\n2\n", support.read(path))
    assert.equal(0, lb.range(9):save_text(path, { mode = "ignore" }))
    assert.equal("1\n2\n", support.read(path))
    lb.range(3, 3):save_text(path, { mode = "append" })
    assert.equal("1\n2\n3\n", support.read(path))
    lb.range(7, 7):save_text(path, { mode = "overwrite" })
    assert.equal("7\n", support.read(path))
  end)

  it("a directory has parts and _SUCCESS", function()
    local path = support.path "/"
    lb.range(1000):save_text(path)
    local file = io.open(path .. "_SUCCESS")
    assert.truthy(file)
    file:close()
    assert.same(lb.range(1000):map(tostring):collect(), lb.text(path):collect())
  end)

  it("compresses by extension or option", function()
    for _, extension in ipairs { ".gz", ".zst", ".lz4" } do
      local path = support.path(extension)
      lb.range(5000):save_text(path)
      assert.same(5000, lb.text(path):count())
      assert.equal("5000", lb.text(path):sort_by(tonumber, { desc = true }):first())
    end
    local path = support.path "/"
    lb.range(10):save_text(path, { compression = "gzip" })
    assert.equal(10, lb.text(path):count())
    path = support.path ".lbb"
    lb.range(10):save(path, { compression = "zstd" })
  end)

  it("leaves nothing behind when a function fails", function()
    local path = support.path ".txt"
    local ok = pcall(function()
      lb.range(5000):map(function(n) return n == 4000 and error("bad") or n end):save_text(path)
    end)
    assert.is_false(ok)
    assert.is_nil(io.open(path))
  end)
end)
