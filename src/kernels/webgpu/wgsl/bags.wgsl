// Rows or tokens of the bag that holds `row`: [start, end). Needs `offsets` (bags + 1) and args.bags, args.offsets_at.
fn bag_number(row: u32) -> u32 {
  var low = 0u;
  var high = args.bags;
  while (high - low > 1u) {
    let middle = (low + high) / 2u;
    if (u32(offsets[args.offsets_at + middle]) <= row) {
      low = middle;
    } else {
      high = middle;
    }
  }
  return low;
}

fn bag_range(bag: u32) -> vec2u {
  return vec2u(u32(offsets[args.offsets_at + bag]), u32(offsets[args.offsets_at + bag + 1u]));
}
