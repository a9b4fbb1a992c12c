// version, fence, lease, two flags, disposition, fingerprint.
#include "src/stores/claim_codec.h"

#include <cstdint>
#include <limits>

#include "src/stores/bytes.h"

namespace once::stores {
namespace {

constexpr std::uint8_t kVersion = 1;
constexpr auto kMicrosPast = std::numeric_limits<std::int64_t>::min();
constexpr auto kMicrosFuture = std::numeric_limits<std::int64_t>::max();

// ToUnixMicros() saturates at the ends, which stand for the infinities.
absl::Time TakeTime(ByteReader& reader) {
  const auto micros = reader.TakeInt<std::int64_t>();
  if (micros == kMicrosPast) return absl::InfinitePast();
  return micros == kMicrosFuture ? absl::InfiniteFuture() : absl::FromUnixMicros(micros);
}

}  // namespace

std::string EncodeClaim(const ClaimRow& claim) {
  std::string out;
  AppendInt(out, kVersion);
  out.push_back(claim.fence ? 1 : 0);
  if (claim.fence) {
    AppendInt(out, claim.fence->incarnation);
    AppendInt(out, claim.fence->counter);
  }
  AppendInt(out, std::int64_t{absl::ToUnixMicros(claim.lease_end)});
  out.push_back(claim.is_begun ? 1 : 0);
  out.push_back(claim.may_have_run ? 1 : 0);
  out.push_back(claim.disposition ? 1 : 0);
  if (claim.disposition) out.push_back(static_cast<char>(*claim.disposition));
  AppendPrint(out, claim.fingerprint);
  return out;
}

absl::StatusOr<ClaimRow> DecodeClaim(std::string_view bytes) {
  ByteReader reader(bytes);
  ClaimRow claim;
  reader.Require(reader.TakeInt<std::uint8_t>() == kVersion);
  if (reader.TakeFlag()) {
    Fence fence;
    fence.incarnation = reader.TakeInt<std::uint64_t>();
    fence.counter = reader.TakeInt<std::uint64_t>();
    claim.fence = fence;
  }
  claim.lease_end = TakeTime(reader);
  claim.is_begun = reader.TakeFlag();
  claim.may_have_run = reader.TakeFlag();
  if (reader.TakeFlag()) {
    const auto disposition = reader.TakeInt<std::uint8_t>();
    reader.Require(disposition <= static_cast<std::uint8_t>(Disposition::kManual));
    claim.disposition = static_cast<Disposition>(disposition);
  }
  claim.fingerprint = reader.TakePrint();
  if (reader.is_done()) return claim;
  return absl::DataLossError("id log: the claim of an id is damaged; restore a backup");
}

}  // namespace once::stores
