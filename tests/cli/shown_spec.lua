-- What data, names and messages look like on a terminal: nothing in them moves the cursor or changes colours.
local support = require "tests.cli.support"

local ipairs, table = ipairs, table

local odd = { "plain\tx é", "\27[31mred\27[0m", "a\rb", "bad\xffbyte", "bidi\u{202e}x", "c1\u{9b}31m", "\127", "two\nlines" }
local seen = { "plain\tx é", "\\x1b[31mred\\x1b[0m", "a\\rb", "bad\\xffbyte", "bidi\\u{202e}x", "c1\\u{9b}31m", "\\x7f", "two\nlines" }

-- Standard output of the program, with arguments as words of the shell, on a terminal.
local function on_terminal(arguments)
  local status, out = support.shell(("script -qec %s /dev/null < /dev/null"):format(
    support.quote(support.quote(support.absolute(support.program)) .. " " .. arguments)))
  return (out:gsub("\r\n", "\n")), status
end

local function lua_list(list)
  local parts = {}
  for i, text in ipairs(list) do parts[i] = ("%q"):format(text) end
  return "{" .. table.concat(parts, ",") .. "}"
end

describe("on a terminal", function()
  after_each(support.clean)

  it("records that a job returns are shown as escapes, and stay as they are elsewhere", function()
    local job = support.file('local lb = require "luabatch"\nreturn lb.from ' .. lua_list(odd), ".lua")
    assert.same({ table.concat(seen, "\n") .. "\n", 0 }, { on_terminal(job) })
    assert.same({ 0, table.concat(odd, "\n") .. "\n", "" }, { support.run(job) })
    local output = support.path ".txt"
    assert.same({ "", 0 }, { on_terminal("--output " .. output .. " " .. job) })
    assert.equal(table.concat(odd, "\n") .. "\n", support.read(output))
    assert.equal(table.concat(seen, "\n") .. "\n", (on_terminal("-e " .. support.quote("return " .. lua_list(odd)))))
  end)

  it("rows and the names of their columns are, in every format", function()
    local job = support.file('local lb = require "luabatch"\nreturn lb.from { { a = "\\27]0;t\\7x", ["b\\27[2J"] = "\\127" } }', ".lua")
    local input = support.file("a,b\27[2J\n\27]0;t\7x,\127\n")
    for format, want in pairs {
      csv = "a,b\\x1b[2J\n\\x1b]0;t\\x07x,\\x7f\n", tsv = "a\tb\\x1b[2J\n\\x1b]0;t\\x07x\t\\x7f\n",
      json = '{"a":"\\u001b]0;t\\u0007x","b\\u001b[2J":"\\x7f"}\n',
    } do
      assert.equal(want, (on_terminal("--output-format " .. format .. " " .. job)))
      assert.equal(want, (on_terminal(("--icsv --output-format %s %s"):format(format, input))))
    end
  end)
end)

describe("messages", function()
  after_each(support.clean)

  it("show control characters of names and texts as escapes, and begin only once with the program's name", function()
    local name = "/nonexistent/\27[31m\u{9b}x\nluabatch: ok\xff"
    for _, arguments in ipairs {
      { "-e", ("lb.text(%q):count()"):format(name) }, { name }, { "--trace", name, "-e", "1" }, { "--output", name, "-e", "lb.range(3)" },
      { "-e", ("error(%q, 0)"):format(name) }, { "--explain", "-e", ("lb.text(%q):grep(%q):count()"):format(name, "\27[2J") },
      { "-e", ("lb.csv(%q, { on_bad = { to = %q } }):count()"):format(support.file("a\n1\n"), name) },
    } do
      local status, out, err = support.run(table.unpack(arguments))
      assert.is_true(status ~= 0 and out == "", err)
      assert.is_nil(err:find("[^\n\t\32-\126]"), err)
      assert.is_nil(err:find("\nluabatch: ok", 1, true), err)
    end
  end)
end)
