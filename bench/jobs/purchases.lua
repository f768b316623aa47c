-- Purchases joined with their users, grouped and in windows. Arguments: what, purchases, users, output.
local lb = require "luabatch"

local what, purchases, users, output = arg[1], lb.csv(arg[2]), lb.csv(arg[3]), arg[4]

local results = {
  join_sum = function()
    return purchases:join(users, { on = "user_id" }):group_by("age"):agg { spent = lb.sum "amount" }
  end,
  join_csv = function()
    return purchases:join(users, { on = "user_id" }):select("purchase_id", "user_id", "amount", "age", "country")
  end,
  by_user = function()
    return purchases:group_by("user_id"):agg { n = lb.count(), spent = lb.sum "amount" }
  end,
  top_ten = function()
    return purchases:window {
      partition_by = "category", order_by = { lb.desc "amount", "purchase_id" }, place = lb.row_number(),
    }:where("place <= 10"):select("category", "purchase_id", "amount")
  end,
  moving_average = function()
    return purchases:window {
      partition_by = "user_id", order_by = { "ts", "purchase_id" }, rows = { -7, 0 }, average = lb.avg "amount",
    }:select("purchase_id", "user_id", "average")
  end,
}

results[what]():save_csv(output, { mode = "overwrite", header = false })
