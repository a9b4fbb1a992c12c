// Ids of messages that are sent.
#include "src/send_id.h"

#include <algorithm>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "once/message_id.h"
#include "once/send_id.h"
#include "once/sequence.h"

namespace once {
namespace {

std::string DrawnId(Random& random) {
  constexpr std::size_t kDigits = 16;
  constexpr std::string_view kHex = "0123456789abcdef";
  std::string id(2 * kDigits, '0');
  for (std::size_t half = 0; half < 2; ++half) {
    std::uint64_t bits = random.Next();
    for (std::size_t i = kDigits; i-- > 0; bits >>= 4) id[half * kDigits + i] = kHex[bits & 15];
  }
  return id;
}

}  // namespace

absl::Status IdentifyOutgoing(OutgoingMessage& message, const IdOptions& ids, Random& random,
                              std::size_t& id_header) {
  std::vector<OwnedHeader>& headers = message.headers;
  std::erase_if(headers, [](const OwnedHeader& header) { return header.name == kSequenceHeader; });
  const auto found = std::find_if(headers.rbegin(), headers.rend(), [&](const OwnedHeader& header) {
    return header.name == ids.header;
  });
  if (found == headers.rend() || !found->value.has_value()) {
    id_header = headers.size();
    if (!ids.is_drawn) {
      return absl::InvalidArgumentError(
          absl::StrCat("producer: no header ", ids.header, "; set it, or .ids.is_drawn"));
    }
    headers.push_back({ids.header, DrawnId(random)});
    return absl::OkStatus();
  }
  id_header = static_cast<std::size_t>(headers.rend() - found) - 1;
  return ValidateMessageId(*found->value);
}

absl::Status IdentifySend(OutgoingMessage& message, const IdOptions& ids, Random& random,
                          PendingSend& pending) {
  std::size_t id_header = 0;
  absl::Status status = IdentifyOutgoing(message, ids, random, id_header);
  if (id_header < message.headers.size() && message.headers[id_header].value.has_value()) {
    pending.SetId(*message.headers[id_header].value);
  }
  return status;
}

}  // namespace once
