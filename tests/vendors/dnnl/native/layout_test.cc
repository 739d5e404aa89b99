#include "layout.h"

#include "programs.h"

namespace byoc::onednn {
namespace {

Desc Make(const Dims& shape, Tag tag) { return Desc(shape, dnnl::memory::data_type::f32, tag); }

TEST(LayoutPlainIsAboutAddresses) {
  CHECK(IsPlain(Make({2, 32, 3, 3}, Tag::abcd)));
  CHECK(!IsPlain(Make({2, 32, 3, 3}, Tag::acdb)));
  CHECK(!IsPlain(Make({2, 32, 3, 3}, Tag::aBcd16b)));
  // One pixel: blocks of channels follow each other as in row-major order, unless padded.
  CHECK(IsPlain(Make({2, 32, 1, 1}, Tag::aBcd16b)));
  CHECK(IsPlain(Make({2, 32, 1, 1}, Tag::acdb)));
  CHECK(!IsPlain(Make({2, 24, 1, 1}, Tag::aBcd16b)));
  CHECK(IsPlain(PlainDesc({}, DType::kFloat32)));
}

TEST(LayoutFamiliesTravel) {
  Desc blocked = *WithShape(Make({1, 32, 7, 7}, Tag::aBcd16b), {1, 64, 3, 3});
  CHECK(blocked == Make({1, 64, 3, 3}, Tag::aBcd16b));
  // A window into a larger tensor belongs to the family of the tensor, but is not dense.
  Desc window = Make({2, 64, 7, 7}, Tag::aBcd16b).submemory_desc({2, 32, 7, 7}, {0, 32, 0, 0});
  CHECK(!IsDense(window));
  CHECK(*WithShape(window, {2, 32, 7, 7}) == Make({2, 32, 7, 7}, Tag::aBcd16b));
  Desc last = Make({2, 64, 7, 7}, Tag::acdb).submemory_desc({2, 32, 7, 7}, {0, 32, 0, 0});
  CHECK(*WithShape(last, {2, 32, 7, 7}) == Make({2, 32, 7, 7}, Tag::acdb));
  CHECK(!WithShape(Make({8, 8}, Tag::ba), {8, 8, 1}));
}

TEST(LayoutIgnoresUnitStrides) {
  Desc a({1, 4, 5}, dnnl::memory::data_type::f32, Dims{20, 5, 1});
  Desc b({1, 4, 5}, dnnl::memory::data_type::f32, Dims{999, 5, 1});
  CHECK(SameLayout(a, b));
  CHECK(!SameLayout(a, Make({1, 4, 5}, Tag::acb)));
}

TEST(LayoutViewsAddressEveryElement) {
  for (Tag tag : {Tag::abcd, Tag::acdb, Tag::aBcd16b, Tag::aBcd8b}) {
    Desc desc = Make({2, 32, 3, 5}, tag);
    SpatialView view = *ViewSpatial(desc);
    CHECK_EQ(view.blocks * view.lanes, 32);
    CHECK_EQ(view.pixels, 15);
    int64_t last = (view.batch - 1) * view.batch_stride + (view.blocks - 1) * view.block_stride +
                   (view.pixels - 1) * view.pixel_stride + view.lanes - 1;
    CHECK_EQ(last, 2 * 32 * 15 - 1);
  }
  Desc odd = Make({2, 3, 4, 5}, Tag::abcd).permute_axes({0, 1, 3, 2});
  CHECK(!ViewSpatial(odd));
}

}  // namespace
}  // namespace byoc::onednn
