-- Users and what they bought, joined in three ways. "broadcast" keeps the other dataset, here the users, in memory and lets the
-- purchases stream past; "hash" divides both by key on disk, for sides larger than memory, and gives the same records in the same
-- order; "merge" sorts both by key. combine makes one record of a purchase and its user.
-- luabatch examples/join_strategies.lua examples/data/users.csv examples/data/purchases.csv
local lb = require "luabatch"

local users, purchases = lb.csv(arg[1]), lb.csv(arg[2])

for _, strategy in ipairs { "broadcast", "hash", "merge" } do
  print(strategy)
  local bought = purchases:join(users, {
    on = { left = "user_id", right = "id" }, how = "left", strategy = strategy, salt = "auto",
    combine = function(purchase, user)
      local price = purchase.price * purchase.quantity
      return { item = purchase.item, by = user and user.name or "somebody", country = user and user.country, price = price }
    end,
  })
  if strategy == "merge" then bought = bought:select("by", "item", "price"):order_by("by", "item") end
  bought:select("item", "by", "price"):limit(5):show()
end
