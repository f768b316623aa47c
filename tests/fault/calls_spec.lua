--- A few failing calls in each job of jobs.lua, and a few kills; `make fault` makes many more.
describe("a call that fails", function()
  it("ends a job in good order, whichever call and job it is", function()
    local pipe = assert(io.popen(("'%s' tests/fault/run.lua few=2 2>&1"):format(os.getenv("LUABATCH") or "build/debug/luabatch")))
    local told = pipe:read("a")
    local ok = pipe:close()
    assert.is_true(ok, told)
    assert.is_truthy(told:find("%d+ attempts, 0 wrong"), told)
  end)

  it("or kills a job, leaves what goes on with --resume, nothing lost and nothing twice", function()
    local pipe = assert(io.popen(("python3 tests/fault/kill.py '%s' --kills 0 --signals 0 --rows 60 --calls 4 --jobs '%s' 2>&1"):format(
      os.getenv("LUABATCH") or "build/debug/luabatch", "overwrite,directory append,checkpoints append")))
    local told = pipe:read("a")
    assert.is_true(pipe:close(), told)
    assert.is_truthy(told:find("24 passed, 0 failed"), told)
  end)
end)
