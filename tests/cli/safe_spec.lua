--- Safe mode: known ways out of Lua sandboxes, each against the built program, in the main chunk and in a worker's function.
--
-- An attack is the body of a function that returns a true value when it got through. @SECRET@ is a file that no argument names, @CANARY@ a
-- path where nothing may appear, @DIR@ their folder, @IN@ the one file that may be read. Beside what the attack says of itself it is
-- looked at what has happened: the canary is not there, the secret not in the output, the program did not crash, and ended in time.
local support = require "tests.cli.support"

local assert, ipairs, load, math, pairs, io, os, string, table, tonumber =
  assert, ipairs, load, math, pairs, io, os, string, table, tonumber

if support.on_luajit then
  describe("safe mode with LuaJIT", function()
    it("is refused", function()
      local status, out, err = support.run("--safe", "-e", "print('ran')")
      assert.equal(2, status)
      assert.equal("", out)
      assert.truthy(err:find("safe mode needs Lua 5.4", 1, true), err)
    end)
  end)
  return
end

local SECRET = "the-secret-content"
-- --memory 64M, and what design.md allows beside it. The sanitisers' own memory counts too.
local _, version = support.run("--version")
local MOST_KIB = (version:find(", asan,", 1, true) or version:find(", tsan,", 1, true)) and math.huge or (64 * 1.1 + 64) * 1024

-- Bytes of a function that must not be run: its header is right, its code reads where it should not.
local FORGED = [[string.char(27) .. "LuaT\0\x19\x93\r\n\x1a\n\4\8\8xV\0\0\0\0\0\0\0\0\0\0\0(w@" .. ("\x81"):rep(40)]]

