-- The comments above public functions: every @usage runs, one process for all of them, and none lacks a part.
local cli = require "tests.cli.support"

local tree = cli.absolute "."
local directory = cli.path "-usage"

-- The files that the examples read.
local files = {
  ["a.txt"] = "to be 12 or\nnot to be 7\n\n",
  ["book.txt"] = "the cat and the dog\nthe end\n",
  ["access.log"] = '192.0.2.8 - - [01/Mar/2024:08:05:19 +0000] "GET /docs/ HTTP/1.1" 200 6657\n'
    .. '192.0.2.2 - - [01/Mar/2024:08:08:22 +0000] "GET / HTTP/1.1" 404 26608\n',
  ["people.csv"] = "name,age,country\nAnn,31,SE\nBo,,NO\nCy,25,\n",
  ["people.tsv"] = "Ann\t31\nBo\t25\n",
  ["sales.csv"] = "id,day,year,user,country,item,amount,quantity\n1,2023-12-30,2023,Ann,SE,tea,4.5,2\n"
    .. "2,2024-01-02,2024,Ann,SE,lamp,120.0,1\n3,2024-01-03,2024,Bo,NO,tea,5.0,3\n4,2024-01-09,2024,Dan,NO,cup,7.25,4\n",
  ["events.json"] = '{"kind":"click","ts":1,"tags":["a","b"]}\n{"kind":"view","ts":5}\n',
  ["texts/one.txt"] = "one",
}

-- Runs in the program: the examples of the library that is inside it. A line for each: what it is, and what is wrong or nothing.
local script = [=[
lb = require "luabatch"
local help = require "luabatch.help"
lb.from({ "an ERROR", "fine" }):save_text("logs/app.log.gz")
local out = io.stdout
print = function() end
io.stdout:setvbuf "full"
for _, one in ipairs(help.functions()) do
  for _, tag in ipairs(one.tags) do
    if tag.tag == "usage" then
      local chunk, message = load("return " .. tag.text, "=usage")
      if not chunk then chunk, message = load(tag.text, "=usage") end
      local ok = chunk ~= nil
      if chunk then
        ok, message = pcall(function()
          local result = chunk()
          if getmetatable(result) and getmetatable(result).__name == "job" then result:dataset("a.txt"):collect() end
        end)
      end
      out:write("usage\t", one.title, "\t", ok and "" or tostring(message):gsub("[\n\t]", " "), "\n")
    end
  end
end
]=]

describe("the comments of public functions", function()
  local results, status, err = {}, nil, nil

  setup(function()
    os.execute(("mkdir -p '%s/texts' '%s/logs'"):format(directory, directory))
    files["run.lua"] = script
    for name, text in pairs(files) do
      local file = assert(io.open(directory .. "/" .. name, "wb"))
      file:write(text)
      file:close()
    end
    local program = cli.quote(cli.absolute(cli.program))
    local out
    status, out, err = cli.shell(("cd '%s' && %s run.lua"):format(directory, program))
    for title, message in out:gmatch("usage\t([^\t\n]*)\t([^\n]*)\n") do results[#results + 1] = { title, message } end
  end)
  teardown(cli.clean)

  it("have examples that run", function()
    assert.same({ 0, "" }, { status, err })
    assert.is_true(#results > 120)
    local failed = {}
    for _, result in ipairs(results) do
      if result[2] ~= "" then failed[#failed + 1] = result[1] .. ": " .. result[2] end
    end
    assert.same({}, failed)
  end)

  it("become annotations for editors", function()
    local stubs_in = directory .. "/stubs"
    local code, out, message = cli.shell(("cd '%s' && mkdir -p '%s/ldoc' && %s scripts/stubs.lua '%s'"):format(tree, stubs_in,
      cli.quote(cli.absolute(cli.program)), stubs_in))
    assert.same({ 0, "", "" }, { code, out, message })
    local stubs = cli.read(stubs_in .. "/luabatch.lua")
    assert.is_truthy(load(stubs))
    for _, line in ipairs {
      "---@return luabatch.dataset\nfunction dataset:map(f, options) end",
      "---@return integer # the number of records\nfunction dataset:save(", "---@param f fun(...: any): any calls `emit",
      "---@param last? integer the last\n", "---@return luabatch.groups",
      "---@overload fun(...: string|function): luabatch.aggregate",
    } do
      assert.is_truthy(stubs:find(line, 1, true), line)
    end
  end)

  it("lack nothing", function()
    local code, out, message = cli.shell(("cd '%s' && luabatch() { %s \"$@\"; } && luabatch scripts/doc_check.lua"):format(tree,
      cli.quote(cli.absolute(cli.program))))
    assert.same({ 0, "", "" }, { code, out, message })
  end)
end)
