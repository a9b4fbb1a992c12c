// `once outbox list | retry | discard`: messages that were published in a transaction, or spooled,
// and that no relay has brought to the brokers yet.
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "src/cli/commands/command_context.h"
#include "src/cli/commands/report.h"

namespace once::cli {

struct OutboxListOptions {
  enum class Kind : std::uint8_t {
    kWaiting,    // all that is not published, parked messages too
    kParked,     // those only
    kDiscarded,  // what was given up, and why
  };
  Kind kind = Kind::kWaiting;
  std::string topic;            // its bytes; empty: any
  std::int64_t after = 0;       // greater numbers only
  std::size_t rows_max = 1000;  // of the answer
  bool is_check = false;        // kFoundProblems when any message is parked
};

Report ListOutbox(CommandContext& context, const OutboxListOptions& options);

// One parked message, by its id or its number.
struct OutboxSelector {
  std::optional<std::string> id = std::nullopt;  // its bytes
  std::optional<std::int64_t> number = std::nullopt;
};

// Parked messages are published again, each before all others of its topic and key.
Report RetryOutbox(CommandContext& context, const std::vector<OutboxSelector>& selectors);
Report RetryOutboxTopic(CommandContext& context, const std::string& topic);

// It is never published, once the person has confirmed it; the store keeps `reason`.
Report DiscardFromOutbox(CommandContext& context, const OutboxSelector& selector,
                         const std::string& reason);

}  // namespace once::cli
