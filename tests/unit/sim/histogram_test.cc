// SPDX-License-Identifier: Apache-2.0
#include "tests/sim/histogram.h"

#include "tests/sim/basics.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <vector>

namespace fieldgate::sim {
namespace {

std::int64_t exact(std::vector<std::int64_t> values, double q) {
  std::ranges::sort(values);
  const auto rank =
      std::max<std::size_t>(1, static_cast<std::size_t>(std::ceil(q * static_cast<double>(values.size()))));
  return values[rank - 1];
}

TEST(Histogram, IsWithinHalfAPercentOfExactQuantiles) {
  Rng rng(7);
  for (const double spread : {3.0, 10.0, 17.0}) {  // up to e^17 us: 24 s
    Histogram histogram;
    std::vector<std::int64_t> values;
    for (int i = 0; i < 20'000; ++i) {
      values.push_back(static_cast<std::int64_t>(std::exp(rng.uniform() * spread)));
      histogram.add(values.back());
    }
    for (const double q : {0.0, 0.01, 0.5, 0.9, 0.99, 0.999, 1.0}) {
      const auto wanted = static_cast<double>(exact(values, q));
      EXPECT_NEAR(static_cast<double>(histogram.quantile_us(q)), wanted, wanted * 0.004) << q << " of " << spread;
    }
    EXPECT_EQ(histogram.max_us(), *std::ranges::max_element(values));
  }
}

TEST(Histogram, IsExactForSmallValuesAndNeverAboveTheMaximum) {
  Histogram histogram;
  for (std::int64_t value = 0; value < 256; ++value) histogram.add(value);
  EXPECT_EQ(histogram.quantile_us(0.5), 127);
  Histogram one;
  one.add(1'000'001);
  EXPECT_LE(one.quantile_us(1.0), 1'000'001);
}

TEST(Histogram, TakesNegativeAndHugeValuesAsItsEnds) {
  Histogram histogram;
  histogram.add(-5);
  EXPECT_EQ(histogram.quantile_us(1), 0);
  histogram.add(std::int64_t{1} << 62);
  EXPECT_EQ(histogram.max_us(), (std::int64_t{1} << 42) - 1);
}

TEST(Histogram, MergesAsIfAllHadBeenAddedToOne) {
  Histogram a;
  Histogram b;
  Histogram both;
  for (std::int64_t i = 1; i < 3'000; i += 7) {
    ((i % 2) != 0 ? a : b).add(i * i);
    both.add(i * i);
  }
  a.merge(b);
  EXPECT_EQ(a.count(), both.count());
  for (const double q : {0.1, 0.5, 0.99}) EXPECT_EQ(a.quantile_us(q), both.quantile_us(q));
  EXPECT_EQ(Histogram().quantile_us(0.5), 0);
}

}  // namespace
}  // namespace fieldgate::sim
