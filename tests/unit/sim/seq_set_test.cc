// SPDX-License-Identifier: Apache-2.0
#include "tests/sim/seq_set.h"

#include "tests/sim/basics.h"

#include <gtest/gtest.h>

#include <set>

namespace fieldgate::sim {
namespace {

TEST(SeqSet, TellsInOrderOutOfOrderAndDuplicateApart) {
  SeqSet set;
  EXPECT_EQ(set.add(1), Arrival::in_order);
  EXPECT_EQ(set.add(4), Arrival::in_order);  // a gap is not a reordering
  EXPECT_EQ(set.add(2), Arrival::out_of_order);
  EXPECT_EQ(set.add(2), Arrival::duplicate);
  EXPECT_EQ(set.add(4), Arrival::duplicate);
  EXPECT_EQ(set.add(3), Arrival::out_of_order);
  EXPECT_EQ(set.add(5), Arrival::in_order);
  EXPECT_EQ(set.size(), 5u);
  EXPECT_EQ(set.highest(), 5u);
}

TEST(SeqSet, CountsOnlyWhatIsThereUpToALimit) {
  SeqSet set;
  for (const std::uint64_t seq : {1, 2, 5, 6, 9}) set.add(seq);
  EXPECT_EQ(set.count_through(0), 0u);
  EXPECT_EQ(set.count_through(4), 2u);
  EXPECT_EQ(set.count_through(5), 3u);
  EXPECT_EQ(set.count_through(100), 5u);
}

TEST(SeqSet, AgreesWithANaiveModelOnRandomArrivals) {
  for (std::uint64_t seed = 1; seed <= 200; ++seed) {
    Rng rng(seed);
    SeqSet set;
    std::set<std::uint64_t> model;
    const std::int64_t range = 1 + rng.up_to(60);
    for (int i = 0; i < 150; ++i) {
      const auto seq = static_cast<std::uint64_t>(1 + rng.up_to(range));
      const Arrival expected = model.contains(seq)                       ? Arrival::duplicate
                               : !model.empty() && seq < *model.rbegin() ? Arrival::out_of_order
                                                                         : Arrival::in_order;
      ASSERT_EQ(set.add(seq), expected) << "seed " << seed << " step " << i;
      model.insert(seq);
      const auto limit = static_cast<std::uint64_t>(rng.up_to(range + 2));
      ASSERT_EQ(set.count_through(limit),
                static_cast<std::uint64_t>(std::distance(model.begin(), model.upper_bound(limit))));
      ASSERT_EQ(set.contains(limit), model.contains(limit));
      ASSERT_EQ(set.size(), model.size());
      ASSERT_EQ(set.highest(), *model.rbegin());
    }
  }
}

}  // namespace
}  // namespace fieldgate::sim
