-- An aggregate of one's own: the three largest purchases of each month, beside a sum of the engine's.
-- luabatch examples/own_aggregate.lua examples/data/shop.csv
local lb = require "luabatch"

-- Puts a purchase into a list of at most n, the largest first; of equal ones the earlier stays in front.
local function insert(list, n, purchase)
  local i = #list + 1
  while i > 1 and list[i - 1].amount < purchase.amount do i = i - 1 end
  if i <= n then table.insert(list, i, purchase) end
  list[n + 1] = nil
  return list
end

-- A state is a list of purchases. A month's rows are divided among threads: each makes a state of its part, and merge
-- joins the states of two parts.
local function largest(n)
  return lb.aggregate {
    init = function() return {} end,
    step = function(list, user, amount)
      if amount == nil then return list end
      return insert(list, n, { user = user, amount = amount })
    end,
    merge = function(a, b)
      for _, purchase in ipairs(b) do insert(a, n, purchase) end
      return a
    end,
    finish = function(list)
      local texts = {}
      for i, purchase in ipairs(list) do texts[i] = ("%s %.2f"):format(purchase.user, purchase.amount) end
      return table.concat(texts, ", ")
    end,
  }
end

local top3 = largest(3)

lb.csv(arg[1])
  :with_columns({ month = "substr(date, 1, 7)" })
  :group_by("month")
  :agg({ total = lb.sum "amount", largest = top3("user", "amount") })
  :order_by("month")
  :show()
