-- Compares many random plans with DuckDB and sqlite3.
-- Arguments: name=value of n (plans, default 2000), seed, first, peer (sqlite or duckdb; default: both), stop (after so many
-- differences, default 5).
local check = require "tests.oracle.check"
local peers = require "tests.oracle.peers"

local options = { n = "2000", first = "1", stop = "5" }
for _, argument in ipairs(arg) do
  local name, value = argument:match "^(%w+)=(.*)$"
  if value ~= "" then options[name] = value end
end
local n, first, stop = tonumber(options.n), tonumber(options.first), tonumber(options.stop)
local seed = tonumber(options.seed) or os.time()
local BATCH = 50

local n_different, n_run = 0, 0
for _, peer in ipairs { "sqlite", "duckdb" } do
  local command, reason = peers.command(peer)
  local wanted = not options.peer or options.peer == peer
  if wanted and not command then
    print(("skipped %s: %s"):format(peer, reason))
  elseif wanted then
    print(("%s: %d plans, seed %d"):format(peer, n, seed))
    for from = first, first + n - 1, BATCH do
      local to = math.min(from + BATCH, first + n) - 1
      for _, report in ipairs(check.run(peer, seed, from, to)) do
        n_different = n_different + 1
        print("\n" .. report)
      end
      n_run = n_run + to - from + 1
      if n_different >= stop then break end
    end
  end
end
print(("%d plans, %d differences"):format(n_run, n_different))
os.exit(n_different == 0 and n_run > 0)
