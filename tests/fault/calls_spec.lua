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

  it("or kills it while a folder takes another's place in three steps, leaves one of both with its name", function()
    -- Without a janitor (fork:1) the next save puts it right; where RENAME_EXCHANGE is not known renameat2 gives EINVAL.
    local pipe = assert(io.popen(([[
      program=$(realpath '%s') && cd "$(mktemp -d)" || exit 1
      write() { LUABATCH_FAULT="$1" "$program" -e "lb.range($2):save_text('o/', { mode = 'overwrite' })" >/dev/null 2>&1; }
      { mkdir o && echo old >o/part-00000.txt && write rename:1=EINVAL,count=count 5; } || exit 1
      n=$(grep -o ' kill [0-9]*' count | tr -cd 0-9)
      for janitor in "" fork:1,; do
        for k in $(seq $((n - 11)) "$n"); do
          rm -rf o .o* && mkdir o && echo old >o/part-00000.txt
          write "${janitor}rename:1=EINVAL,kill:$k" 5
          if [ -z "$janitor" ]; then
            for i in 1 2 3 4 5 6 7 8 9; do ls -A | grep -q '^[.]' && sleep 0.1; done
            ls -A | grep '^[.]'
          else
            "$program" -e "lb.range(9):save_text('o/')" 2>&1 | grep -q exists || echo no folder
          fi
          cat o/part-* | tr '\n' ' '; echo
          [ -z "$janitor" ] || { write "" 9; cat o/part-* | tr '\n' ' '; ls -A | grep '^[.]'; }
        done
      done
      rm -rf "$PWD"]]):format(os.getenv("LUABATCH") or "build/debug/luabatch")))
    local told = pipe:read("a")
    pipe:close()
    local n = { ["old "] = 0, ["1 2 3 4 5 "] = 0 }
    for line in told:gmatch("[^\n]+") do
      line = line:gsub("^1 2 3 4 5 6 7 8 9 ", "")
      if line ~= "" then
        assert.is_truthy(n[line], told)
        n[line] = n[line] + 1
      end
    end
    assert.equal(24, n["old "] + n["1 2 3 4 5 "], told)
    assert.is_true(n["old "] > 2 and n["1 2 3 4 5 "] > 2, told)
  end)
end)
