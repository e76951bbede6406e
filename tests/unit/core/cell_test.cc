// SPDX-License-Identifier: Apache-2.0
#include "gateway/core/cell.h"

#include <gtest/gtest.h>

#include <utility>

namespace fieldgate {
namespace {

TEST(Cell, CountsWhatIsAdded) {
  Cell cell;
  cell.add();
  cell.add(41);
  EXPECT_EQ(cell.get(), 42U);
  cell.set(7);
  EXPECT_EQ(cell.get(), 7U);
}

TEST(GaugeHold, CountsForAsLongAsItLives) {
  GaugeCell gauge;
  {
    const GaugeHold one(gauge);
    const GaugeHold two(gauge);
    EXPECT_EQ(gauge.get(), 2);
  }
  EXPECT_EQ(gauge.get(), 0);
}

TEST(GaugeHold, CountsOnceHoweverOftenItIsMoved) {
  GaugeCell gauge;
  GaugeCell other;
  GaugeHold a(gauge);
  GaugeHold b(std::move(a));
  GaugeHold c;
  c = std::move(b);
  EXPECT_EQ(gauge.get(), 1);
  c = GaugeHold(other);
  EXPECT_EQ(gauge.get(), 0);
  EXPECT_EQ(other.get(), 1);
  GaugeHold& self = c;
  c = std::move(self);
  EXPECT_EQ(other.get(), 1);
  c.reset();
  c.reset();
  EXPECT_EQ(other.get(), 0);
}

TEST(HistogramCell, FilesAnObservationUnderTheFirstBoundThatHoldsIt) {
  HistogramCell histogram;
  histogram.observe(0);
  histogram.observe(100);
  histogram.observe(101);
  histogram.observe(60'000'000);
  histogram.observe(60'000'001);
  EXPECT_EQ(histogram.bucket(0), 2U);
  EXPECT_EQ(histogram.bucket(1), 1U);
  EXPECT_EQ(histogram.bucket(HistogramCell::k_buckets - 2), 1U);
  EXPECT_EQ(histogram.bucket(HistogramCell::k_buckets - 1), 1U);
  EXPECT_EQ(histogram.sum_us(), 120'000'202U);
}

}  // namespace
}  // namespace fieldgate
