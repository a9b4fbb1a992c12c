// Columns, JSON and the two streams.
#include "src/cli/commands/report.h"

#include <algorithm>
#include <cstdio>

#include "absl/strings/ascii.h"
#include "absl/strings/str_cat.h"
#include "once/abseil.h"
#include "src/cli/commands/plain_bytes.h"

namespace once::cli {
namespace {

using nlohmann::ordered_json;

// Columns on a terminal: code points are near enough.
std::size_t WidthOf(std::string_view text) {
  return static_cast<std::size_t>(std::count_if(text.begin(), text.end(), [](char c) {
    return (static_cast<unsigned char>(c) & 0xC0U) != 0x80;
  }));
}

}  // namespace

ordered_json DescribeError(const absl::Status& error) {
  return {{"code", absl::AsciiStrToLower(absl::StatusCodeToString(error.code()))},
          {"message", std::string(error.message())}};
}

Report ReportError(const absl::Status& error) {
  return {.code = ExitCodeOf(error),
          .document = {{"error", DescribeError(error)}},
          .text = "",
          .notes = {std::string(error.message())}};
}

ExitCode Print(const Report& report, OutputFormat format, std::string_view command) {
  for (const std::string& note : report.notes) {
    const std::string line = absl::StrCat(ToAbsl(command), ": ", ShowSentence(note), "\n");
    std::fputs(line.c_str(), stderr);
  }
  const std::string text =
      format == OutputFormat::kJson
          ? report.document.dump(-1, ' ', false, ordered_json::error_handler_t::replace) + "\n"
          : report.text;
  std::fwrite(text.data(), 1, text.size(), stdout);
  if (std::fflush(stdout) != 0) {
    std::fputs("once: standard output cannot be written\n", stderr);
    return report.code == kDone ? kFailed : report.code;
  }
  return report.code;
}

std::string Table::Render() const {
  std::vector<std::size_t> widths(rows_.front().size(), 0);
  for (const auto& row : rows_) {
    for (std::size_t i = 0; i < row.size(); ++i) widths[i] = std::max(widths[i], WidthOf(row[i]));
  }
  std::string text;
  for (const auto& row : rows_) {
    std::string line;
    for (std::size_t i = 0; i < row.size(); ++i) {
      line += row[i] + std::string(widths[i] - WidthOf(row[i]) + 2, ' ');
    }
    text += std::string(absl::StripTrailingAsciiWhitespace(line)) + "\n";
  }
  return text;
}

}  // namespace once::cli
