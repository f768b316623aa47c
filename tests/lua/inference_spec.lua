-- Types found from a sample: what a run gives does not depend on which record a thread met first.
local lb = require "luabatch"
local runtime = require "luabatch.runtime"
local support = require "tests.lua.support"
local error, pairs, math = error, pairs, math

-- A file of n records `i,i` whose last column has `odd` in the record `at`.
local function file(n, at, odd)
  local lines = { "a,b" }
  for i = 1, n do lines[i + 1] = i .. "," .. (i == at and odd or i) end
  return support.file(table.concat(lines, "\n") .. "\n", ".csv")
end

local function message(f)
  local ok, problem = pcall(f)
  assert.is_false(ok)
  return type(problem) == "table" and problem.message or tostring(problem)
end

describe("types of a sample (seed " .. support.seed .. ")", function()
  after_each(support.clean)

  it("do not decide whether an expression fails", function()
    local path = file(90000, 89000, "x")
    for threads = 1, 4, 3 do
      support.with({ threads = threads }, function()
        assert.equal(1, lb.csv(path):where("b = 'x'"):count())
        assert.equal(1, lb.csv(path):where("b like '%x%'"):count())
        assert.equal(2, lb.csv(path):where("b in ('x', '7')"):count())
        assert.equal("89000", lb.csv(path):where("a = 88999"):union(lb.csv(path):where("b = 'x'")):select { v = "concat(a + 1)" }
          :filter(function(r) return r.v ~= "89001" end):first().v)
        assert.same({ { a = 89000, b = "x" } }, lb.csv(path):filter(function(r) return r.b:sub(1, 1) == "x" end):collect())
        assert.equal(89999, lb.csv(path):where("try_cast(b as integer) > 0"):count())
        assert.matches('"b > 5": cannot compare string \'1\' with integer 5', message(function()
          return lb.csv(path):where("b > 5"):count()
        end), 1, true)
      end)
    end
  end)

  it("leave a true mistake as it is", function()
    local path = file(1000, 999, 7)
    local text = message(function() return lb.csv(path):where("b = 'x'"):count() end)
    assert.matches("cannot compare integer 1 with string 'x'", text, 1, true)
    text = message(function() return lb.csv(path):map(function(r) return r.b:sub(1) end):count() end)
    assert.matches("attempt to index .*a number value", text)
  end)

  it("and errors behind the first records that are enough do not count", function()
    local path = file(300000, 299000, "x")
    for _ = 1, support.size(2) do
      for threads = 1, 4, 3 do
        support.with({ threads = threads }, function()
          assert.same({ { a = 1, b = 1 }, { a = 2, b = 2 } }, lb.csv(path):take(2))
          assert.equal(3, lb.csv(path):map(function(r)
            if r.a > 150000 then error("too far") end
            return r.a
          end):limit(3):count())
          assert.equal(1, lb.csv(path):where("a < 200000 or b = 'x'"):first().b)
          assert.matches("too far", message(function()
            return lb.csv(path):filter(function(r)
              if r.a == 250000 then error("too far") end
              return r.a > 240000
            end):limit(20000):count()
          end), 1, true)
          assert.equal(250000, lb.range(300000):filter(function(n)
            if n == 290000 then error("too far") end
            return n > 249000
          end):limit(1000):collect()[1000])
        end)
      end
    end
  end)

  it("are found behind records longer than a sample, and for columns that begin late", function()
    local path = support.file(("a,b\n%s,1\n2,2.5\n"):format(("x"):rep(3 * 1024 * 1024)), ".csv")
    assert.same({ { name = "a", type = "string" }, { name = "b", type = "float" } }, lb.csv(path):schema())
    local json = support.file(('{"a":"%s","b":1}\n{"a":"","b":2.5}\n'):format(("x"):rep(3 * 1024 * 1024)), ".json")
    assert.same({ { name = "a", type = "string" }, { name = "b", type = "float" } }, lb.json(json):schema())
    for first, wanted in pairs { ["7.0"] = 7.0, ["true"] = true, ['""'] = "" } do
      local lines = { "a,b,c" }
      for i = 1, 150000 do lines[i + 1] = i .. ",,," .. (i >= 140000 and first or "") end
      lines[1] = "a,b,none,c"
      path = support.file(table.concat(lines, "\n") .. "\n", ".csv")
      local ds = lb.csv(path)
      assert.same({ name = "c", type = "any" }, ds:schema()[4])
      local row = ds:where("a = 140000"):first()
      assert.same({ a = 140000, c = wanted }, row)
      assert.equal(math.type(wanted), math.type(row.c))
      assert.equal(139999, ds:where("c is null"):count())
      assert.equal(150000, ds:where("b is null and none is null"):count())
    end
  end)

  it("hold for runs after one another", function()
    assert.equal(300, lb.csv(file(300, 300, "x")):count())
    assert.is_nil(runtime.settings.check)
  end)

  it("shows nothing twice and counts nothing twice when a late value widens a type", function()
    local lines = { "a,b" }
    for n = 1, 30000 do lines[#lines + 1] = ("%d,x%d"):format(n, n) end
    lines[#lines + 1] = "late,y"
    local path = support.file(table.concat(lines, "\n") .. "\n", ".csv")
    local counter = lb.counter "inference_spec"
    local function counted(run)
      local before = counter:value()
      run(lb.csv(path))
      return counter:value() - before
    end
    assert.equal(30001, counted(function(ds) ds:map(function(r) counter:add(1) return r.a end):count() end))
    assert.equal(30001, counted(function(ds) ds:foreach(function() counter:add(1) end) end))
    assert.equal(30001, counted(function(ds)
      ds:filter(function(r) counter:add(1) return r.b ~= "" end):save_csv(support.path(".csv"))
    end))
  end)
end)
