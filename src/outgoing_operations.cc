// What a log that knows no better way does.
#include "once/outgoing_operations.h"

#include "absl/strings/str_cat.h"
#include "once/id_extractor.h"

namespace once {
namespace {

// Read at a time; their values are in memory together.
constexpr std::size_t kPage = 100;

absl::Status Unknown(const char* what) {
  return absl::UnimplementedError(absl::StrCat("this log of outgoing messages cannot ", what));
}

}  // namespace

absl::Status ValidateDiscardReason(const std::string& reason) {
  if (!reason.empty() && reason.size() <= kDiscardReasonBytesMax) return absl::OkStatus();
  return absl::InvalidArgumentError(absl::StrCat("the reason for giving up a message has 1 to ",
                                                 kDiscardReasonBytesMax, " bytes"));
}

std::string IdOf(const OutgoingMessage& message) {
  for (const OwnedHeader& header : message.headers) {
    if (header.name == kProducerIdHeader) return header.value.value_or("");
  }
  return "";
}

absl::StatusOr<std::uint64_t> OutgoingOperations::MeasureBytes() {
  return Unknown("say how many bytes wait in it");
}

absl::StatusOr<std::vector<OutgoingRow>> OutgoingOperations::ListWaiting(std::int64_t /*after*/,
                                                                         std::size_t /*rows_max*/) {
  return Unknown("list what waits, only what is parked");
}

absl::StatusOr<std::vector<DiscardedRow>> OutgoingOperations::ListDiscarded(
    std::int64_t /*after*/, std::size_t /*rows_max*/) {
  return Unknown("say what was given up");
}

absl::Status OutgoingOperations::GiveUp(std::int64_t /*number*/, const std::string& /*reason*/) {
  return Unknown("keep the reason why a message is given up");
}

absl::StatusOr<std::size_t> OutgoingOperations::UnparkTopic(const std::string& topic) {
  std::size_t count = 0;
  std::int64_t after = 0;
  while (true) {
    const absl::StatusOr<std::vector<ParkedRow>> page = ListParked(after, kPage);
    if (!page.ok()) return page.status();
    for (const ParkedRow& parked : *page) {
      after = parked.row.number;
      if (parked.row.message.topic != topic || !parked.row.damage.ok()) continue;
      const absl::Status unparked = Unpark(parked.row.number);
      // Somebody else has decided meanwhile.
      if (absl::IsNotFound(unparked)) continue;
      if (!unparked.ok()) return unparked;
      ++count;
    }
    if (page->size() < kPage) return count;
  }
}

}  // namespace once
