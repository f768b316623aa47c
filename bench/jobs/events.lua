-- What each user's events in a file of JSON lines sum up to. Arguments: input, output.
local lb = require "luabatch"

lb.json(arg[1]):group_by("user"):agg { amount = lb.sum "amount" }
  :save_csv(arg[2], { mode = "overwrite", header = false })
