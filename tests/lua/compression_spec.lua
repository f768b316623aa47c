-- The option `compression` of sources: what names and first bytes say does not matter where it is given.
local lb = require "luabatch"
local support = require "tests.lua.support"

local function message(f)
  local ok, text = pcall(f)
  assert.is_false(ok)
  return type(text) == "table" and tostring(text.message or text) or tostring(text)
end

local tools = { gzip = "gzip -c", zstd = "zstd -qc", lz4 = "lz4 -qc", bzip2 = "bzip2 -c" }

-- How files of each kind begin, followed by what no such file has.
local heads = { gzip = "\31\139\8\255", zstd = "\40\181\47\253\255", lz4 = "\4\34\77\24\255", bzip2 = "BZh91AY&SY\255" }

-- A file with this text in it, compressed.
local function packed(kind, text, suffix)
  local path = support.path(suffix)
  assert(os.execute(("%s < '%s' > '%s'"):format(tools[kind], support.file(text), path)))
  return path
end

describe("compression", function()
  after_each(support.clean)

  it("none reads text that begins as compressed data does", function()
    for kind, head in pairs(heads) do
      local text, csv = support.file(head .. " b\nc\n"), support.file(head .. ",b\n1,2\n", ".csv")
      local json = support.file(('{"a":1}\n'):rep(3), ".json.gz")
      for _, read in ipairs { function() return lb.text(text):count() end, function() return lb.csv(csv):count() end } do
        local problem = message(read)
        assert.matches((": %%a+ %s data at byte %%d+"):format(kind), problem)
        assert.matches(('\n  its first bytes are those of %s data; compression = "none" reads it as it is'):format(kind), problem, 1, true)
      end
      assert.matches("json.gz: this is not gzip data (byte 0)", message(function() return lb.json(json):count() end), 1, true)
      local none, bare = { compression = "none" }, { compression = "none", quote = "" } -- lz4's magic number has a quote
      assert.same({ head .. " b", "c" }, lb.text(text, none):collect())
      assert.same({ head, "b", "c" }, lb.text(text, none):words():collect())
      assert.same({ "b" }, lb.text(text, none):field(2):filter(function(field) return field ~= "" end):collect())
      assert.same({ { [head] = 1, b = 2 } }, lb.csv(csv, bare):collect())
      assert.same({ { [head .. ",b"] = "1,2" } }, lb.tsv(csv, bare):collect())
      assert.same({ { a = 1 }, { a = 1 }, { a = 1 } }, lb.json(json, none):collect())
      assert.same({ { head .. " b\nc\n" } },
        lb.files(text, none):map(function(_, content) return { content } end):collect())
    end
  end)

  it("of a name wants that and nothing else, also of several files", function()
    local text = support.file "a\nb\n"
    for kind in pairs(tools) do
      local options = { compression = kind }
      local other = kind == "gzip" and "zstd" or "gzip"
      for _, suffix in ipairs { "", ".txt", "." .. (other == "gzip" and "gz" or "zst") } do
        local path = packed(kind, "a\nb\n", suffix)
        assert.same({ "a", "b" }, lb.text(path, options):collect())
        assert.same({ { a = "b" } }, lb.csv(path, options):collect())
        assert.equal(4, lb.files(path, options):map(function(_, content) return #content end):first())
        assert.same({ "a", "b", "a", "b" }, lb.text({ path, path }, options):collect())
        for _, wrong in ipairs { { path, other }, { text, kind } } do
          local want = ("%s: this is not %s data (byte 0)"):format(wrong[1], wrong[2])
          for _, verb in ipairs { "text", "csv", "json", "files" } do
            assert.equal(want, message(function() return lb[verb](wrong[1], { compression = wrong[2] }):count() end))
          end
        end
        assert.matches(text .. ": this is not " .. kind, message(function() return lb.text({ path, text }, options):count() end), 1, true)
      end
    end
  end)

  it("auto is what there is without it", function()
    for kind in pairs(tools) do
      local path = packed(kind, "a\nb\n")
      assert.same({ "a", "b" }, lb.text(path, { compression = "auto" }):collect())
      assert.same({ { a = "b" } }, lb.csv(path, { compression = "auto" }):collect())
      assert.equal(1, lb.text(path, { compression = "auto", filename = true }):where("line = 'a'"):count())
    end
    assert.matches("bad option 'compression' of text %('auto', 'none', 'gzip', 'zstd', 'lz4', 'bzip2' expected, got 'zip'%)",
      message(function() lb.text("x", { compression = "zip" }) end))
  end)

  it("tells joins how large a side is", function()
    local known_bytes = require("luabatch.row_join").known_bytes
    local text = support.file(("some text\n"):rep(1000))
    for kind in pairs(tools) do
      local path = packed(kind, support.read(text))
      local size = #support.read(path)
      for option, want in pairs { auto = 4 * size, [kind] = 4 * size, none = size } do
        assert.equal(want, known_bytes(lb.text(path, { compression = option })._node))
      end
      assert.equal(10000 + 4 * size, known_bytes(lb.text({ text, path })._node))
    end
    assert.is_nil(known_bytes(lb.stdin()._node))
  end)
end)
