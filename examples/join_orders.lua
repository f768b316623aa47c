-- What each user has ordered: users and orders are joined by the user's number. Users without an order get 0, and orders
-- of nobody known stand under "?".
-- luabatch examples/join_orders.lua examples/data/users.tsv examples/data/orders.tsv
local lb = require "luabatch"

local users = lb.text(arg[1]):fields("\t") -- number, name, country
  :map(function(user, name) return user, name end)

local spent = lb.text(arg[2]):fields("\t") -- order, user, cents
  :map(function(_, user, cents) return user, tonumber(cents) end)
  :reduce_by_key(function(a, b) return a + b end)

return users:full_join(spent)
  :map(function(user, name, cents) return user, name or "?", cents or 0 end)
  :sort_by_key()
