// `once failures list | show`.
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>

#include "src/cli/commands/command_context.h"
#include "src/cli/commands/letter_view.h"
#include "src/cli/commands/report.h"

namespace once::cli {

struct FailureListOptions {
  std::int64_t after = 0;          // letters with a greater number only
  std::size_t letters_max = 1000;  // of the answer
  std::optional<std::string> id = std::nullopt;
  std::string scope;      // as a person writes it; empty: any
  std::string topic;      // of the origin; empty: any
  bool is_check = false;  // kFoundProblems when there is any
};

Report ListFailures(CommandContext& context, const FailureListOptions& options);

// One message, by its id or by the number of a letter.
struct MessageSelector {
  std::optional<std::string> id = std::nullopt;  // its bytes
  std::optional<std::int64_t> number = std::nullopt;
  std::string scope;  // as a person writes it; empty: the only one
};

Report ShowLetters(CommandContext& context, const MessageSelector& selector, LetterDetail detail);

// The newest letter of the selected message. kNotFound: none is kept; kInvalidArgument: several
// scopes have the id, and the message names them.
absl::StatusOr<StoredFailure> FindNewestLetter(StoreOperations& operations,
                                               const MessageSelector& selector);

}  // namespace once::cli
