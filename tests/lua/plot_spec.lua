-- Plots: what is counted, how it is drawn.
local lb = require "luabatch"
local support = require "tests.lua.support"
local plot = require "luabatch.plot"

local math, table, string, io, tonumber, tostring = math, table, string, io, tonumber, tostring

describe("a plot", function()
  after_each(support.clean)

  local rows = lb.from {
    { x = 1, y = 10.0, name = "a<b" }, { x = 2, y = -5.5, name = "c" }, { x = 3, y = 0 / 0, name = "d" }, { x = 4, name = "e" },
    { x = 6, y = 3, name = "f\27[2J" },
  }

  it("counts values into bins as a loop does", function()
    math.randomseed(7)
    local values, counts = {}, {}
    for i = 1, 3000 do values[i] = math.random() ^ 2 * 90 - 10 end
    values[#values + 1], values[#values + 2] = 1 / 0, 0 / 0
    local least, greatest = 1 / 0, -1 / 0
    for i = 1, 3000 do least, greatest = math.min(least, values[i]), math.max(greatest, values[i]) end
    for i = 1, 3000 do
      local bin = math.min(math.floor((values[i] - least) / ((greatest - least) / 7)), 6)
      counts[bin] = (counts[bin] or 0) + 1
    end
    local text = plot.draw(lb.from(values), "hist", { bins = 7, width = 60 })
    local lines = {}
    for line in text:gmatch("[^\n]+") do lines[#lines + 1] = line end
    assert.equal("value", lines[1])
    for bin = 0, 6 do
      assert.equal(counts[bin], tonumber(lines[bin + 2]:match("to %S+ +(%d+)")))
    end
    assert.equal("(2 records without a finite number left out)", lines[9])
  end)

  it("gives a few whole numbers a bin each", function()
    local text = plot.draw(lb.from { 3, 1, 1, 3, 3 }, "hist", { width = 30 })
    assert.truthy(text:find("1 2 ", 1, true) and text:find("2 0", 1, true) and text:find("3 3 ", 1, true))
  end)

  it("draws bars of labels and numbers", function()
    local text = plot.draw(rows, "bar", "name", "y", { width = 40 })
    assert.truthy(text:find("^y by name\n"))
    assert.truthy(text:find("a<b"))
    assert.truthy(text:find("f\\x1b[2J", 1, true))
    assert.truthy(text:find("(2 without a finite number left out)", 1, true))
    assert.truthy(plot.draw(lb.range(9):map(function(n) return n, n end), "bar", { limit = 3 }):find("the first 3;", 1, true))
  end)

  it("draws a line through means and a field of points", function()
    local wave = lb.range(5000):map(function(n) return n, math.sin(n / 800) end)
    local line = plot.draw(wave, "line", { width = 60, height = 6 })
    assert.truthy(line:find("means of 5000 points in 96 places", 1, true))
    assert.truthy(line:find("│", 1, true) and line:find("└─", 1, true))
    assert.truthy(plot.draw(rows, "scatter", "x", "y", { width = 40 }):find("2 records without a finite number left out", 1, true))
    local same = plot.draw(lb.from_pairs { { 1, 1 }, { 1, 1 } }, "scatter", { width = 40, height = 4 })
    assert.truthy(same:find("│"))
  end)

  it("writes SVG that is XML, whatever the names", function()
    local path = support.path(".svg")
    for _, draw in ipairs {
      function() rows:plot("bar", "name", "y", { out = path, title = "a & b <c>" }) end,
      function() rows:plot("line", "x", "y", { out = path }) end,
      function() rows:plot("scatter", "x", "y", { out = path }) end,
      function() rows:plot("hist", "y", { out = path }) end,
    } do
      draw()
      local file = assert(io.open(path))
      local text = file:read("a")
      file:close()
      assert.truthy(text:find("^<svg xmlns=") and text:find("</svg>\n$"))
      assert.is_nil(text:find("[%z\1-\8\27]"))
      -- Every tag that is opened is closed.
      local open = {}
      for slash, name, rest in text:gmatch("<(/?)([%w]+)([^>]*)>") do
        if slash == "/" then
          assert.equal(name, table.remove(open))
        elseif string.sub(rest, -1) ~= "/" then
          open[#open + 1] = name
        end
      end
      assert.equal(0, #open)
    end
  end)

  it("cuts labels of bars in a picture where they would meet", function()
    local path = os.tmpname()
    finally(function() os.remove(path) end)
    local list = {}
    for i = 1, 12 do list[i] = { name = ("a label of some length, number %d"):format(i), n = i } end
    lb.from(list):plot("bar", "name", "n", { out = path })
    local file = assert(io.open(path))
    local text = file:read("a")
    file:close()
    local ends, n = 0, 0
    for x, label in text:gmatch('<text x="([%d.]+)" y="412.0" text%-anchor="middle">([^<]*)<') do
      local half = #label:gsub("[\128-\191]", "") * 3.5
      assert.is_true(x - half > ends, label)
      ends, n = x + half, n + 1
      assert.truthy(label:find("^a lab[%w ,]*…$"), label)
    end
    assert.is_true(n >= 6, "labels: " .. n)
    assert.truthy(text:find("<title>a label of some length, number 12: 12</title>", 1, true))
  end)

  it("takes times and says what it cannot draw", function()
    local times = lb.from { { t = "2024-01-01", v = 1 }, { t = "2024-03-01", v = 2 } }
    assert.truthy(plot.draw(times, "line", "t", "v"):find("2024%-01%-01 +2024%-03%-01"))
    assert.truthy(plot.draw(lb.from {}, "hist"):find("nothing to draw", 1, true))
    for message, call in pairs {
      ["did you mean 'hist'?"] = function() rows:plot("hits", "x") end,
      ["bar wants 2 columns, got 1"] = function() rows:plot("bar", "x") end,
      ["there is no column 'nme'"] = function() rows:plot("hist", "nme") end,
      ["plot: png cannot be written; pictures are SVG files, such as a.b/c.svg"] = function()
        rows:plot("hist", "x", { out = "a.b/c.png" })
      end,
      ["no option 'bin'"] = function() rows:plot("hist", "x", { bin = 2 }) end,
      ["bars are numbers; name is string"] = function() rows:plot("bar", "x", "name") end,
    } do
      local ok, err = pcall(call)
      assert.is_false(ok)
      assert.truthy(tostring(err):find(message, 1, true), tostring(err))
    end
  end)
end)
