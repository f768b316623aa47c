-- Users with what they bought: two files joined by column. Who bought nothing is there too.
-- luabatch examples/users_purchases.lua examples/data/users.csv examples/data/purchases.csv
local lb = require "luabatch"

local users, purchases = lb.csv(arg[1]), lb.csv(arg[2])

users
  :join(purchases, { on = { left = "id", right = "user_id" }, how = "left" })
  :group_by("name", "country")
  :agg({ spent = lb.sum "price * quantity", last = lb.max "date" })
  :order_by("country", lb.desc "spent")
  :show()

print("bought by nobody that we know:")
purchases:join(users, { on = { left = "user_id", right = "id" }, how = "anti" }):select("item", "user_id"):show()
