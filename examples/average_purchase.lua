-- How many purchases each item saw, what they came to and the average of one, the dearest first.
-- luabatch examples/average_purchase.lua examples/data/purchases.csv
local lb = require "luabatch"

lb.csv(arg[1])
  :with_columns({ total = "price * quantity" })
  :group_by("item")
  :agg({ purchases = lb.count(), revenue = lb.sum "total", average = lb.avg "total" })
  :order_by(lb.desc "average", "item")
  :show()
