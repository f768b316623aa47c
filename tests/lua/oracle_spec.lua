-- Random plans over random tables, against sqlite3 and, where Python has it, DuckDB. `make oracle` runs more of them.
local support = require "tests.lua.support"

if not support.has_integers then
  describe("random plans", function() pending "are written in Lua 5.4" end)
  return
end

local check = require "tests.oracle.check"
local peers = require "tests.oracle.peers"

-- A batch is one process of the peer. Slow builds do at least one.
local BATCH, BATCHES, SECONDS = 25, 10, 4

describe("random plans (seed " .. support.seed .. ")", function()
  teardown(support.clean)

  for _, peer in ipairs { "sqlite", "duckdb" } do
    it("give what " .. peer .. " gives", function()
      local command, reason = peers.command(peer)
      if not command then
        pending(reason)
        return
      end
      local start = os.time()
      for batch = 1, BATCHES do
        local reports = check.run(peer, support.seed, (batch - 1) * BATCH + 1, batch * BATCH)
        assert(#reports == 0, table.concat(reports, "\n\n"))
        if os.time() - start >= SECONDS then break end
      end
    end)
  end
end)
