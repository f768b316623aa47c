-- The ten products of each category with the highest revenue.
-- luabatch examples/top_products.lua examples/data/sales.csv
local lb = require "luabatch"

lb.csv(arg[1])
  :group_by("category", "product")
  :agg({ revenue = lb.sum "amount", sold = lb.count() })
  :window({
    partition_by = "category",
    order_by = { lb.desc "revenue", "product" },
    place = lb.row_number(),
  })
  :where("place <= 10")
  :order_by("category", "place")
  :select("category", "place", "product", "revenue", "sold")
  :show(30)
