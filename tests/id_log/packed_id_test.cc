// PackedId: what is packed and unpacked is what it was, and nothing has two packed forms.
#include "src/stores/id_log/packed_id.h"

#include <gtest/gtest.h>

#include <random>
#include <string>

namespace once::stores {
namespace {

constexpr std::string_view kHex = "00112233445566778899aabbccddeeff";
constexpr std::string_view kUuid = "00112233-4455-6677-8899-aabbccddeeff";

std::string UnpackedOf(const PackedId& packed) {
  return std::string(Unpack(packed.form, packed.bytes()).id());
}

TEST(PackedId, HexAndUuidsTakeHalfOfTheirText) {
  EXPECT_EQ(Pack(kHex).form, IdForm::kHexLower);
  EXPECT_EQ(Pack(kHex).size, 16);
  EXPECT_EQ(Pack(kUuid).form, IdForm::kUuidLower);
  EXPECT_EQ(Pack(kUuid).size, 16);
  EXPECT_EQ(Pack("AB").form, IdForm::kHexUpper);
  EXPECT_EQ(Pack("00112233-4455-6677-8899-AABBCCDDEEFF").form, IdForm::kUuidUpper);
}

TEST(PackedId, AnythingElseStaysAsItIs) {
  for (const std::string_view id : {"order-7", "abc", "aB", "00112233-4455-6677-8899-aabbccddeefg",
                                    "00112233-4455-6677-8899_aabbccddeeff",
                                    "00112233-4455-6677-8899-AAbbccddeeff", "-", " 1"}) {
    EXPECT_EQ(Pack(id).form, IdForm::kRaw) << id;
    EXPECT_EQ(Pack(id).bytes(), id);
  }
}

TEST(PackedId, TextsOfOtherFormsNeverShareAPackedOne) {
  const PackedId hex = Pack(kHex);
  const PackedId uuid = Pack(kUuid);
  EXPECT_EQ(hex.bytes(), uuid.bytes());
  EXPECT_NE(hex.form, uuid.form);
}

// Ids made of pieces that look like hex, of every length.
TEST(PackedId, ComesBackAsItWas) {
  std::mt19937_64 random(1);
  const std::vector<std::string> alphabets = {"0123456789", "0123456789abcdef", "0123456789ABCDEF",
                                              "0123456789abcdefABCDEF-",
                                              std::string("\0\x80\xff-a", 5)};
  for (int i = 0; i < 20'000; ++i) {
    const std::string& alphabet = alphabets[random() % alphabets.size()];
    std::string id(1 + random() % kMessageIdBytesMax, ' ');
    if (random() % 4 == 0) id.resize(36);
    for (char& c : id) c = alphabet[random() % alphabet.size()];
    if (id.size() == 36 && random() % 2 == 0) id[8] = id[13] = id[18] = id[23] = '-';
    const PackedId packed = Pack(id);
    ASSERT_EQ(UnpackedOf(packed), id);
    ASSERT_TRUE(IsPacked(packed.form, packed.bytes())) << id;
  }
}

TEST(PackedId, NoBytesAreTakenForPackedThatPackingDoesNotGive) {
  std::mt19937_64 random(2);
  for (int i = 0; i < 20'000; ++i) {
    const auto form = static_cast<IdForm>(random() % kIdForms);
    std::string bytes(random() % 50, ' ');
    if (random() % 2 == 0) bytes.resize(16);
    for (char& c : bytes) c = static_cast<char>(random() % 3 == 0 ? random() : 0x11);
    if (!IsPacked(form, bytes)) continue;
    const PackedId again = Pack(Unpack(form, bytes).id());
    ASSERT_EQ(again.form, form);
    ASSERT_EQ(again.bytes(), bytes);
  }
  EXPECT_FALSE(IsPacked(IdForm::kRaw, "11"));
  EXPECT_FALSE(IsPacked(IdForm::kHexUpper, "\x11"));
  EXPECT_FALSE(IsPacked(IdForm::kHexLower, std::string(40, 'x')));
  EXPECT_FALSE(IsPacked(IdForm::kUuidLower, "short"));
  EXPECT_FALSE(IsPacked(static_cast<IdForm>(kIdForms), "x"));
}

}  // namespace
}  // namespace once::stores
