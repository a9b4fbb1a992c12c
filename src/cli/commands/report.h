// What a command says: one JSON document or a table on standard output, everything else on standard
// error, and an exit code.
#pragma once

#include <nlohmann/json.hpp>
#include <string>
#include <string_view>
#include <vector>

#include "absl/status/status.h"
#include "src/cli/exit_code.h"

namespace once::cli {

enum class OutputFormat { kTable, kJson };

struct Report {
  ExitCode code = kDone;
  nlohmann::ordered_json document;  // kJson
  std::string text;                 // kTable
  std::vector<std::string> notes;   // a line each, on standard error in either format
};

// {"error": {"code": …, "message": …}}, and the message as a note.
Report ReportError(const absl::Status& error);
// The inner object of it.
nlohmann::ordered_json DescribeError(const absl::Status& error);

// Writes the report; `command` ("once redrive") begins every note. Returns its exit code; kFailed
// when standard output cannot be written.
ExitCode Print(const Report& report, OutputFormat format, std::string_view command);

// Rows of cells, one of titles first, in aligned columns. Cells are text that ShowBytes or
// ShowSentence has made.
class Table {
 public:
  explicit Table(std::vector<std::string> titles) { Add(std::move(titles)); }
  // REQUIRES: as many cells as titles.
  void Add(std::vector<std::string> cells) { rows_.push_back(std::move(cells)); }
  bool is_empty() const { return rows_.size() == 1; }
  std::string Render() const;

 private:
  std::vector<std::vector<std::string>> rows_;
};

}  // namespace once::cli