-- Where code that was refused still leaves a trace: name, body of the attack, options.
local attacks = {
  -- libraries
  { "io by name", [[return io.open("@CANARY@", "w"):write("x")]] },
  { "os.execute", [[return os.execute("touch @CANARY@")]] },
  { "os.remove", [[return os.remove("@SECRET@")]] },
  { "os.rename", [[return os.rename("@SECRET@", "@CANARY@")]] },
  { "os.tmpname", [[return os.tmpname()]] },
  { "os.getenv", [[return os.getenv("PATH")]] },
  { "os.exit", [[os.exit(0) return true]] },
  { "os.setlocale", [[return os.setlocale("C")]] },
  { "io through require", [[return require("io")]] },
  { "debug through require", [[return require("debug")]] },
  { "package through require", [[return require("package")]] },
  { "the engine's core through require", [[return require("luabatch.core")]] },
  { "a module of the library through require", [[return require("luabatch.runtime")]] },
  { "a module beside the job through require", [[return require("evil")]] },
  { "lpeg through require", [[return require("lpeg")]] },
  { "package.loaded through _G", [[return _G.package.loaded.io]] },
  { "globals through _ENV", [[return _ENV.io or _ENV.debug or _ENV.package]] },
  { "globals of load", [[return load("return io or os.execute or debug or package")()]] },
  { "globals of load with a nil environment", [[local e = load("return _ENV", "x", "t", nil)() return e ~= nil]] },
  { "dofile", [[return dofile("@SECRET@")]] },
  { "loadfile", [[return loadfile("@SECRET@")]] },
  { "loadstring", [[return loadstring("return 1")]] },
  { "getfenv", [[return getfenv(0)]] },
  { "setfenv", [[return setfenv(1, {})]] },
  { "newproxy", [[return newproxy(true)]] },
  { "module", [[return module("x")]] },
  { "ffi", [[return require("ffi")]] },
  { "warn", [[warn("@on") return true]] },
  { "arg[-1] and above", [[return arg.n or debug]], main = true },
  -- bytecode
  { "bytecode through load", [[return load(]] .. FORGED .. [[)]] },
  { "bytecode through load, mode b", [[return load(]] .. FORGED .. [[, "x", "b")]] },
  { "bytecode through load, mode bt", [[return load(]] .. FORGED .. [[, "x", "bt")]] },
  { "bytecode through a reader", [[local t = ]] .. FORGED .. [[
    return load(function() local r = t t = nil return r end)]] },
  { "string.dump", [[return string.dump(function() end)]] },
  { "string.dump as a method", [[return ("").dump(function() end)]] },
  { "string.dump by its index", [[return string["du" .. "mp"] or rawget(string, "dump")]] },
  { "functions in a file for --replay", [[return arg.replay]], main = true },
  -- metatables and shared tables
  { "the metatable of strings", [[getmetatable("").__index = function() return 1 end return true]] },
  { "the metatable of strings is seen", [[return getmetatable("")]] },
  { "__index of strings replaced", [[getmetatable("x").__index.upper = nil return true]] },
  { "string.upper replaced", [[string.upper = nil return true]] },
  { "string.upper replaced by rawset", [[rawset(string, "upper", print) return true]] },
  { "string.upper replaced by table.insert", [[table.insert(string, "x") return true]] },
  { "string.upper replaced by table.move", [[table.move({ 1 }, 1, 1, 1, string) return true]] },
  { "a metatable for string", [[return setmetatable(string, {})]] },
  { "a metatable for math", [[return setmetatable(math, nil)]] },
  { "the metatable of a library", [[return getmetatable(table)]] },
  { "next over a library", [[return next(string)]] },
  { "pairs over a library gives a copy", [[for k in pairs(string) do end
    local f, t = pairs(string) t.upper = print return string.upper == print]] },
  { "the library's table changed", [[require("luabatch").text = print return true]] },
  { "the metatable of the library", [[return getmetatable(require("luabatch"))]] },
  { "the metatable of a dataset", [[return getmetatable(lb.range(1))]], main = true },
  { "the class of a dataset by __index", [[local c = lb.range(1).__index return c]], main = true },
  { "the class of a job by __index", [[return lb.job { mapper = print }.__index]], main = true },
  { "a dataset made by hand", [[return setmetatable({ _node = {} }, getmetatable(lb.range(1)) or nil):count()]], main = true },
  { "__metatable of one's own hides nothing", [[
    local t = setmetatable({}, { __metatable = "mine" })
    return getmetatable(t) ~= "mine" or pcall(setmetatable, t, {})]] },
  { "a finalizer", [[setmetatable({}, { __gc = function() print("ESCAPED") end }) return true]] },
  { "a finalizer given later", [[local m = {} local t = setmetatable({}, m)
    m.__gc = function() print("ESCAPED") end setmetatable(t, m) return true]] },
  { "a finalizer that travels", [[
    local m = {} local t = setmetatable({}, m) m.__gc = function() print("ESCAPED") end
    return lb.range(1):map(function(i) return t.x or i end):collect()[1] ]], main = true },
  { "debug.getmetatable", [[return debug.getmetatable("")]] },
  { "debug.getupvalue of print", [[return debug.getupvalue(require, 1)]] },
  { "the registry", [[return debug.getregistry()]] },
  -- the collector and time
  { "collectgarbage", [[return collectgarbage()]] },
  { "collectgarbage stop", [[return collectgarbage("stop")]] },
  { "collectgarbage generational", [[return collectgarbage("generational")]] },
  { "debug.sethook", [[debug.sethook() return true]] },
  -- files, by the library's verbs
  { "lb.text of another file", [[return lb.text("@SECRET@"):collect()[1] ]], main = true },
  { "lb.files", [[return lb.files("@SECRET@"):collect()[1] ]], main = true },
  { "lb.csv", [[return lb.csv("@SECRET@"):collect()[1] ]], main = true },
  { "lb.json", [[return lb.json("@SECRET@"):collect()[1] ]], main = true },
  { "lb.read", [[return lb.read("@SECRET@"):collect()[1] ]], main = true },
  { "lb.text by ..", [[return lb.text("@DIR@/in/../secret"):collect()[1] ]], main = true },
  { "lb.text through /proc/self/root", [[return lb.text("/proc/self/root@SECRET@"):collect()[1] ]], main = true },
  { "lb.text through /proc/self/cwd", [[return lb.text("/proc/self/cwd/../../../..@SECRET@"):collect()[1] ]], main = true },
  { "lb.text through /dev/fd", [[return lb.text("/dev/fd/2"):collect()]], main = true },
  { "a link in a folder that may be read", [[return lb.text("@DIR@/in/link"):collect()[1] ]], main = true },
  { "a folder with a link in it", [[
    for _, l in ipairs(lb.text("@DIR@/in"):collect()) do if l:find("secret") then return l end end]], main = true },
  { "a glob outside", [[return lb.text("@DIR@/s*"):collect()[1] ]], main = true },
  { "a glob tells no names", [[
    local ok, e = pcall(function() return lb.text("@DIR@/s*"):collect() end)
    return ok or tostring(e):find("secret", 1, true)]], main = true },
  { "whether a file exists, by its error", [[
    local _, a = pcall(function() return lb.text("@DIR@/secret"):collect() end)
    local _, b = pcall(function() return lb.text("@DIR@/secreu"):collect() end)
    return tostring(a):gsub("secret", "x") ~= tostring(b):gsub("secreu", "x")]], main = true },
  { "whether a file exists, by mode ignore", [[
    local function try(name) lb.range(1):save_text("@DIR@/" .. name, { mode = "ignore" }) end
    local _, a = pcall(try, "secret")
    local _, b = pcall(try, "secreu")
    return tostring(a):gsub("secret", "x") ~= tostring(b):gsub("secreu", "x")]], main = true },
  { "whether a folder exists, by a way through it", [[
    local function try(name) return (pcall(function() return lb.text("@DIR@/" .. name .. "/../in/text"):count() end)) end
    return try("hidden") or try("nosuch")]], main = true },
  { "whether a folder exists, by a way through it to an output", [[
    local function try(name)
      local _, e = pcall(function() lb.range(1):save_text("@DIR@/" .. name .. "/../in/text", { mode = "ignore" }) return "saved" end)
      return tostring(e)
    end
    return try("hidden"):gsub("hidden", "x") ~= try("nosuch"):gsub("nosuch", "x")]], main = true },
  { "whether a folder exists, by what would replace each other", [[
    local function try(name)
      local _, e = pcall(function()
        lb.range(1):map(tostring, { on_error = { to = "@DIR@/" .. name .. "/../in/bad" } }):save_text("@DIR@/in/bad")
      end)
      return tostring(e)
    end
    return try("hidden"):gsub("hidden", "x") ~= try("nosuch"):gsub("nosuch", "x")]], main = true },
  { "a link outside that leads in", [[return lb.text("@DIR@/shortcut/text"):count()]], main = true },
  { "what is at the end of a link inside", [[
    local function try(name)
      local _, e = pcall(function() return lb.text("@DIR@/in/end_" .. name):count() end)
      return tostring(e)
    end
    return try("hidden"):gsub("hidden", "x") ~= try("nosuch"):gsub("nosuch", "x")]], main = true },
  { "an environment variable by /proc", [[return lb.text("/proc/self/environ"):collect()[1] ]], main = true },
  { "memory by /proc", [[return lb.text("/proc/self/maps"):collect()[1] ]], main = true },
  { "a device", [[return lb.text("/dev/zero"):first()]], main = true },
  { "a FIFO among the inputs", [[return lb.text("@DIR@/in/fifo"):first()]], main = true },
  { "save_text", [[return lb.range(1):save_text("@CANARY@")]], main = true },
  { "save_text beside an input", [[return lb.range(1):save_text("@DIR@/in/new")]], main = true },
  { "save_csv", [[return lb.from{{a=1}}:save_csv("@CANARY@")]], main = true },
  { "save into a directory", [[return lb.range(1):save("@CANARY@/")]], main = true },
  { "an input overwritten", [[return lb.range(1):save_text("@IN@", { mode = "overwrite" })]], main = true },
  { "an input appended to", [[return lb.range(1):save_text("@IN@", { mode = "append" })]], main = true },
  { "a descriptor written to", [[return lb.range(1):save_text("/dev/fd/3")]], main = true },
  { "bad records put elsewhere", [[
    return lb.range(1):map(function() error("x") end, { on_error = { to = "@CANARY@" } }):collect()]], main = true },
  { "a checkpoint", [[return lb.range(1):map(function(i) return i end):checkpoint("@CANARY@"):count()
    and io]], main = true },
  { "a plot into a file", [[return lb.range(9):plot { path = "@CANARY@" }]], main = true },
  { "a command", [[return lb.range(1):pipe("touch @CANARY@"):collect()[1] ]], main = true },
  { "a command put into a node", [[
    local d = lb.range(1):map(tostring) d._node.op, d._node.command = "pipe", "touch @CANARY@; echo x"
    return d:collect()[1] ]], main = true },
  { "bytes for a function in a node", [[
    local d = lb.range(1):map(tostring) d._node.fn = ]] .. FORGED .. [[ return d:collect()[1] ]], main = true },
  -- functions that travel
  { "a library's function captured", [[
    local f = print local x = lb.range(1):map(function(i) return f == print and i end):collect()[1]
    local ok = pcall(function() return lb.range(1):map(function() return io.open end):collect() end) return ok]], main = true },
  { "an environment of one's own", [[return load("return io", "x", "t", { })()]] },
  { "emit kept and called later", [[
    local kept = {}
    lb.range(3):flat_map(function(i, emit) load("return function(e) kept = e end")()(emit) emit(i) end):count()
    return lb.range(3):map(function(i) local e = load("return kept")() if e then return (pcall(e, i)) end end)
      :filter(function(x) return x end):count() > 0]], main = true },
  { "coroutine.close of the main thread", [[return coroutine.close(coroutine.running())]] },
  { "xpcall with a handler that fails", [[
    local n = 0
    local ok = xpcall(error, function() n = n + 1 error("again") end) return ok]] },
  { "pcall without end", [[local function f() return pcall(f) end return type(f()) ~= "boolean"]] },
  { "string.format of a width", [[return string.format("%99999d", 1)]] },
  { "string.format %n", [[return string.format("%n", 1)]] },
  { "string.rep of too much", [[return string.rep("x", 1 << 40)]] },
  { "string.rep that overflows", [[return string.rep("x", math.maxinteger, ",")]] },
  { "table.concat that overflows", [[return table.concat({}, ("x"):rep(1000), 1, math.maxinteger)]] },
  { "unpack of too much", [[return table.unpack({}, 1, 1e8)]] },
  { "a pattern that is too deep", [[return (("x"):rep(300000)):find(("(x"):rep(40))]] },
  { "a deep pattern", [[return pcall(string.find, ("a"):rep(220000), (".?"):rep(220000) .. "b") and false]] },
  { "an expression that is too deep", [[return load("return " .. ("("):rep(100000) .. "1" .. (")"):rep(100000))]] },
  { "a table that is too deep to travel", [[local t = {} for _ = 1, 1e5 do t = { t } end
    return lb.from { { t } }:count()]], main = true },
  -- crashes that were in Lua
  { "CVE-2022-33099", [[
    local function f() return coroutine.wrap(function() error(setmetatable({}, { __tostring = f })) end)() end
    local s = ("x"):rep(60) local function g(n) return tostring(n .. s) .. g(n) end return pcall(g, {})and false]] },
  { "CVE-2021-44964", [[
    local t = setmetatable({}, { __mode = "k" }) for i = 1, 1000 do t[{}] = {} end
    return coroutine.wrap(function() local x <close> = setmetatable({}, { __close = function() coroutine.yield(false) end }) end)()]] },
  { "CVE-2021-45985", [[
    local co = coroutine.create(function() local x <close> = setmetatable({}, { __close = function() error("x") end }) error("y") end)
    coroutine.resume(co) coroutine.close(co) return false]] },
  { "CVE-2020-24342", [[
    local function errfunc() return 1 + {} end
    local function test() return xpcall(test, errfunc) end
    test() return false]] },
  { "CVE-2019-6706", [[return debug.upvaluejoin(print, 1, print, 1)]] },
  { "CVE-2022-28805", [[return load("local _ENV <const> = 1 return x") and false]] },
  { "CVE-2014-5461", [[
    local function f(p1, p2, p3, p4, p5, p6, p7, p8, p9, p10, ...) local a, b, c, d, e = ... return select("#", ...) < 0 end
    return f(table.unpack({}, 1, 200))]] },
  { "yield across a sort", [[return coroutine.wrap(function() table.sort({ 3, 2, 1 }, function(a, b) coroutine.yield(false) end) end)()]] },
  { "a table changed while it is sorted", [[
    local t = {} for i = 1, 1000 do t[i] = i % 7 end
    return pcall(table.sort, t, function(a, b) t[1000] = nil t[#t + 1] = {} return true end) and false]] },
  { "gsub that changes its table", [[
    local t = setmetatable({}, { __index = function(t, k) t[k] = k:rep(10) return nil end })
    return (("abc"):rep(1000):gsub("%w", t)) == nil]] },
  -- C code that calls back, nested deeply
  { "gsub inside gsub inside gsub", [[local function f(s) return (s:gsub("a", f)) end return pcall(f, ("a"):rep(10))]] },
  { "sort inside sort", [[local function f() local t = { 3, 1, 2 } table.sort(t, function(a, b) f() return a < b end) end return
      pcall(f)]] },
  { "__tostring inside __tostring", [[
    local m = {} m.__tostring = function(t) return tostring(setmetatable({}, m)) end return pcall(tostring, setmetatable({}, m))]] },
  { "__concat inside __concat", [[local m = {} m.__concat = function(a, b) return setmetatable({}, m) .. b end
    return pcall(function() return setmetatable({}, m) .. "x" end)]] },
  { "__index inside __index, by C", [[local m = {} m.__index = function(t, k) return table.concat(setmetatable({}, m), ",", 1, 2) end
    return pcall(function() return setmetatable({}, m).x end)]] },
  { "a chain of __index 100,000 long", [[local t = {} for _ = 1, 1e5 do t = setmetatable({}, { __index = t }) end return t.x]] },
  { "a chain of __call", [[local t = type for _ = 1, 1e4 do t = setmetatable({}, { __call = t }) end return select("#", pcall(t)) < 2]] },
  { "coroutines inside coroutines", [[
    local function f(n) return coroutine.wrap(function() return f(n + 1) end)() end return pcall(f, 1)]] },
  { "xpcall inside its handler", [[local function h(e) return select(2, xpcall(error, h, e)) end return (xpcall(error, h, "x"))]] },
  { "__close that fails in __close", [[
    local m = {} m.__close = function() local x <close> = setmetatable({}, m) error("again") end
    return pcall(function() local x <close> = setmetatable({}, m) end)]] },
  { "__eq, __lt, __le by sort and by C", [[local m = {} m.__lt = function(a, b) return b < a end
    local t = { setmetatable({}, m), setmetatable({}, m), setmetatable({}, m) } return pcall(table.sort, t)]] },
  { "goto into a scope", [[return load("goto x; local a; ::x:: print(a)")]] },
  { "256 upvalues and 201 locals", [[
    return load("local " .. ("a,"):rep(200) .. "b") or load("local a = 1 " .. ("local function f() return "):rep(300) .. "a" ..
      (" end"):rep(300))]] },
  { "an upvalue through a dead coroutine", [[
    local get local co = coroutine.wrap(function() local secret = {} get = function() return secret end error("x") end)
    pcall(co) return type(get()) ~= "table"]] },
  { "coroutine.close while it runs", [[
    local co co = coroutine.create(function() return coroutine.close(co) end) return select(2, coroutine.resume(co)) == true]] },
  { "a coroutine that resumes itself", [[local co co = coroutine.wrap(function() return co() end) return (pcall(co))]] },
  { "string coercion with __name and __metatable", [[
    local t = setmetatable({}, { __name = ("n"):rep(1e6), __metatable = false }) return tostring(t):find("io", 1, true)]] },
  { "__tostring that gives no string", [[return pcall(tostring, setmetatable({}, { __tostring = function() return {} end }))]] },
  { "string.format %s of a changing object", [[
    local n = 0 local t = setmetatable({}, { __tostring = function() n = n + 1 return ("x"):rep(n * 1e5) end })
    return #("%s%s%s%.3s%q"):format(t, t, t, t, "x") < 1e5]] },
  { "string.pack of sizes", [[return pcall(string.pack, "!16s8i16I16z" .. ("x"):rep(100000), "a", 1, 1, "b") and pcall(string.unpack,
      "s8", "\255\255\255\255\255\255\255\127")]] },
  { "utf8 outside of the string", [[return pcall(utf8.codepoint, "x", 1, math.maxinteger) or utf8.offset("x", math.mininteger, 1)]] },
  { "table.insert in the middle of a length that is none", [[
    return pcall(table.insert, setmetatable({}, { __len = function() return 1.5 end }), 1, 1)]] },
  { "os.exit in a callback", [[return os.exit(3)]] },
  { "os.exit through load with an environment", [[return load("return os.exit(3)", "x", "t", { os = os })()]] },
  { "load that asks its reader 100,000 times", [[local n = 0
    return load(function() n = n + 1 return n < 1e5 and "x=1 " or n < 1e5 + 1 and "?" or nil end)]] },
  { "load whose reader gives no string", [[return load(function() return {} end) or load(coroutine.wrap(function() coroutine.yield("x")
      end))]] },
  { "an error object that is a dataset, by status", [[local e = setmetatable({ status = 0 }, {}) return not select(2, pcall(error, e))]] },
  -- the engine's own code, with what no job should give it
  { "a plan 700 steps deep", [[
    local d = lb.range(3) for i = 1, 700 do d = d:map(function(x) return x end) end return pcall(d.count, d) and false]], main = true },
  { "a plan of 300 unions", [[
    local d = lb.range(1) for i = 1, 300 do d = d:union(lb.range(1)) end return pcall(d.count, d) and false]], main = true },
  { "a plan that doubles", [[local d = lb.range(1) for i = 1, 40 do d = d:union(d) end return pcall(lb.from, d)]], main = true },
  { "SQL nested 100,000 deep", [[
    return pcall(function() return lb.from { { a = 1 } }:where(("("):rep(1e5) .. "a" .. (")"):rep(1e5) .. " = 1"):count() end) and
      false]], main = true },
  { "SQL of 20,000 terms", [[
    return pcall(function() return lb.from { { a = 1 } }:where("a = 1" .. (" or not a = 1"):rep(2e4)):count() end) and false]], main =
      true },
  { "SQL of 100,000 nots", [[
    return pcall(function() return lb.from { { a = true } }:where(("not "):rep(1e5) .. "a"):count() end) and false]], main = true },
  { "a regular expression nested deep", [[
    return pcall(function() return lb.from { { a = ("a"):rep(1e5) }
      }:where("regexp_matches(a, '" .. ("("):rep(5000) .. "a" .. (")*"):rep(5000) .. "b')"):count() end) and false]], main = true },
  { "a regular expression that backtracks", [[
    return pcall(function() return lb.from { { a = ("a"):rep(1e5) } }:where("regexp_matches(a, '(a+)+$|(a*)*b')"):count() end) and
      false]], main = true },
  { "records that contain themselves", [[local t = {} t[1] = t return pcall(lb.from, { t }) and pcall(function() return lb.from { t
      }:count() end)]], main = true },
  { "a row with 100,000 columns", [[
    local r = {} for i = 1, 1e5 do r["c" .. i] = i end return pcall(function() return lb.from { r }:select("c1"):count() end) and
      false]], main = true },
  { "options of 100,000 names", [[
    local o = {} for i = 1, 1e5 do o["o" .. i] = i end return pcall(lb.text, "@IN@", o)]], main = true },
  { "options with metamethods", [[
    local n = 0 local o = setmetatable({}, { __index = function(_, k) n = n + 1 return n % 2 == 0 and {} or "x" end, __pairs =
      function() return next, {} end })
    pcall(function() return lb.csv("@IN@", o):count() end) pcall(function() return lb.range(3):save_text("@CANARY@", o) end) return
      false]], main = true },
  { "20,000 datasets", [[local t = {} for i = 1, 2e4 do t[i] = lb.range(i):map(print) end return #t ~= 2e4]], main = true },
  { "a list that changes while it is read", [[
    local t = {} for i = 1, 100 do t[i] = { a = i } end
    local d = lb.from(t) for i = 1, 100 do t[i] = io or print end return pcall(d.count, d) and pcall(d.count, lb.from(t))]], main = true },
  { "an action in a function of a worker", [[
    return pcall(function() return lb.range(1):map(function() return require("luabatch").range(3):count() end):count() end)]], main =
      true },
  { "an action in the iterator of another", [[
    local n = 0 for v in lb.range(3):iterate() do n = n + lb.range(v):count() + #lb.range(1):map(function(x) return x end):collect() end
      return n ~= 9]], main = true },
  { "a checkpoint, a cache and a plan that stand on each other", [[
    local d = lb.range(3):cache() d._node.inputs[1] = d._node return pcall(d.count, d) and false]], main = true },
  { "a grep without a pattern", [[
    local d = lb.text("@IN@"):grep("a") d._node.pattern = {} return pcall(d.count, d) and false]], main = true },
  { "a path put into a node", [[local d = lb.text("@IN@") d._node.paths = { "@SECRET@" } return d:collect()[1] ]], main = true },
  { "a path for the output put into a node", [[
    local d = lb.range(1) d._node.op, d._node.path, d._node.format, d._node.mode = "write", "@CANARY@", "text", "overwrite" return
      d:count()]], main = true },
  { "a store's handle forged", [[
    local d = lb.range(1):cache() d:count() d._node.cache.store = lb.counter "x" return d:count()]], main = true },
  { "a native file forged", [[
    local ok, d = pcall(function() lb.range(1):save("@IN@.lbb") end) return ok]], main = true },
}

-- These never end by themselves, or take all memory. The program must end them.
local floods = {
  { "a loop", [[while true do end]] },
  { "a loop that catches", [[while true do pcall(function() while true do end end) end]] },
  { "a loop in an error handler", [[while true do xpcall(error, function() while true do end end) end]] },
  { "a loop in a coroutine", [[while true do coroutine.wrap(function() pcall(function() while true do end end) end)() end]] },
  { "coroutines without end", [[local function f() return coroutine.wrap(f)() end while true do pcall(f) end]] },
  { "a loop in __close", [[while true do pcall(function()
    local x <close> = setmetatable({}, { __close = function() while true do end end }) error("x") end) end]] },
  { "a loop in __tostring", [[print(setmetatable({}, { __tostring = function() while true do end end }))]] },
  { "a loop in __index", [[return setmetatable({}, { __index = function() while true do end end }).x]] },
  { "a chain of tail calls", [[local function f() return f() end f()]] },
  { "a pattern that tries for ever", [[return ("a"):rep(3000):find((".-"):rep(20) .. "b")]] },
  { "gsub that tries for ever", [[return ("a"):rep(3000):gsub((".-"):rep(20) .. "b", "")]] },
  { "a bad order", [[table.sort({ 3, 2, 1 }, function() while true do end end)]] },
  { "table.concat of what is not there", [[
    return table.concat(setmetatable({}, { __index = function() return "" end, __len = function() return 1e15 end }))]] },
  { "table.move without end", [[
    table.move(setmetatable({}, { __index = function() return 1 end }), 1, 1e15, 2, setmetatable({}, { __newindex = function() end
    }))]] },
  { "table.remove with a length of one's own", [[
    return table.remove(setmetatable({}, { __len = function() return math.maxinteger end }), 1)]] },
  { "table.move over all integers", [[return table.move({}, 1, 1 << 60, 1)]] },
  { "string.rep of nothing", [[return string.rep("", 1 << 62) and load(("x = 1 "):rep(1e7)) and (function() while true do end end)()]] },
}

local eaters = {
  { "tables", [[local t = {} for i = 1, 1e12 do t[i] = { i } end]] },
  { "strings", [[local t = {} for i = 1, 1e12 do t[i] = ("x"):rep(1e5) .. i end]] },
  { "a string that doubles", [[local s = "x" while true do s = s .. s end]] },
  { "string.rep", [[local t = {} while true do t[#t + 1] = ("x"):rep(1e9) end]] },
  { "gsub", [[local s = ("x"):rep(1e6) while true do s = s:gsub(".", "%0%0") end]] },
  { "table.concat", [[local s = ("x"):rep(1e6) local t = {} for i = 1, 1e5 do t[i] = s end return table.concat(t)]] },
  { "coroutines", [[local t = {} for i = 1, 1e12 do t[i] = coroutine.create(print) end]] },
  { "empty tables", [[local t = {} for i = 1, 1e12 do t[i] = {} end]] },
  { "tables in tables", [[local t = {} while true do t = { t } end]] },
  { "closures", [[local t = {} for i = 1, 1e12 do t[i] = function() return i end end]] },
  { "strings of all lengths", [[local t = {} for i = 1, 1e12 do t[i] = ("x"):rep(2e5 + i) .. i end]] },
  { "holes", [[local t = {} for k = 40, 1e12, 40 do for i = 1, 2e4 do t[#t + 1] = ("x"):rep(k) .. i end
    for i = #t, 1, -1 do if i % 20 ~= 0 then t[i] = t[#t] t[#t] = nil end end end]] },
  { "deep recursion", [[local function f(n) local t = { n } return t, f(n + 1) end return (pcall(f, 1))]] },
  { "closures caught", [[
    local t = {} while true do pcall(function() while true do t[#t + 1] = function() return t end end end) t.n = (t.n or 0) + 1
    if t.n > 20 then error("no memory") end end]] },
  { "string.format", [[
    local t = {} while true do t[#t + 1] = ("%99s"):rep(1000):format(table.unpack({}, 1, 0)) or ("%s"):format(("x"):rep(1e8)) .. #t
    end]] },
  { "utf8.char", [[local t = {} for i = 1, 1e12 do t[i] = utf8.char(i % 65536) .. i end]] },
  { "one string many times in a table", [[local s, t = ("x"):rep(1e7), {} for i = 1, 1000 do t[i] = s end
    return lb.from(t):map(function(v) return #v end):count()]] },
  { "one string many times in a record of a worker", [[
    return lb.range(1):map(function() local s, t = ("x"):rep(1e7), {} for i = 1, 1000 do t[i] = s end return t end):count()]] },
  { "the stack", [[local function f(...) return f(1, ...) end f()]] },
  { "load", [[local t = {} for i = 1, 1e12 do t[i] = load("return '" .. i .. "', " .. ("{},"):rep(1000) .. "1") end]] },
}

-- Those that take time: a part of a list, another one each time; all with LB_SAFE=all (`make safe`).
local seed = tonumber(os.getenv "LB_SEED") or os.time()
local function some(list)
  if os.getenv "LB_SAFE" == "all" then return list end
  local part = {}
  for i = seed % 5 + 1, #list, 5 do part[#part + 1] = list[i] end
  return part
end

describe("safe mode", function()
  local folder, canary, input, options
  setup(function()
    folder = support.path()
    support.shell(([[mkdir -p %s/in && cd %s && echo %s > secret && echo a line > in/text && ln -s ../secret in/link && mkfifo in/fifo
      mkdir hidden && ln -s in shortcut && ln -s ../hidden in/end_hidden && ln -s ../nosuch in/end_nosuch
      echo 'error("ESCAPED")' > evil.lua]]):format(folder, folder, SECRET))
    folder = support.shell("cd " .. folder) == 0 and folder
    canary, input = folder .. "/canary", folder .. "/in/text"
    options = ("--safe --threads 2 --memory 64M --allow-read %s/in"):format(folder)
  end)
  teardown(support.clean)

  local template = {
    main = [[
local lb = require "luabatch"
local ok, got = pcall(function() %s
end)
print(ok and got and "ESCAPED " .. tostring(got) or "refused")]],
    worker = [[
local lb = require "luabatch"
local list = lb.range(1):map(function()
  local ok, got = pcall(function() %s
  end)
  return ok and got and "ESCAPED " .. tostring(got) or "refused"
end):collect()
print(list[1])]],
  }

  -- Tells what a program took, and ends as it did.
  local measure = [[
import resource, subprocess, sys, time
start = time.monotonic()
code = subprocess.run(sys.argv[3:], timeout=120).returncode
open(sys.argv[1], "w").write("%f %d" % (time.monotonic() - start, resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss))
open(sys.argv[2], "w").write(str(code if code >= 0 else 128 - code))
]]

  -- Runs jobs, several at a time. Calls check(name, status, output, messages, seconds, KiB) for each; gives the complaints.
  local function run_all(jobs, place, more, check)
    local script, base = support.file(measure, ".py"), support.path()
    support.shell("mkdir " .. base)
    local before, behind = template[place]:match("^(.-)%%s(.*)$")
    local lines, program = { "cd " .. folder }, support.quote(support.absolute(support.program))
    for i, job in ipairs(jobs) do
      local code = job[2]:gsub("@(%u+)@", { SECRET = folder .. "/secret", CANARY = canary, DIR = folder, IN = input })
      local path = base .. "/" .. i
      local file = assert(io.open(path .. ".lua", "w"))
      file:write(before, code, behind)
      file:close()
      local command = ("%s %s %s %s.lua %s > %s.out 2> %s.err < /dev/null"):format(program, options, more, path, input, path, path)
      lines[#lines + 1] = more == "" and ("{ %s; echo $? > %s.status; } &"):format(command, path)
        or ("python3 %s %s.usage %s.status %s &"):format(script, path, path, command)
      if i % 4 == 0 then lines[#lines + 1] = "wait" end
    end
    lines[#lines + 1] = "wait"
    support.shell(table.concat(lines, "\n"))
    local complaints = {}
    for i, job in ipairs(jobs) do
      local path = base .. "/" .. i
      local out, err = support.read(path .. ".out"), support.read(path .. ".err")
      local seconds, kib
      if more ~= "" then seconds, kib = support.read(path .. ".usage"):match("^(%S+) (%S+)$") end
      local problem = (out .. err):find("ESCAPED", 1, true) and "got through" or (out .. err):find(SECRET, 1, true) and "read the secret"
        or check(tonumber(support.read(path .. ".status")), out, err, tonumber(seconds), tonumber(kib))
      if problem then complaints[#complaints + 1] = ("%s: %s\n%s%s"):format(job[1], problem, out, err) end
    end
    if support.shell("test -e " .. canary) == 0 then complaints[#complaints + 1] = "the canary was made" end
    if support.read(folder .. "/secret") ~= SECRET .. "\n" then complaints[#complaints + 1] = "the secret was changed" end
    if support.read(input) ~= "a line\n" then complaints[#complaints + 1] = "the input was changed" end
    assert.equal("", table.concat(complaints, "\n"))
  end

  it("refuses all attacks in the main chunk", function()
    run_all(attacks, "main", "", function(status, out)
      if status ~= 0 or out ~= "refused\n" then return "ended with status " .. status end
    end)
  end)

  it("refuses them in a worker's function", function()
    local list = {}
    for _, attack in ipairs(attacks) do
      if not attack.main then list[#list + 1] = attack end
    end
    run_all(list, "worker", "", function(status, out)
      if status ~= 0 or out ~= "refused\n" then return "ended with status " .. status end
    end)
  end)

  for _, place in ipairs { "main", "worker" } do
    it("ends what does not end, in the " .. place, function()
      run_all(some(floods), place, "--max-time 0.5", function(status, _, err, seconds)
        if status ~= 1 or not err:find("(--max-time)", 1, true) then return "ended with status " .. status end
        if seconds > 60 then return ("took %g s"):format(seconds) end -- by itself it takes years
      end)
    end)

    it("keeps within memory, in the " .. place, function()
      run_all(some(eaters), place, "--max-time 2", function(status, out, err, _, kib)
        local is_late = status == 1 and err:find("(--max-time)", 1, true)
        if not is_late and status ~= 5 and out ~= "refused\n" then return "ended with status " .. status end
        if kib > MOST_KIB then return ("took %d KiB"):format(kib) end
      end)
    end)
  end

  -- The rest: what must go on working, and what is refused before anything runs.
  local function luabatch(line) return support.shell("cd " .. folder .. " && luabatch " .. line) end

  it("gives ordinary jobs the same results", function()
    local here = support.quote(support.absolute("."))
    for _, line in ipairs {
      "examples/word_count.lua examples/data/access.log", "examples/top_products.lua examples/data/sales.csv",
      "examples/join_orders.lua examples/data/users.tsv examples/data/orders.tsv", "examples/moving_average.lua examples/data/sales.csv",
      "examples/own_aggregate.lua examples/data/shop.csv", "examples/secondary_sort.lua examples/data/access.log",
      "examples/three_steps.lua --min-length=5 examples/data/access.log", "examples/top_words.lua 'examples/data/*.log'",
      "examples/users_purchases.lua examples/data/users.csv examples/data/purchases.csv", "examples/hot_key.lua",
    } do
      local status, out, err = support.shell(("cd %s && luabatch %s"):format(here, line))
      assert.equal(0, status, err)
      local safe_status, safe_out, safe_err = support.shell(("cd %s && luabatch --safe %s"):format(here, line))
      assert.same({ 0, out }, { safe_status, safe_out }, safe_err)
    end
  end)

  it("lets classes, closures, coroutines and library functions travel", function()
    local job = support.file([[
local lb = require "luabatch"
local Point = {}
Point.__index = Point
function Point:sum() return self.x + self.y end
local point, floor, fmt, strings = setmetatable({ x = 1, y = 2 }, Point), math.floor, string.format, string
local function each(t) return coroutine.wrap(function() for k, v in pairs(t) do coroutine.yield(k .. v) end end) end
print(lb.range(3):map(function(i)
  assert(getmetatable(point) == Point and setmetatable({}, Point).sum == Point.sum)
  return fmt("%d", floor(i + 0.5)) .. strings.rep("x", point:sum()) .. ("y"):upper() .. each { a = i }()
    .. type(os.time()) .. #utf8.char(8364)
    .. load("return 1 + 1")() .. select("#", table.unpack { 1, 2 }) .. tostring(next({}))
end):collect()[3])
print(lb.range(10):reduce(math.max), lb.from { { n = 2 } }:where("n > 1"):count())]], ".lua")
    assert.same({ 0, "3xxxYa3number322nil\n10\t1\n", "" }, { luabatch("--safe " .. job) })
  end)

  it("reads and writes what the command line names", function()
    local ran = support.file('local lb = require "luabatch" return lb.job { mapper = function(_, l, emit) emit(l, 1) end }', ".lua")
    assert.same({ 0, "a line\t1\n", "" }, { luabatch("--safe " .. ran .. " in/text") })
    assert.same({ 0, "a line\t1\n", "" }, { luabatch("--safe " .. ran .. " --output=result in/text; cat result; rm result") })
    assert.same({ 0, "1\n", "" }, { luabatch("--safe --output parts/ -e 'lb.range(1)'; cat parts/part*; rm -r parts") })
    assert.same({ 0, "1\n", "" }, { luabatch("--safe -e 'lb.text(arg[1]):count()' 'in/t*'") })
    assert.same({ 0, "a line\n", "" }, { luabatch("--safe < in/text -e 'lb.stdin()'") })
    local made = "mkdir w; luabatch --safe --allow-write w -e 'lb.range(2):save_text \"w/a.gz\"' > /dev/null && zcat w/a.gz; rm -r w"
    assert.same({ 0, "1\n2\n", "" }, { support.shell("cd " .. folder .. "; " .. made) })
  end)

  it("leaves alone what lies beside an output, and what links in its folder lead to", function()
    local job = support.file([[
local lb = require "luabatch"
for _, path in ipairs { "w/neighbour", "w/in/../neighbour", "w/.out.luabatch", "w/out/../neighbour", "w/outer", "w/new" } do
  for _, mode in ipairs { "overwrite", "append", "ignore" } do
    print(pcall(function() return lb.range(3):save_text(path, { mode = mode }) end) and "ESCAPED " .. path or "refused")
  end
end
for _, path in ipairs { "w/out/link", "w/out/up/neighbour", "w/out/../neighbour" } do
  print(pcall(function() return lb.range(3):save_text(path, { mode = "append" }) end) and "ESCAPED " .. path or "refused")
  print(pcall(function() return lb.text(path):collect() end) and "ESCAPED " .. path or "refused")
end
print(lb.range(3):save_text("w/out/mine"))]], ".lua")
    local status, out, err = support.shell(("cd %s; mkdir -p w/in w/out; echo old > w/neighbour; "
      .. "ln -s ../neighbour w/out/link; ln -s .. w/out/up; "
      .. "luabatch --safe --allow-write w/out %s; cat w/neighbour; ls -A w; rm -r w"):format(folder, job))
    assert.equal(0, status, err)
    assert.is_nil(out:find("ESCAPED", 1, true), out)
    assert.equal("3\nold\nin\nneighbour\nout\n", (out:gsub("refused\n", "")))
  end)

  it("is asked for before the script, and not with what runs outside", function()
    for line, message in pairs {
      ["-l string --safe -e 1"] = "-l and --safe do not go together: a module would run outside",
      ["--safe --replay x"] = "--replay and --safe do not go together",
      ["--safe --replay-dir in -e 1"] = "--replay-dir and --safe do not go together",
      ["--safe --allow-read nothing -e 1"] = "--allow-read: no such file: nothing",
    } do
      assert.same({ 2, "", "luabatch: " .. message .. "\n" }, { luabatch(line) })
    end
    local job = support.file('return require("luabatch").job { mapper = function(_, l, emit) emit(l, 1) end }', ".lua")
    assert.same({ 2, "", "luabatch: option --safe stands before the script\n" }, { luabatch(job .. " --safe in/text") })
    assert.same({ 2, "", "luabatch: option --safe stands before the script\n" }, { luabatch("-e 'print(1)' in/text --safe") })
    for _, name in ipairs { "READ", "WRITE" } do
      local message = ("luabatch: LUABATCH_ALLOW_%s goes with --safe; without that a job may read and write what you may\n"):format(name)
      assert.same({ 2, "", message }, { support.shell(("LUABATCH_ALLOW_%s=in luabatch -e 1"):format(name)) })
      assert.same({ 0, "1\n", "" }, { support.shell(("cd /; LUABATCH_ALLOW_%s=/usr LUABATCH_SAFE=1 %s -e 1"):format(name,
        support.quote(support.absolute(support.program)))) })
    end
    assert.same({ 2, "", "luabatch: --allow-read goes with --safe; without that a job may read and write what you may\n" },
      { luabatch("--allow-read in -e 1") })
    assert.same({ 0, "--safe\n", "" }, { luabatch("-e 'arg[2]' -- -- --safe") })
    assert.same({ 1, "", "refused\n" }, {
      luabatch([[--safe -e 'io.open("x")' 2>&1 | grep -q 'safe mode has none' && echo refused >&2; false]]),
    })
    for code, hint in pairs {
      ['io.open("x")'] = "; safe mode has none (--safe); read by lb.text",
      ['debug.getinfo(1)'] = "; safe mode has none (--safe); no flag allows it",
      ['os.execute("x")'] = "(field 'execute'); safe mode has no os.execute (--safe); no flag allows it",
      ['("").dump(print)'] = "safe mode has no string.dump (--safe)",
      ['require("lfs")'] = "module 'lfs' cannot be loaded in safe mode (--safe)",
      ['lb.range(1):map(function() return os.getenv("x") end):count()'] = "safe mode has no os.getenv (--safe)",
    } do
      local status, _, err = luabatch("--safe -e " .. support.quote(code))
      assert.equal(1, status)
      assert.truthy(err:find(hint, 1, true), err)
    end
  end)

  it("says of a path that cannot be looked at why not", function()
    local _, sh = support.folder "-closed"
    local _, found = sh("id -u; command -v setpriv")
    if found == "0\n" then return end -- root may look at anything, and there is no setpriv
    sh("cp %s program; mkdir closed; echo a > closed/file; chmod 755 . program; chmod 644 closed/file closed",
      support.quote(support.program))
    local nobody = found:find "^0\n" and "setpriv --reuid 65534 --regid 65534 --clear-groups " or ""
    for _, flag in ipairs { "--allow-read", "--allow-write" } do
      local status, _, err = sh("%s./program --safe %s closed/file -e 1", nobody, flag)
      assert.same({ 2, "luabatch: " .. flag .. ": cannot open closed/file: Permission denied\n" }, { status, err })
    end
    sh "chmod 755 closed"
  end)

  it("does not wait for a pipe that it is told of", function()
    local _, sh = support.folder "-fifo"
    for _, flag in ipairs { "--allow-read", "--allow-write" } do
      assert.same({ 0, "1\n", "" }, { sh("rm -f ff; mkfifo ff; timeout 20 %s --safe %s ff -e 'print(1)'",
        support.quote(support.absolute(support.program)), flag) })
    end
  end)

  it("names thousands of files at no cost", function()
    local _, sh = support.folder "-many"
    sh "for i in {1..8000}; do echo $i > $i; done"
    local function seconds(flag)
      local status, out, err = sh("TIMEFORMAT=%%U; time luabatch --threads 1 %s -e 'lb.text(arg):count()' *", flag)
      assert.same({ 0, "8000\n" }, { status, out }, err)
      return tonumber((err:gsub(",", ".")))
    end
    local free = seconds ""
    assert.is_true(seconds "--safe" < 1.5 + 5 * free)
  end)

  it("takes what files hold as data, whatever was done to them", function()
    local place = support.path "/"
    assert(os.execute("mkdir -p " .. place .. "ck"))
    local lines = support.file(("%d\n"):rep(500):format(table.unpack((function()
      local list = {}
      for i = 1, 500 do list[i] = i end
      return list
    end)())))
    local native = place .. "n.lbb"
    assert.equal(0, (support.run("-e", "lb.text(arg[1]):save(arg[2])", lines, native)))
    local forged = assert(load("return " .. FORGED))()
    -- Runs with one bit, the tail, or some bytes of a file changed; then the file is as it was.
    local function each_change(name, check)
      local text = support.read(name)
      for i = 1, 12 do
        local at = math.random(#text)
        local tail = i % 3 == 0 and "" or i % 3 == 1 and forged .. text:sub(at + #forged)
          or string.char((text:byte(at) + math.random(255)) % 256) .. text:sub(at + 1)
        local out = assert(io.open(name, "wb"))
        out:write(text:sub(1, at - 1), tail)
        out:close()
        check()
      end
      local out = assert(io.open(name, "wb"))
      out:write(text)
      out:close()
    end
    each_change(native, function()
      local status, out, err = support.run("--safe", "-e", "return require('luabatch').read(arg[1]):count()", native)
      assert.same({ 4, "" }, { status, out }, err)
    end)
    -- A checkpoint that is not as it was is made again.
    local job = support.file([[local lb = require "luabatch"
      print(lb.text(arg[1]):map(function(s) return s .. "x" end):checkpoint("one"):count())
      error("stop", 0)]], ".lua")
    local args = { "--safe", "--resume", "--checkpoint-dir", place .. "ck", job, lines }
    local first, counted, told = support.run(table.unpack(args))
    assert.same({ 1, "500\n" }, { first, counted }, told)
    local pipe = io.popen("find " .. place .. "ck -type f -size +0")
    for name in pipe:lines() do
      each_change(name, function()
        local status, out, err = support.run(table.unpack(args))
        assert.same({ 1, "500\n" }, { status, out }, err)
        assert.matches("luabatch: stop\n", err)
      end)
    end
    pipe:close()
    -- A call kept for --replay is a program: none is taken.
    support.run("--replay-dir", place, "-e", "lb.range(2):map(error):count()")
    local status, out, err = support.run("--safe", "--replay", place .. "map-1.replay")
    assert.same({ 2, "" }, { status, out })
    assert.matches("%-%-replay and %-%-safe do not go together", err)
    support.clean()
  end)
end)
